import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from makemore.models import model_file, registry
from makemore.models.base import LanguageModel, evaluating
from makemore.models.mixture.model import fit_weights
from makemore.models.mlp.config import Gradients, Init
from tests.helpers import QUIET, Run, Train, build, refused, seeded

CONTEXTS = torch.randint(5, (40, 3), generator=seeded(1))
MLP = {"emb_dim": 2, "hidden": 7, "init": Init.normal, "dropout": 0.5, "gradients": Gradients.auto}


def member(seed: int, block_size: int = 3) -> LanguageModel:
    return build("mlp", 5, block_size, seed, **MLP).eval()


def mix(members: list[LanguageModel], weights: Sequence[float] | Tensor) -> Tensor:
    """A mixture's log-probabilities of what follows CONTEXTS."""
    described = [{"model": each.describe(), "block_size": each.block_size} for each in members]
    mixture = registry.build(registry.config_of("mixture")("mixture", described, None), 5, 3)  # type: ignore[call-arg]
    state = {f"members.{i}.{name}": value for i, m in enumerate(members) for name, value in m.state_dict().items()}
    mixture.load_state_dict(state | {"weights": torch.as_tensor(weights, dtype=torch.float64)})
    with evaluating(mixture), torch.no_grad():
        logits: Tensor = mixture(CONTEXTS)
    return logits


def probabilities(model: LanguageModel) -> Tensor:
    p: Tensor = model(CONTEXTS[:, -model.block_size :]).detach().softmax(1).double()
    return p


@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.integers(0, 10))
@settings(deadline=None)
def test_a_mixture_is_a_distribution_and_the_weighted_mean_of_its_members(lengths: list[int], seed: int) -> None:
    members = [member(seed + number, length) for number, length in enumerate(lengths)]
    weights = torch.rand(len(members), generator=seeded(seed), dtype=torch.float64)
    weights /= weights.sum()
    p = mix(members, weights).exp()
    torch.testing.assert_close(p.sum(1), torch.ones(40, dtype=p.dtype))
    each = torch.stack([probabilities(one) for one in members])
    torch.testing.assert_close(p, torch.einsum("m,mbv->bv", weights, each), atol=1e-6, rtol=1e-5)


def test_a_mixture_of_a_model_with_itself_is_itself() -> None:
    one = member(1)
    torch.testing.assert_close(mix([one, one], [0.3, 0.7]).exp(), probabilities(one), atol=1e-6, rtol=1e-5)


def test_a_member_of_weight_zero_does_not_count() -> None:
    one, other = member(1), member(2)
    torch.testing.assert_close(mix([one, other], [1.0, 0.0]).exp(), probabilities(one), atol=1e-6, rtol=1e-5)


def likelihood(weights: Tensor, log_p: Tensor) -> float:
    return float((weights.log().unsqueeze(1) + log_p).logsumexp(0).mean())


@given(st.integers(0, 30))
@settings(deadline=None)
def test_no_other_weights_make_the_examples_likelier(seed: int) -> None:
    log_p = torch.randn(3, 200, generator=seeded(seed), dtype=torch.float64)
    best = fit_weights(log_p)
    assert float(best.sum()) == pytest.approx(1)
    for other in torch.rand(50, 3, generator=seeded(seed), dtype=torch.float64):
        assert likelihood(best, log_p) >= likelihood(other / other.sum(), log_p) - 1e-6


def test_examples_that_no_member_holds_possible_do_not_spoil_the_weights() -> None:
    log_p = torch.randn(2, 100, generator=seeded(), dtype=torch.float64)
    with_impossible = torch.cat([log_p, torch.full((2, 3), -torch.inf, dtype=torch.float64)], dim=1)
    assert torch.equal(fit_weights(with_impossible), fit_weights(log_p))


@pytest.fixture
def members(train: Train) -> list[Run]:
    network = train("steps=3000", "schedule.lr=0.1", "model.init=kaiming", "test=true", *QUIET)
    return [network, train("model=ngram", "data.block_size=4", "test=true", *QUIET)]


