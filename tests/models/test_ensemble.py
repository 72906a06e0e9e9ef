import pytest
import torch

from makemore.models.ensemble.model import Model
from makemore.models.mlp import formulas
from makemore.models.mlp.config import Gradients, Init
from tests.helpers import build, seeded


def three_networks() -> Model:
    sizes = {"emb_dim": 4, "hidden": 10, "networks": 3}
    model = build("ensemble", 7, 3, 1, init=Init.kaiming, dropout=0.0, recency=0.8, gradients=Gradients.auto, **sizes)
    assert isinstance(model, Model)
    return model


def examples() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randint(7, (300, 3), generator=seeded(1)), torch.randint(7, (300,), generator=seeded(2))


def test_an_ensemble_is_one_network_of_the_lecture() -> None:
    ensemble, (contexts, _) = three_networks(), examples()
    one = ensemble.as_one_network()
    assert [part.shape for part in one] == [torch.Size(shape) for shape in formulas.shapes(7, 3, 12, 30)]
    torch.testing.assert_close(formulas.logits(one, contexts), ensemble(contexts))
    torch.testing.assert_close(formulas.hidden_layer(one, contexts), ensemble.activations(contexts)["h"])
    assert torch.equal(one.C, ensemble.embedding())


@pytest.mark.parametrize("threads", [1, 2])
def test_each_network_learns_from_the_loss_on_its_own_minibatch(threads: int) -> None:
    ensemble, (contexts, targets) = three_networks(), examples()
    ensemble.choose_form(100, on_gpu=False, threads=threads)
    loss = ensemble.loss_and_gradients(contexts, targets)
    alone = []
    for network, x, y in zip(ensemble.members, contexts.chunk(3), targets.chunk(3), strict=True):
        p = formulas.Parameters(*(parameter.detach().clone().requires_grad_() for parameter in network.p))
        own = torch.nn.functional.cross_entropy(formulas.logits(p, x), y)
        b2 = torch.autograd.grad(own, p.b2)[0]
        torch.testing.assert_close(network.b2.grad, b2, atol=1e-6, rtol=1e-4)
        alone.append(own.item())
    assert loss == pytest.approx(sum(alone) / 3, rel=1e-5)


def test_networks_differ_from_the_start() -> None:
    first, second, _ = three_networks().members
    assert not torch.equal(first.C, second.C)
