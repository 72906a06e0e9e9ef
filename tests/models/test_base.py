from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from makemore.config.schema import ModelConfig
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows
from makemore.models import model_file
from makemore.models.base import LanguageModel, evaluating
from makemore.models.mlp.config import Gradients, Init
from tests.helpers import any_distributions, build, seeded

V, BLOCK, ROWS = 7, 3, 11
MLP = {"init": Init.normal, "dropout": 0.0, "gradients": Gradients.auto}


class Half(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Dropout(0.3))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


class Network(LanguageModel):
    """Nested modules, buffers, layers that have a mode, and two tables."""

    def __init__(self) -> None:
        super().__init__(ModelConfig("network"), V, BLOCK)
        self.places = nn.Embedding(BLOCK, 4)  # not of tokens
        self.table = nn.Embedding(V, 4)
        self.halves = nn.ModuleDict({"a": Half(4 * BLOCK), "b": Half(4 * BLOCK)})
        self.output = nn.Linear(10, V)

    def forward(self, contexts: Tensor) -> Tensor:
        e = (self.table(contexts) + self.places.weight).flatten(1)  # (B, BLOCK * 4)
        logits: Tensor = self.output(torch.cat([half(e) for half in self.halves.values()], dim=1))
        return logits


CONTEXTS = torch.randint(V, (ROWS, BLOCK), generator=seeded(1))
TARGETS = torch.randint(V, (ROWS,), generator=seeded(2))


def test_evaluating_gives_every_submodule_its_mode_back_also_after_an_error() -> None:
    model = Network()
    frozen = model.halves["a"]
    frozen.eval()
    before = {name: module.training for name, module in model.named_modules()}
    assert len(set(before.values())) == 2
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert {name: module.training for name, module in model.named_modules()} == before
    with pytest.raises(ValueError, match="inside"), evaluating(model):
        raise ValueError("inside")
    assert {name: module.training for name, module in model.named_modules()} == before


@pytest.mark.parametrize("distilled", [False, True])
def test_gradients_are_autograds_and_the_loss_is_that_of_the_targets(distilled: bool) -> None:
    model = Network().double().eval()
    soft = any_distributions(ROWS, V) if distilled else None
    logits = model(CONTEXTS)
    objective = F.cross_entropy(logits, TARGETS if soft is None else soft)
    expected = torch.autograd.grad(objective, list(model.parameters()))
    for _ in range(2):  # gradients of an earlier step are forgotten
        loss = model.loss_and_gradients(CONTEXTS, TARGETS, soft)
    assert float(loss) == pytest.approx(F.cross_entropy(logits, TARGETS).item(), abs=1e-12)
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("name", "block_size", "keys"),
    [("bigram", 1, {}), ("mlp", 3, MLP | {"emb_dim": 2, "hidden": 5}), ("wavenet", 4, {"emb_dim": 2, "hidden": 5})],
)
def test_initial_weights_depend_on_the_generator_alone(name: str, block_size: int, keys: dict[str, Any]) -> None:
    before = torch.get_rng_state()
    one, same, other = (build(name, 27, block_size, seed, **keys).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[key], same[key]) for key in one)
    drawn = [key for key in one if one[key].is_floating_point() and len(one[key].unique()) > 1]
    assert drawn
    assert not any(torch.equal(one[key], other[key]) for key in drawn)


def test_activations_are_those_of_every_tanh_however_deep_and_leave_no_hook() -> None:
    model = Network().eval()
    found = model.activations(CONTEXTS)
    assert list(found) == ["halves.a.layers.2", "halves.b.layers.2"]
    for values in found.values():
        assert values.shape == (ROWS, 5)
        assert values.abs().max() <= 1
    assert not any(module._forward_hooks for module in model.modules())
    assert build("bigram", V, BLOCK).activations(CONTEXTS) == {}


def test_the_embedding_is_the_table_of_tokens() -> None:
    model = Network()
    assert model.embedding() is model.table.weight
    assert build("bigram", V, 1).embedding() is None


def test_pairs_are_the_probabilities_of_what_follows_each_token() -> None:
    model = build("bigram", V, 1)
    train = Windows.from_documents(["abc"], Vocabulary((".", *"abcdef")), 1)
    (W,) = model.parameters()
    torch.testing.assert_close(model.pairs(train), W.softmax(1))


def test_a_description_builds_the_model_again() -> None:
    model = build("wavenet", V, 4, emb_dim=3, hidden=5)
    again = model_file.build_described(model.describe(), V, 4)
    again.load_state_dict(model.state_dict())
    contexts = CONTEXTS.repeat(1, 2)[:, :4]
    with evaluating(model), evaluating(again):
        assert torch.equal(model(contexts), again(contexts))


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("mlp", MLP | {"hidden": 6}),
        ("mlp", MLP | {"hidden": 6, "recency": 0.5, "direct": True}),
        ("mlp", MLP | {"hidden": 0, "direct": True}),
        ("deep", {"hidden": 6, "layers": 3, "batch_norm": True, "gain": 1.0}),
        ("deep", {"hidden": 6, "layers": 2, "batch_norm": False, "gain": 1.0}),
    ],
)
def test_layers_written_out_are_the_network(name: str, keys: dict[str, Any]) -> None:
    model = build(name, V, BLOCK, emb_dim=4, **keys)
    contexts = torch.randint(V, (ROWS, BLOCK), generator=seeded())
    with torch.no_grad():
        model(contexts)  # in train mode, so that BatchNorm has statistics
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=seeded(1)))
    layers = model.as_layers()
    assert layers is not None
    x = first = layers.C[contexts].flatten(1)  # (ROWS, BLOCK * 4)
    *hidden, (W2, b2) = layers.products
    for W, b in hidden:
        x = torch.tanh(x @ W + b)
    expected = model.eval()(contexts)
    torch.testing.assert_close((torch.cat([x, first], 1) if layers.direct else x) @ W2 + b2, expected)


def test_other_networks_are_not_written_out() -> None:
    assert Network().as_layers() is None