def named(runs: list[Run]) -> str:
    return "model.members=[" + ",".join(str(run.folder) for run in runs) + "]"


def test_a_mixture_of_runs_beats_each_of_them_and_its_checkpoint_stands_by_itself(
    train: Train, members: list[Run]
) -> None:
    mixed = train("model=mixture", named(members), "test=true", *QUIET)
    # Its weights were fitted on dev; the test split knows nothing of them.
    assert mixed.metrics["dev_loss"] < min(run.metrics["dev_loss"] for run in members)
    assert mixed.metrics["test_loss"] < min(run.metrics["test_loss"] for run in members)
    assert mixed.metrics["parameters"] == sum(run.metrics["parameters"] for run in members) + 1
    before = model_file.load(mixed.folder)
    for run in members:
        (run.folder / "best.safetensors").unlink()
        (run.folder / "last.ckpt").unlink(missing_ok=True)
    after = model_file.load(mixed.folder)
    contexts = torch.randint(27, (50, 4), generator=seeded())
    torch.testing.assert_close(after.logits(contexts).exp().sum(1), torch.ones(50), check_dtype=False)
    assert torch.equal(after.logits(contexts), before.logits(contexts))
    # A mixture may be a member in turn; of itself alone it is itself.
    again = train("model=mixture", named([mixed, mixed]), *QUIET)
    assert again.metrics["dev_loss"] == pytest.approx(mixed.metrics["dev_loss"], abs=1e-6)


def test_given_weights_are_taken(train: Train, members: list[Run]) -> None:
    alone = train("model=mixture", named(members), "model.weights=[0,2]", *QUIET)
    assert alone.metrics["dev_loss"] == pytest.approx(members[1].metrics["dev_loss"], abs=1e-5)
    probabilities = model_file.load(alone.folder).logits(torch.randint(27, (50, 4), generator=seeded())).exp()
    torch.testing.assert_close(probabilities.sum(1), torch.ones(50), check_dtype=False)


def test_members_that_do_not_belong_together_are_refused(train: Train, members: list[Run], few_names: Path) -> None:
    others = [
        train("steps=5", "data.split_seed=1", *QUIET),
        train("steps=5", "data.splits=[0.8,0.15,0.05]", *QUIET),
        train("steps=500", "schedule.lr=1e38", *QUIET),  # diverges
        train("steps=5", "data=text", f"data.path={few_names}", *QUIET),  # another alphabet
    ]
    for other in others:
        with refused(f"model.members={other.folder}"):
            train("model=mixture", named([members[1], other]), *QUIET)
    with refused("model.members=nowhere"):
        train("model=mixture", "model.members=[nowhere]", *QUIET)


def test_a_mixture_is_fitted_once_and_takes_no_steps(train: Train, few_names: Path) -> None:
    data = ("data=text", f"data.path={few_names}", *QUIET)
    runs = [train("model=ngram", f"data.block_size={length}", *data) for length in (1, 2)]
    metrics = json.loads((train("model=mixture", named(runs), *data).folder / "metrics.json").read_text())
    assert metrics["steps"] == 0
    assert metrics["status"] == "finished"


def test_a_mixture_of_counts_alone_has_its_heat_map(train: Train) -> None:
    runs = [train("model=ngram", "data.block_size=1", *QUIET), train("model=ngram", "data.block_size=2", *QUIET)]
    mixed = train("model=mixture", named(runs), "callbacks=heat_map", "logger=none")
    pairs = model_file.load(mixed.folder).model.pairs(None)  # type: ignore[arg-type]
    torch.testing.assert_close(pairs.sum(1), torch.ones_like(pairs[0]))


def test_a_mixture_shows_nothing_of_a_single_member_and_moves_none(train: Train) -> None:
    runs = [train("steps=5", "model.hidden=4", f"seed={seed}", *QUIET) for seed in (1, 2)]
    mixed = train("model=mixture", named(runs), "callbacks=[embedding,scales,saturation]", "logger=none")
    assert not list(mixed.folder.glob("*.png"))
