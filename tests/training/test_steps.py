from typing import Any

import pytest
import torch
from torch import nn

from makemore.data.minibatches import Batch
from makemore.errors import UserError
from makemore.models.mlp.config import Gradients, Init
from makemore.training.steps import is_plain_sgd, make_optimizer, optimizer_step, plain_sgd_step, take_steps
from tests.helpers import build, seeded


def test_plain_sgd_takes_the_optimizers_own_step() -> None:
    generator = seeded()
    values = [torch.randn(50, generator=generator) for _ in range(2)]
    gradients = [torch.randn(50, generator=generator) for _ in range(2)]
    stepped = []
    for update in (optimizer_step, plain_sgd_step):
        parameters = [torch.nn.Parameter(value.clone()) for value in values]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer = torch.optim.SGD([*parameters, torch.nn.Parameter(torch.ones(3))], lr=1)  # one without a gradient
        assert is_plain_sgd(optimizer)
        update(optimizer, 0.1)
        stepped.append(torch.cat([parameter.detach() for parameter in parameters]))
    assert torch.equal(*stepped)


@pytest.mark.parametrize("settings", [{"momentum": 0.9}, {"weight_decay": 0.1}, {"maximize": True}])
def test_any_other_sgd_is_not_plain(settings: dict[str, Any]) -> None:
    assert not is_plain_sgd(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1, **settings))


def test_weight_decay_is_for_matrices() -> None:
    model = build("wavenet", 27, 4, emb_dim=3, hidden=5)
    optimizer = make_optimizer(lambda groups: torch.optim.AdamW(groups, weight_decay=0.1), model)
    decayed = [p for group in optimizer.param_groups if group["weight_decay"] > 0 for p in group["params"]]
    assert {id(p) for p in decayed} == {id(p) for p in model.parameters() if p.dim() == 2}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))


def test_keys_that_an_optimizer_does_not_take_are_refused() -> None:
    with pytest.raises(UserError, match=r"(?i)nesterov"):
        make_optimizer(lambda groups: torch.optim.SGD(groups, lr=1, nesterov=True), build("bigram", 5, 1))


@pytest.mark.parametrize("form", ["compiled", "closed_form", "autograd"])
def test_a_longer_gradient_is_scaled_down_and_a_shorter_one_is_left_alone(form: str) -> None:
    generator = seeded()
    drawn = (torch.randint(27, (1, 8, 3), generator=generator), torch.randint(27, (1, 8), generator=generator))

    def flatten(model: nn.Module) -> torch.Tensor:
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    def step(clip: float | None) -> torch.Tensor:
        model = build("mlp", 27, 3, emb_dim=4, hidden=6, gradients=Gradients(form), init=Init.normal, dropout=0.0)
        model.choose_form(8, False, 1)
        before = flatten(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=1)
        take_steps(model, optimizer, Batch(*drawn), [0.5], clip=clip)
        return flatten(model) - before

    free = step(None)
    length = float(free.norm()) / 0.5
    # Without a limit the compiled loops take the step themselves, with sums in another order.
    assert torch.allclose(step(1.01 * length), free, atol=1e-6)
    assert torch.allclose(step(0.1 * length), 0.1 * free, atol=1e-6)
