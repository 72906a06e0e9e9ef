import signal
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch

from makemore.data import corpus
from makemore.data.split import split
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows
from makemore.models.mlp import formulas as mlp
from makemore.models.mlp.config import Init
from makemore.training import parallel
from tests.helpers import QUIET, SEED, Train, mlp_loss, same_state, seeded


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("model.dropout=0.3", "distillation=0.5", "optimizer=adamw", "schedule=one_cycle", "schedule.lr=0.01"),
        ("data.replacement=false", "data.batch_size=7", "optimizer.momentum=0.9", "schedule.lr=0.01"),
        ("model.gradients=closed_form",),
        ("model.gradients=autograd", "schedule=cosine", "model.dropout=0.3"),
        ("model=bigram", "optimizer=adamw", "distillation=0.5"),
        # BatchNorm's running statistics among them.
        ("model=wavenet", "model.hidden=16", "data.overfit=100"),
        ("model=wavenet", "model.hidden=16", "data.overfit=100", "optimizer=adamw", "distillation=0.5"),
    ],
)
def test_weights_do_not_depend_on_steps_per_execution(train: Train, settings: tuple[str, ...]) -> None:
    one = train("steps=120", "steps_per_execution=1", "eval_every=120", *settings, *QUIET)
    fifty = train("steps=120", "steps_per_execution=50", "eval_every=40", *settings, *QUIET)
    assert same_state(one, fifty)
    assert one.metrics["dev_loss"] == fifty.metrics["dev_loss"]
    assert one.metrics["train_loss"] == fifty.metrics["train_loss"]


@pytest.mark.parametrize(
    "optimizer", [("optimizer=sgd",), ("optimizer=adamw", "schedule.lr=0.01", "model.dropout=0.2")]
)
def test_formulas_and_autograd_train_the_same_model(train: Train, optimizer: tuple[str, ...]) -> None:
    by_autograd = train("steps=300", "model.gradients=autograd", *optimizer, *QUIET)
    for how in ("compiled", "closed_form"):
        run = train("steps=300", f"model.gradients={how}", *optimizer, *QUIET)
        assert run.metrics["train_loss"] == pytest.approx(by_autograd.metrics["train_loss"], abs=1e-3)
        for name in mlp.Parameters._fields:
            torch.testing.assert_close(run.parameters[name], by_autograd.parameters[name], atol=2e-3, rtol=0)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(train: Train) -> None:
    a, b, c = (train("steps=50", f"seed={seed}", *QUIET) for seed in (1, 1, 2))
    assert same_state(a, b)
    assert not same_state(a, c)


def test_global_step_counts_optimizer_steps(train: Train) -> None:
    run = train("steps=230", "steps_per_execution=50", "eval_every=100", *QUIET)
    content = torch.load(run.folder / "last.ckpt", weights_only=True)
    assert content["global_step"] == run.metrics["steps"] == content["makemore"]["steps_taken"] == 230


class Draw(L.Callback):
    """Draws from PyTorch's global generator wherever a callback may, as a figure's code could."""

    def on_train_batch_start(self, *_: Any) -> None:
        torch.rand(7)

    def on_train_batch_end(self, *_: Any) -> None:
        torch.rand(3)

    def on_validation_end(self, *_: Any) -> None:
        torch.manual_seed(5)


@pytest.mark.parametrize("model", [("model.dropout=0.3", "model.hidden=9"), ("model=wavenet", "model.hidden=9")])
def test_looking_on_changes_nothing(train: Train, few_names: Path, model: tuple[str, ...]) -> None:
    data = ("data=text", f"data.path={few_names}", "steps=40", *QUIET)
    alone = train(*data, *model)
    torch.manual_seed(77)
    watched = train(*data, *model, "eval_every=7", f"+callbacks.draw._target_={__name__}.Draw")
    assert same_state(alone, watched)


def test_losses_of_a_run_are_means_over_whole_splits(train: Train, few_names: Path) -> None:
    run = train("steps=5", "test=true", "data=text", f"data.path={few_names}", "model.hidden=9", *QUIET)
    documents = corpus.read(few_names)
    vocabulary = Vocabulary.from_documents(documents)
    p = mlp.Parameters(**run.parameters)
    for name, part in zip(("train", "dev", "test"), split(documents, [0.8, 0.1, 0.1], 42), strict=True):
        windows = Windows.from_documents(part, vocabulary, 3)
        expected = mlp_loss(p, *windows.gather(torch.arange(len(windows)))).item()
        assert run.metrics[f"{name}_loss"] == pytest.approx(expected, abs=1e-5)


def test_a_diverged_run_stops_says_so_and_counts_as_the_worst(train: Train) -> None:
    settings = ("steps=2000", "schedule=constant", "schedule.lr=1e38", "eval_every=500", "logger=none")
    runs = [train(*settings, f"steps_per_execution={k}") for k in (1, 100)]
    for run in runs:
        assert run.metrics["status"] == "diverged"
        assert run.metrics["steps"] == runs[0].metrics["steps"] < 100
        assert run.metrics["best_dev_loss"] == float("inf")
        assert '"dev_loss": null' in (run.folder / "metrics.json").read_text()
        assert not (run.folder / "best.safetensors").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that PyTorch can use on this machine")
def test_a_gpu_trains_the_same_model(train: Train) -> None:
    cpu, gpu = (train("steps=200", f"trainer={kind}", *QUIET) for kind in ("cpu", "gpu"))
    assert gpu.metrics["train_loss"] == pytest.approx(cpu.metrics["train_loss"], abs=1e-2)


def test_initial_weights_are_the_lectures(train: Train) -> None:
    run = train("steps=1", "schedule.lr=1e-30", *QUIET)
    drawn = mlp.initial(27, 3, 10, 200, Init.normal, seeded(SEED))
    for name, value in drawn._asdict().items():
        assert torch.equal(run.parameters[name], value)


def test_a_signal_that_comes_while_processes_agree_counts_at_the_next_batch(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    agree, sent = parallel.agree, list[int]()

    def be_signalled(number: int) -> int:
        if not sent:
            sent.append(number)
            signal.raise_signal(signal.SIGINT)
        return agree(number)

    monkeypatch.setattr(parallel, "agree", be_signalled)
    run = train("steps=100", "steps_per_execution=10", "eval_every=100", *QUIET)
    assert (sent, run.metrics["status"], run.metrics["steps"]) == ([0], "interrupted", 20)
