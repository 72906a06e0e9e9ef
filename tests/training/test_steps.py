from typing import Any

import pytest
import torch

from makemore.errors import UserError
from makemore.training.steps import descend, is_plain_sgd, make_optimizer, optimizer_step
from tests.helpers import build, seeded


def test_plain_sgd_takes_the_optimizers_own_step() -> None:
    generator = seeded()
    values = [torch.randn(50, generator=generator) for _ in range(2)]
    gradients = [torch.randn(50, generator=generator) for _ in range(2)]
    stepped = []
    for update in (optimizer_step, descend):
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
