from pathlib import Path

import pytest
import torch

from makemore.data import corpus
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows
from makemore.inference import sampling
from makemore.models import model_file
from makemore.models.base import LanguageModel
from tests.helpers import QUIET, Train, build, check, composed, refused, same_state, seeded


def lecture() -> LanguageModel:
    return build("wavenet", 27, 8, emb_dim=24, hidden=128)


def test_the_lectures_network_has_76_579_parameters() -> None:
    assert lecture().size() == 76_579


@pytest.mark.parametrize("block_size", [2, 4, 8, 16])
def test_logits_have_a_row_for_each_context_and_a_column_for_each_token(block_size: int) -> None:
    model = build("wavenet", 27, block_size, emb_dim=4, hidden=6)
    assert model(torch.zeros(5, block_size, dtype=torch.int64)).shape == (5, 27)


@pytest.mark.parametrize("block_size", [1, 3, 6, 12])
def test_a_context_that_cannot_be_halved_down_to_one_is_refused(block_size: int) -> None:
    with refused("model=wavenet", f"data.block_size={block_size}"):
        check(composed("model=wavenet", f"data.block_size={block_size}"))


@pytest.mark.parametrize("place", range(8))
def test_a_character_changes_only_its_own_pairs_vector_on_the_first_level(place: int) -> None:
    model = lecture().eval()
    contexts = torch.randint(26, (1, 8), generator=seeded())
    changed = contexts.clone()
    changed[0, place] += 1
    before, after = (model.levels[0](model.C(each)) for each in (contexts, changed))  # type: ignore[operator, index]
    assert before.shape == (1, 4, 128)
    differs = (before != after).any(dim=2).squeeze(0)  # (4,)
    assert differs.tolist() == [pair == place // 2 for pair in range(4)]


def test_every_character_of_the_context_counts() -> None:
    model = lecture().eval()
    contexts = torch.randint(26, (1, 8), generator=seeded()).repeat(9, 1)
    contexts[1:] += torch.eye(8, dtype=torch.int64)
    assert len({tuple(row) for row in model(contexts).tolist()}) == 9


def test_every_level_starts_with_activations_of_the_same_size() -> None:
    activations = lecture().activations(torch.randint(27, (500, 8), generator=seeded()))
    sizes = [values.square().mean().sqrt().item() for values in activations.values()]
    # BatchNorm puts out a standard normal distribution: the root mean square of its tanh is 0.63.
    assert sizes == pytest.approx([0.63] * 3, abs=0.02)


def test_a_few_steps_lower_the_loss() -> None:
    names = corpus.read(corpus.BUNDLED)
    windows = Windows.from_documents(names[:10], Vocabulary.from_documents(names), 8)
    contexts, targets = windows.gather(torch.arange(len(windows)))
    model = lecture()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(15):
        losses.append(float(model.loss_and_gradients(contexts, targets)))
        optimizer.step()
    assert losses[0] == pytest.approx(torch.tensor(27).log().item(), abs=0.1)
    assert losses[-1] < losses[0] - 0.5


def test_evaluations_do_not_change_what_is_learned(train: Train, few_names: Path) -> None:
    settings = ("model=wavenet", "model.hidden=16", "data=text", f"data.path={few_names}", "steps=60", *QUIET)
    often, once = (train(*settings, f"eval_every={every}") for every in (10, 1000))
    assert any("running_mean" in name for name in once.parameters)
    assert same_state(often, once)


def test_a_run_can_be_sampled_and_mixed(train: Train, few_names: Path) -> None:
    settings = ("data=text", f"data.path={few_names}", *QUIET)
    run = train("model=wavenet", "model.hidden=16", "steps=60", *settings)
    model = model_file.load(run.folder)
    assert len(list(sampling.sample(model, 5, seeded(), max_length=20))) == 5
    mixed = train("model=mixture", f"model.members=[{run.folder},{run.folder}]", *settings)
    assert mixed.metrics["dev_loss"] == pytest.approx(run.metrics["best_dev_loss"], abs=1e-6)
