import copy
import math

import pytest
import torch

from makemore.models.ensemble.model import Model
from makemore.models.mlp import formulas
from makemore.models.mlp.config import Gradients, Init
from tests.helpers import any_distributions, build, seeded


def three_networks(dropout: float = 0.0) -> Model:
    sizes = {"emb_dim": 4, "hidden": 10, "networks": 3}
    model = build(
        "ensemble", 7, 3, 1, init=Init.kaiming, dropout=dropout, recency=0.8, gradients=Gradients.auto, **sizes
    )
    assert isinstance(model, Model)
    return model


def fold(ensemble: Model) -> formulas.Parameters:
    """The one network of the lecture with an ensemble's logits, by the formulas of its docstring."""
    parts = [network.p for network in ensemble.members]
    positions = [p.W1.view(ensemble.block_size, -1, ensemble.config.hidden).unbind() for p in parts]
    blocks = (torch.block_diag(*at) for at in zip(*positions, strict=True))  # type: ignore[no-untyped-call]
    return formulas.Parameters(
        C=torch.cat([p.C for p in parts], dim=1),
        W1=torch.cat(list(blocks)),
        b1=torch.cat([p.b1 for p in parts]),
        W2=torch.cat([p.W2 for p in parts]) / len(parts),
        b2=torch.stack([p.b2 for p in parts]).mean(0),
    )


def examples() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randint(7, (300, 3), generator=seeded(1)), torch.randint(7, (300,), generator=seeded(2))


def test_an_ensemble_is_one_network_of_the_lecture() -> None:
    ensemble, (contexts, _) = three_networks(), examples()
    one = fold(ensemble)
    assert [part.shape for part in one] == [torch.Size(shape) for shape in formulas.shapes(7, 3, 12, 30)]
    torch.testing.assert_close(formulas.logits(one, contexts), ensemble(contexts))
    torch.testing.assert_close(formulas.hidden_layer(one, contexts), ensemble.activations(contexts)["h"])
    assert torch.equal(one.C, ensemble.embedding())


@pytest.mark.parametrize("threads", [1, 2, 6])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("soft", [False, True])
def test_each_network_learns_from_the_loss_on_its_own_minibatch(threads: int, dropout: float, soft: bool) -> None:
    ensemble, (contexts, targets) = three_networks(dropout=dropout), examples()
    q = any_distributions(300, 7) if soft else None
    ensemble.choose_form(100, on_gpu=False, threads=threads)
    torch.manual_seed(1)
    loss = ensemble.train().loss_and_gradients(contexts, targets, q)
    alone, parts = [], [contexts.chunk(3), targets.chunk(3), [None] * 3 if q is None else q.float().chunk(3)]
    torch.manual_seed(1)
    for network, x, y, own_soft in zip(ensemble.members, *parts, strict=True):
        p = formulas.Parameters(*(parameter.detach().clone().requires_grad_() for parameter in network.trained))
        scaled = p._replace(W1=p.W1 * network._scale)
        mask = formulas.dropout_mask(100, p, dropout) if dropout else None
        logits = formulas.logits(scaled, x, mask)
        objective = torch.nn.functional.cross_entropy(logits, y if own_soft is None else own_soft)
        for expected, parameter in zip(torch.autograd.grad(objective, p), network.trained, strict=True):
            torch.testing.assert_close(parameter.grad, expected, atol=1e-6, rtol=1e-4)
        alone.append(torch.nn.functional.cross_entropy(logits, y).item())
    assert loss == pytest.approx(sum(alone) / 3, rel=1e-5)


def test_a_network_that_has_trained_can_be_copied() -> None:
    ensemble, (contexts, targets) = three_networks(), examples()
    ensemble.choose_form(100, on_gpu=False, threads=2)
    ensemble.loss_and_gradients(contexts, targets)
    copied = copy.deepcopy(ensemble)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert copied.loss_and_gradients(contexts, targets) == pytest.approx(math.log(7))
    assert ensemble.loss_and_gradients(contexts, targets) != pytest.approx(math.log(7))


def test_networks_differ_from_the_start() -> None:
    first, second, _ = three_networks().members
    assert not torch.equal(first.C, second.C)
