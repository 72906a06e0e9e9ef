import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from makemore.errors import UserError
from makemore.models import file as checkpoint
from makemore.models.mixture import weights as mixture
from makemore.models.mixture.weights import Member
from tests.helpers import QUIET, Run, Train, seeded

CONTEXTS = torch.randint(5, (40, 3), generator=seeded(1))


def member(seed: int, block_size: int = 3) -> Member:
    table = torch.randn(5, 5, generator=seeded(seed))
    return Member(lambda contexts: table[contexts[:, 0]] + table[contexts[:, -1]].flip(1), block_size)


@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.integers(0, 10))
@settings(deadline=None)
def test_a_mixture_is_a_distribution_and_the_weighted_mean_of_its_members(lengths: list[int], seed: int) -> None:
    members = [member(seed + number, length) for number, length in enumerate(lengths)]
    weights = torch.rand(len(members), generator=seeded(seed), dtype=torch.float64)
    weights /= weights.sum()
    p = mixture.logits(members, weights, CONTEXTS).exp()
    torch.testing.assert_close(p.sum(1), torch.ones(40, dtype=p.dtype))
    each = torch.stack([m.logits(CONTEXTS[:, -m.block_size :]).softmax(1) for m in members])
    torch.testing.assert_close(p, torch.einsum("m,mbv->bv", weights, each.double()), check_dtype=False)


def test_a_mixture_of_a_model_with_itself_is_itself() -> None:
    one = member(1)
    same = mixture.logits([one, one], torch.tensor([0.3, 0.7], dtype=torch.float64), CONTEXTS)
    torch.testing.assert_close(same.exp(), one.logits(CONTEXTS).softmax(1).double(), check_dtype=False)


def test_a_member_of_weight_zero_does_not_count() -> None:
    one, other = member(1), member(2)
    alone = mixture.logits([one, other], torch.tensor([1.0, 0.0], dtype=torch.float64), CONTEXTS)
    torch.testing.assert_close(alone.exp(), one.logits(CONTEXTS).softmax(1).double(), check_dtype=False)


def likelihood(weights: Tensor, log_p: Tensor) -> float:
    return float((weights.log().unsqueeze(1) + log_p).logsumexp(0).mean())


@given(st.integers(0, 30))
@settings(deadline=None)
def test_no_other_weights_make_the_examples_likelier(seed: int) -> None:
    log_p = torch.randn(3, 200, generator=seeded(seed), dtype=torch.float64)
    best = mixture.fitted_weights(log_p)
    assert float(best.sum()) == pytest.approx(1)
    for other in torch.rand(50, 3, generator=seeded(seed), dtype=torch.float64):
        assert likelihood(best, log_p) >= likelihood(other / other.sum(), log_p) - 1e-6


def test_examples_that_no_member_holds_possible_do_not_spoil_the_weights() -> None:
    log_p = torch.randn(2, 100, generator=seeded(), dtype=torch.float64)
    with_impossible = torch.cat([log_p, torch.full((2, 3), -torch.inf, dtype=torch.float64)], dim=1)
    assert torch.equal(mixture.fitted_weights(with_impossible), mixture.fitted_weights(log_p))


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
    before = checkpoint.load(mixed.folder)
    for run in members:
        (run.folder / "best.ckpt").unlink()
        (run.folder / "last.ckpt").unlink()
    after = checkpoint.load(mixed.folder)
    contexts = torch.randint(27, (50, 4), generator=seeded())
    torch.testing.assert_close(after.logits(contexts).exp().sum(1), torch.ones(50), check_dtype=False)
    assert torch.equal(after.logits(contexts), before.logits(contexts))
    # A mixture may be a member in turn; of itself alone it is itself.
    again = train("model=mixture", named([mixed, mixed]), *QUIET)
    assert again.metrics["dev_loss"] == pytest.approx(mixed.metrics["dev_loss"], abs=1e-6)


def test_given_weights_are_taken(train: Train, members: list[Run]) -> None:
    alone = train("model=mixture", named(members), "model.weights=[0,2]", *QUIET)
    assert alone.metrics["dev_loss"] == pytest.approx(members[1].metrics["dev_loss"], abs=1e-5)


def test_members_that_do_not_belong_together_are_refused(train: Train, members: list[Run], tmp_path: Path) -> None:
    other_split = train("steps=5", "data.split_seed=1", *QUIET)
    with pytest.raises(UserError, match=rf"model\.members={other_split.folder} was trained on another split"):
        train("model=mixture", named([members[1], other_split]), *QUIET)
    other_dev = train("steps=5", "data.splits=[0.8,0.15,0.05]", *QUIET)
    with pytest.raises(UserError, match=rf"model\.members={other_dev.folder} was trained on another split"):
        train("model=mixture", named([members[1], other_dev]), *QUIET)
    diverged = train("steps=500", "schedule.lr=1e38", *QUIET)
    with pytest.raises(UserError, match=rf"model\.members={diverged.folder} has diverged"):
        train("model=mixture", named([members[1], diverged]), *QUIET)
    names = tmp_path / "names.txt"
    names.write_text("\n".join(["emma", "ava", "mia", "amelia", "ella", "eva", "liam", "lia", "ali", "mila"]))
    other_alphabet = train("steps=5", "data=text", f"data.path={names}", *QUIET)
    with pytest.raises(UserError, match=rf"model\.members={other_alphabet.folder} knows 7 characters"):
        train("model=mixture", named([other_alphabet]), *QUIET)
    with pytest.raises(UserError, match=r"model\.members=nowhere: there is no such file"):
        train("model=mixture", "model.members=[nowhere]", *QUIET)


def test_a_mixtures_parts_are_held_against_each_other(train: Train, members: list[Run], tmp_path: Path) -> None:
    mixed = train("model=mixture", named(members), *QUIET)
    content = torch.load(mixed.folder / "last.ckpt", weights_only=True)
    content["state_dict"]["weights"] = torch.tensor([0.5, 0.6], dtype=torch.float64)
    torch.save(content, tmp_path / "wrong.ckpt")
    with pytest.raises(UserError, match="do not fit together"):
        checkpoint.load(tmp_path / "wrong.ckpt")
    assert json.loads((mixed.folder / "metrics.json").read_text())["steps"] == 0
