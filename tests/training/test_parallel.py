import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from benchmarks.soak import compare
from makemore.cli.main import TERMINATED
from makemore.data.minibatches import EvaluationBatches, Minibatches
from makemore.data.windows import Windows
from makemore.files import METRICS
from makemore.training import run as training
from tests.helpers import QUIET, Run, Script, Train, check, composed, refused

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

TWO = ("trainer=ddp", "trainer.processes=2")
STEPS = ("steps=30", "eval_every=10", "data.batch_size=64", "data.overfit=1000")


class Killer(Callback):
    """Kills the second process once, when all have saved a state."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if os.environ.get("LOCAL_RANK") == "1" and pl_module.steps_taken >= 15 and not Path("killed").exists():
            Path("killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)


def finish(script: Script, folder: Path, *arguments: str) -> Run:
    done = script("train.py", *arguments, f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    return Run(folder, {})


@pytest.mark.parametrize(
    "settings",
    [
        ("model.gradients=autograd",),
        ("model.gradients=compiled", "data.replacement=false"),
        (
            "model.gradients=closed_form",
            "optimizer=adamw",
            "schedule=one_cycle",
            "schedule.lr=0.01",
            "distillation=0.5",
        ),
        ("model=ensemble", "model.networks=2", "model.hidden=20", "model.dropout=0"),
        ("model=rnn", "model.hidden=20", "data.replacement=false", "optimizer=adamw", "schedule.lr=0.01"),
        ("model=transformer", "model.width=8", "model.layers=1", "distillation=0.5"),
        ("model=adaptive", "model.cutoffs=[20,26]", "model.div_value=2", "optimizer=adamw", "schedule.lr=0.01"),
    ],
)
def test_two_processes_with_half_the_batch_learn_the_same_as_one(
    script: Script, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    kaiming = () if {"model=adaptive", "model=rnn", "model=transformer"} & {*settings} else ("model.init=kaiming",)
    settings = (*settings, *STEPS, *kaiming, "logger=tensorboard", "callbacks=loss")
    one = finish(script, tmp_path / "one", *settings)
    two = finish(script, tmp_path / "two", *settings, *TWO)
    assert one.points("loss/dev") == pytest.approx(two.points("loss/dev"), rel=1e-5)
    assert one.points("loss/train") == pytest.approx(two.points("loss/train"), rel=1e-5)
    for name, tensor in one.parameters.items():
        torch.testing.assert_close(two.parameters[name], tensor, rtol=1e-3, atol=1e-5)
    assert {path.name for path in one.folder.iterdir() if path.suffix != ".0"} == {
        path.name for path in two.folder.iterdir() if path.suffix != ".0"
    }


@pytest.mark.parametrize("replacement", [False, True])
def test_the_shares_of_all_processes_are_the_minibatches_of_one(replacement: bool) -> None:
    windows = Windows(torch.arange(101), block_size=2)

    def draw(rank: int, ranks: int) -> torch.Tensor:
        batches = Minibatches(windows, 10, replacement, [3, 4], seed=1, per_step=2, rank=rank, ranks=ranks)
        return torch.cat([batch.targets for batch in batches]).view(7, 2, -1)  # (steps, S, rows)

    whole, shares = draw(0, 1), [draw(rank, 5) for rank in range(5)]
    assert torch.equal(torch.stack(shares, dim=-1).flatten(2), whole)
    evaluated = [batch.targets for rank in range(3) for batch in EvaluationBatches(windows, rank, 3)]
    assert torch.equal(torch.cat(evaluated).sort().values, windows.stream[1:])


@pytest.mark.parametrize(
    "settings", [(), ("model.dropout=0.3", "data.replacement=false"), ("model=gru", "model.dropout=0.3")]
)
def test_a_run_ends_with_a_killed_process_and_can_be_resumed(
    script: Script, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    every = (*STEPS, *TWO, *settings, "steps_per_execution=5", "model.hidden=20", "trainer.save_every=0")
    every = (*every, "callbacks=default", "+callbacks.killer._target_=tests.training.test_parallel.Killer")
    ended = script("train.py", *every, "hydra.run.dir=killed_run")
    assert ended.returncode == 1
    (sentence,) = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in ended.stderr
    assert "process 2 of 2" in sentence and "resume=" in sentence
    assert not (tmp_path / "killed_run" / METRICS).exists()
    again = script("train.py", f"resume={tmp_path / 'killed_run'}")
    assert again.returncode == 0, again.stderr
    whole = finish(script, tmp_path / "whole", *every)
    assert compare(whole.folder, tmp_path / "killed_run") == []


def test_every_processs_network_must_fit_into_memory() -> None:
    half = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 6 // 10
    # Four numbers of four bytes for each of 30 + 1 + 27 weights and biases of a hidden unit.
    hidden = f"model.hidden={half // (16 * 58)}"
    training.check(check(composed(hidden)))
    with refused(hidden, "trainer.processes=2"):
        training.check(check(composed(hidden, *TWO)))


class Stopper(Callback):
    """Ends the second process, and no other."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        trainer.should_stop = trainer.should_stop or os.environ.get("LOCAL_RANK") == "1"


