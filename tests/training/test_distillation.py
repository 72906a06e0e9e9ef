from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows
from makemore.models.ngram import counts
from makemore.models.ngram.config import Smoothing
from makemore.training import distillation
from makemore.training.distillation import Teacher, mix_targets
from tests.helpers import FEW_NAMES, QUIET, Train, any_distributions, same_state, seeded

VOCABULARY = Vocabulary.from_documents(FEW_NAMES)
WINDOWS = Windows.from_documents(FEW_NAMES, VOCABULARY, 3)


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(1, 30), st.floats(0, 1))
def test_mixed_targets_are_distributions_between_the_targets_and_the_teacher(
    rows: int, vocabulary: int, share: float
) -> None:
    teacher = any_distributions(rows, vocabulary)
    targets = torch.randint(vocabulary, (rows,), generator=seeded(1))
    before = teacher.clone()
    mixed = mix_targets(targets, teacher, share)
    assert torch.equal(teacher, before)
    torch.testing.assert_close(mixed.sum(1), torch.ones(rows, dtype=mixed.dtype))
    assert (mixed >= 0).all()
    torch.testing.assert_close(mixed, (1 - share) * F.one_hot(targets, vocabulary) + share * teacher)


def test_mixed_targets_by_hand() -> None:
    targets, teacher = torch.tensor([2, 0]), torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    assert torch.equal(mix_targets(targets, teacher, 0.0), torch.tensor([[0.0, 0, 1], [1, 0, 0]]))
    assert torch.equal(mix_targets(targets, teacher, 1.0), teacher)
    torch.testing.assert_close(mix_targets(targets, teacher, 0.5)[0], torch.tensor([0.25, 0.25, 0.5]))


def test_the_teacher_is_a_kneser_ney_model_of_the_training_split() -> None:
    contexts, targets = WINDOWS.gather(torch.arange(20))
    opinion = Teacher(WINDOWS, len(VOCABULARY), 1.0).mix(contexts, targets)
    model = counts.fit(WINDOWS, len(VOCABULARY), Smoothing.kneser_ney)
    assert opinion.dtype == torch.float32
    assert torch.equal(opinion, counts.probabilities(model, contexts).float())
    assert torch.equal(
        Teacher(WINDOWS, len(VOCABULARY), 0.0).mix(contexts, targets), F.one_hot(targets, len(VOCABULARY)).float()
    )


@pytest.mark.parametrize("budget", [0, 2**26])
def test_the_teacher_is_of_the_same_opinion_every_time(monkeypatch: pytest.MonkeyPatch, budget: int) -> None:
    monkeypatch.setattr(distillation, "OPINIONS_BUDGET", budget)
    teacher, model = Teacher(WINDOWS, len(VOCABULARY), 1.0), counts.fit(WINDOWS, len(VOCABULARY), Smoothing.kneser_ney)
    for first in (0, 10, 5, 0):
        contexts, targets = WINDOWS.gather(torch.arange(first, first + 20))
        assert torch.equal(teacher.mix(contexts, targets), counts.probabilities(model, contexts).float())


NETWORKS = {
    "mlp": ("model.hidden=9",),
    "mlp, closed form": ("model.hidden=9", "model.gradients=closed_form"),
    "mlp, autograd": ("model.hidden=9", "model.gradients=autograd"),
    "bigram": ("model=bigram",),
    "ensemble": ("model=ensemble", "model.networks=2", "model.hidden=9"),
    "wavenet": ("model=wavenet", "model.hidden=9"),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_any_network_learns_from_the_teacher_and_its_loss_is_that_of_the_next_token(
    train: Train, few_names: Path, network: str
) -> None:
    settings = (*NETWORKS[network], "data=text", f"data.path={few_names}", "callbacks=none", "steps=10")
    alone, half, taught = (train(*settings, f"distillation={share}") for share in (0, 0.5, 1))
    assert not same_state(alone, taught)
    # The first losses are those of the same weights on the same minibatch.
    first = [run.points("loss/train")[1] for run in (alone, half, taught)]
    assert first == pytest.approx([first[0]] * 3, rel=1e-6)


def test_a_share_of_nothing_is_no_teacher(train: Train, few_names: Path) -> None:
    data = ("data=text", f"data.path={few_names}", "model.gradients=closed_form", "model.hidden=9", "steps=10", *QUIET)
    assert same_state(train(*data, "distillation=0"), train(*data))


def test_taught_alone_a_network_comes_close_to_its_teacher(train: Train, few_names: Path) -> None:
    data = ("data=text", f"data.path={few_names}", "data.overfit=30", *QUIET)
    teacher = train("model=ngram", "data.block_size=1", *data)
    full_batch = ("data.batch_size=null", "schedule=constant", "schedule.lr=20", "steps=2000")
    pupil = train("model=bigram", "distillation=1", *full_batch, *data)
    assert pupil.metrics["dev_loss"] == pytest.approx(teacher.metrics["dev_loss"], abs=0.01)
