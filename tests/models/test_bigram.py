import logging
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from makemore.models.bigram import formulas as bigram
from tests.helpers import QUIET, Train, seeded


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 50), st.integers(1, 4))
def test_the_gradient_is_autograds(vocabulary: int, rows: int, block_size: int) -> None:
    W = bigram.initial(vocabulary, seeded()).double().requires_grad_()
    contexts = torch.randint(vocabulary, (rows, block_size), generator=seeded(1))
    targets = torch.randint(vocabulary, (rows,), generator=seeded(2))
    expected = F.cross_entropy(bigram.logits(W, contexts), targets)
    out = torch.full_like(W, torch.nan).detach()
    with torch.no_grad():
        loss = bigram.gradient(W, contexts, targets, out)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-10)
    torch.testing.assert_close(out, torch.autograd.grad(expected, W)[0], atol=1e-10, rtol=0)


def test_logits_are_one_hot_times_weights() -> None:
    W = bigram.initial(27, seeded())
    contexts = torch.randint(27, (9, 3), generator=seeded(1))
    one_hot = F.one_hot(contexts[:, -1], 27).float()  # (9, 27)
    assert torch.equal(one_hot @ W, bigram.logits(W, contexts))


def test_its_softmax_approaches_the_normalized_counts_and_its_loss_theirs(train: Train, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join(["emma", "ava", "mia", "amelia", "ella", "eva", "liam", "lia", "ali", "mila"] * 3))
    data = ("data=text", f"data.path={names}", "data.overfit=30", *QUIET)
    counted = train("model=ngram", "model.smoothing=none", "data.block_size=1", *data)
    full_batch = ("data.batch_size=null", "schedule=constant", "schedule.lr=20", "steps=3000")
    descended = train("model=bigram", *full_batch, *data)
    assert descended.metrics["train_loss"] == pytest.approx(counted.metrics["train_loss"], abs=0.01)
    assert descended.metrics["train_loss"] > counted.metrics["train_loss"]

    from makemore.models import file as checkpoint

    contexts = torch.arange(len(checkpoint.load(counted.folder / "last.ckpt").vocabulary)).unsqueeze(1)
    p, q = (checkpoint.load(run.folder / "last.ckpt").logits(contexts).softmax(1) for run in (counted, descended))
    torch.testing.assert_close(q, p, atol=0.01, rtol=0)


def test_on_the_bundled_names_it_reaches_the_loss_of_counting(train: Train) -> None:
    settings = ("schedule=step", "steps=20000", "data.batch_size=256", "schedule.lr=5")
    descended = train("model=bigram", *settings, *QUIET)
    counted = train("model=ngram", "model.smoothing=add_k", "data.block_size=1", *QUIET)
    for split in ("train_loss", "dev_loss"):
        assert descended.metrics[split] == pytest.approx(counted.metrics[split], abs=0.01)


@pytest.mark.parametrize("model", [("model=bigram", "steps=20"), ("model=ngram", "data.block_size=1")])
def test_bigram_runs_leave_the_heat_map_and_tensorboard_has_it(train: Train, model: tuple[str, ...]) -> None:
    run = train(*model, "callbacks.samples=0")
    assert (run.folder / "bigram.png").stat().st_size > 100_000
    events = EventAccumulator(str(run.folder))
    events.Reload()
    assert "bigram" in events.Tags()["images"]


def test_a_map_that_could_not_be_read_is_not_drawn(
    train: Train, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = tmp_path / "names.txt"
    words = ["".join(chr(0x20000 + 7 * i + j) for j in range(3)) for i in range(12)]
    names.write_text("\n".join(words), encoding="utf-8")
    with caplog.at_level(logging.INFO, logger="makemore"):
        run = train("model=ngram", "data.block_size=1", "data=text", f"data.path={names}", "logger=none")
    assert not (run.folder / "bigram.png").exists()
    assert "bigram.png is drawn for up to" in caplog.text