class Signaller(Callback):
    """Sends SIGTERM to the second process alone."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if os.environ.get("LOCAL_RANK") == "1" and pl_module.steps_taken == 15:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_callback_of_one_process_ends_all(script: Script, tmp_path: Path) -> None:
    run = finish(script, tmp_path / "run", *STEPS, *TWO, *QUIET, f"+callbacks.stopper._target_={__name__}.Stopper")
    assert json.loads((run.folder / METRICS).read_text())["steps"] < 30


def test_a_signal_to_one_process_ends_all_with_results(script: Script, tmp_path: Path) -> None:
    signaller = f"+callbacks.signaller._target_={__name__}.Signaller"
    done = script("train.py", *STEPS, *TWO, *QUIET, "steps_per_execution=5", signaller, "hydra.run.dir=run")
    assert done.returncode == TERMINATED, done.stderr
    assert json.loads((tmp_path / "run" / METRICS).read_text())["status"] == "interrupted"


def test_batch_norm_is_evaluated_and_saved_as_it_is_in_all_processes(script: Script, tmp_path: Path) -> None:
    network = ("model=wavenet", "data.block_size=4", "model.hidden=5", "model.emb_dim=4", "optimizer=adamw")
    run = finish(script, tmp_path / "run", *network, *STEPS, *TWO, "logger=none", "callbacks=none")
    done = script("evaluate.py", f"checkpoint={run.folder}", "json=true")
    measured = {row["name"]: row["loss"] for row in json.loads(done.stdout)["losses"]}
    metrics = json.loads((run.folder / METRICS).read_text())
    assert measured["dev"] == pytest.approx(metrics["best_dev_loss"], rel=1e-6)


def test_a_process_may_have_no_share_of_a_batch(script: Script, tmp_path: Path) -> None:
    run = finish(script, tmp_path / "run", "steps=3", "data.overfit=1", "trainer.processes=8", *QUIET)
    assert json.loads((run.folder / METRICS).read_text())["dev_loss"] > 0


def test_a_mistake_in_any_process_is_one_sentence(script: Script) -> None:
    done = script("train.py", *STEPS, *TWO, "callbacks=early_stopping", "callbacks.early_stopping.monitor=no")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "`dev_loss`" in done.stderr.splitlines()[-1]


def test_callbacks_may_end_all_processes_together(script: Script, tmp_path: Path) -> None:
    run = finish(
        script,
        tmp_path / "run",
        *STEPS,
        *TWO,
        "callbacks=early_stopping",
        "schedule.lr=1e-9",
        "steps=1000",
        "logger=none",
    )
    assert '"steps": 1000' not in (run.folder / METRICS).read_text()


def test_what_cannot_be_shared_is_refused() -> None:
    with refused("data.batch_size=33", "trainer.processes=2"):
        training.check(check(composed(*TWO, "data.batch_size=33")))
    with refused("trainer.processes=2", "data.batch_size=2", "model=wavenet"):
        check(composed(*TWO, "model=wavenet", "data.batch_size=2"))
    with refused("trainer.processes=2", "model=ngram"):
        check(composed(*TWO, "model=ngram"))


def test_a_run_goes_on_in_as_many_processes_as_it_had(train: Train) -> None:
    run = train(*STEPS, *QUIET)
    (run.folder / METRICS).unlink()
    with refused("trainer.processes=2", "trainer.processes=1"):
        train(*STEPS, *QUIET, *TWO, resume=run.folder)
