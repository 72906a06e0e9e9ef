import logging
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from makemore.models import model_file
from makemore.models.base import LanguageModel
from tests.helpers import QUIET, SEED, Train, any_distributions, build, seeded


def weights(model: LanguageModel) -> Tensor:
    (W,) = model.parameters()
    return W


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 30), st.integers(1, 50), st.integers(1, 4), st.booleans())
def test_the_gradient_is_autograds(vocabulary: int, rows: int, block_size: int, distilled: bool) -> None:
    model = build("bigram", vocabulary, block_size).double()
    contexts = torch.randint(vocabulary, (rows, block_size), generator=seeded(1))
    targets = torch.randint(vocabulary, (rows,), generator=seeded(2))
    soft = any_distributions(rows, vocabulary) if distilled else None
    logits = model(contexts)
    (expected,) = torch.autograd.grad(F.cross_entropy(logits, targets if soft is None else soft), weights(model))
    weights(model).grad = torch.full_like(weights(model), torch.nan)
    loss = model.loss_and_gradients(contexts, targets, soft)
    assert float(loss) == pytest.approx(F.cross_entropy(logits, targets).item(), abs=1e-10)
    torch.testing.assert_close(weights(model).grad, expected, atol=1e-10, rtol=0)


def test_logits_are_one_hot_times_weights() -> None:
    model = build("bigram", 27, 3)
    contexts = torch.randint(27, (9, 3), generator=seeded(1))
    one_hot = F.one_hot(contexts[:, -1], 27).float()  # (9, 27)
    assert torch.equal(one_hot @ weights(model), model(contexts))


def test_initial_weights_are_the_lectures() -> None:
    assert torch.equal(weights(build("bigram", 27, 1, seed=SEED)), torch.randn((27, 27), generator=seeded(SEED)))


def test_its_softmax_approaches_the_normalized_counts_and_its_loss_theirs(train: Train, few_names: Path) -> None:
    data = ("data=text", f"data.path={few_names}", "data.overfit=30", *QUIET)
    counted = train("model=ngram", "model.smoothing=none", "data.block_size=1", *data)
    full_batch = ("data.batch_size=null", "schedule=constant", "schedule.lr=20", "steps=3000")
    descended = train("model=bigram", *full_batch, *data)
    assert descended.metrics["train_loss"] == pytest.approx(counted.metrics["train_loss"], abs=0.01)
    assert descended.metrics["train_loss"] > counted.metrics["train_loss"]
    models = [model_file.load(run.folder) for run in (counted, descended)]
    contexts = torch.arange(len(models[0].vocabulary)).unsqueeze(1)
    p, q = (model.logits(contexts).softmax(1) for model in models)
    torch.testing.assert_close(q, p, atol=0.01, rtol=0)


def test_on_the_bundled_names_it_reaches_the_loss_of_counting(train: Train) -> None:
    settings = ("schedule=step", "steps=20000", "data.batch_size=256", "schedule.lr=5")
    descended = train("model=bigram", *settings, *QUIET)
    counted = train("model=ngram", "model.smoothing=add_k", "data.block_size=1", *QUIET)
    for split in ("train_loss", "dev_loss"):
        assert descended.metrics[split] == pytest.approx(counted.metrics[split], abs=0.01)


@pytest.mark.parametrize("model", [("model=bigram", "steps=20"), ("model=ngram", "data.block_size=1")])
def test_bigram_runs_leave_the_heat_map_and_tensorboard_has_it(train: Train, model: tuple[str, ...]) -> None:
    run = train(*model, "~callbacks.samples")
    assert (run.folder / "bigram.png").stat().st_size > 100_000
    assert "pictures/bigram" in run.events.Tags()["images"]


def test_a_map_that_could_not_be_read_is_not_drawn(
    train: Train, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = tmp_path / "names.txt"
    words = ["".join(chr(0x20000 + 7 * i + j) for j in range(3)) for i in range(30)]
    names.write_text("\n".join(words), encoding="utf-8")
    with caplog.at_level(logging.INFO, logger="makemore"):
        run = train("model=ngram", "data.block_size=1", "data=text", f"data.path={names}", "logger=none")
    assert not (run.folder / "bigram.png").exists()
    assert "bigram.png" in caplog.text
