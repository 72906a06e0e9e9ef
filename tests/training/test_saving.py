import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from benchmarks.soak import compare
from makemore import machine
from makemore.data import cache, corpus
from makemore.models import model_file
from makemore.training import execution, saving
from tests.helpers import QUIET, Train, limit_file_size, refused, same_state

QUICK = ("data.overfit=300", "callbacks=none")
# What each run of these tests adds to the default one; steps are few, and a call takes 7.
SETTINGS = {
    "words": (
        *("data=text", f"data.path={corpus.BUNDLED}", "data.level=word", "data.min_count=2", "data.layout=running"),
        *("data.replacement=false", "callbacks=none"),
    ),
    "plain": (),
    "closed form": ("model.gradients=closed_form", "optimizer.momentum=0.9", "schedule=cosine", *QUICK),
    "dropout": ("optimizer=adamw", "schedule=one_cycle", "model.init=kaiming", "model.dropout=0.3", *QUICK),
    "epochs": ("data.replacement=false", "data.batch_size=700", "model.gradients=autograd", *QUICK),
    "distilled": ("distillation=0.5", *QUICK),
    "ensemble": (
        *("model=ensemble", "model.networks=3", "model.hidden=20", "model.recency=0.8", "trainer.threads=2"),
        *("data.replacement=false", "distillation=0.3", "optimizer=adamw", *QUICK),
    ),
    "wavenet": ("model=wavenet", "data.block_size=4", "model.hidden=5", "optimizer=adamw", *QUICK),
    "deep": ("model=deep", "model.layers=2", "model.hidden=5", "optimizer=adamw", *QUICK),
    "bow": ("model=bow", "model.hidden=5", "optimizer=adamw", *QUICK),
    "rnn": ("model=rnn", "model.hidden=5", "optimizer=adamw", "data.replacement=false", *QUICK),
    "gru": ("model=gru", "model.hidden=5", "model.dropout=0.3", "distillation=0.5", "data.overfit=300"),
    "lstm": ("model=lstm", "model.layers=2", "model.hidden=5", "model.dropout=0.3", "optimizer=adamw", *QUICK),
    "transformer": (
        *("model=transformer", "model.width=8", "model.layers=1", "model.dropout=0.3", "distillation=0.5", *QUICK),
    ),
    "bigram": ("model=bigram", "data.block_size=1", "data.batch_size=null", "data.overfit=100"),
    "diagnosed": ("callbacks=[default,saturation,scales,update_ratio]", "model.hidden=20"),
    "range test": ("experiment=lr_range", "schedule.end_lr=0.9", "data.overfit=300"),
}
COMMON = ("steps=130", "eval_every=40", "log_every=9", "model.emb_dim=4")


class KilledError(Exception):
    """Ends a run as nothing else does: at once."""


class Kill(L.Callback):
    """Ends a run after so many steps, the hard way or by a signal."""

    def __init__(self, at: int, by: signal.Signals | None) -> None:
        self.at, self.by = at, by

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *_: Any) -> None:
        if pl_module.steps_taken >= self.at and self.by is None:
            for logger in saving.list_tensorboards(trainer.loggers):
                logger.experiment.close()  # its thread, which dies with a process that is killed, would write on
            raise KilledError
        if pl_module.steps_taken >= self.at and self.by is not None and not pl_module.interrupted:
            signal.raise_signal(self.by)


@pytest.fixture
def kill(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the runs that follow end early: kill(at=30, by=signal.SIGINT); kill() lets them live."""
    killer: list[Kill] = []
    fit = L.Trainer.fit

    def fit_with_killer(trainer: L.Trainer, *arguments: Any, **keywords: Any) -> None:
        trainer.callbacks += killer  # type: ignore[attr-defined]
        fit(trainer, *arguments, **keywords)

    def kill(at: int | None = None, by: signal.Signals | None = None) -> None:
        killer[:] = [] if at is None else [Kill(at, by)]

    monkeypatch.setattr(L.Trainer, "fit", fit_with_killer)
    return kill


def test_a_resumed_run_writes_in_a_later_second_than_it_ended(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path, name="", version="")
    second = int(time.time())
    events = tmp_path / f"events.out.tfevents.{second}.host.1.9"
    events.touch()
    saving.go_back(tmp_path, [logger], {saving.KEY: {"events": {events.name: 0}}})
    assert time.time() >= second + 1
    assert events.exists()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_run_that_was_killed_and_interrupted_ends_as_if_it_had_not_been(train: Train, kill: Any, name: str) -> None:
    has_emb_dim = name not in ("bigram", "transformer", "range test")
    settings = tuple(each for each in COMMON if has_emb_dim or not each.startswith("model."))
    settings = (*settings, *SETTINGS[name], "trainer.save_every=0")
    if "update_ratio" not in " ".join(settings):
        settings = (*settings, "steps_per_execution=7")
    whole = train(*settings)
    kill(30)  # in the middle of an interval between evaluations
    with pytest.raises(KilledError):
        train(*settings)
    folder = whole.folder.with_name("1")
    kill(60, signal.SIGINT)  # evaluates once more than a run that nobody ends
    assert train(*settings, resume=folder).metrics["status"] == "interrupted"
    kill(125)  # after the last evaluation but one
    with pytest.raises(KilledError):
        train(*settings, resume=folder)
    kill()
    again = train(*settings, resume=folder)
    assert compare(whole.folder, folder) == []
    assert again.metrics["steps"] == 130
    assert {path.name for path in whole.folder.glob("*.png")} == {path.name for path in folder.glob("*.png")}
    for picture in whole.folder.glob("*.png"):
        assert picture.read_bytes() == (folder / picture.name).read_bytes()


def forget_processes(state: dict[str, Any]) -> None:
    """Makes it one from before runs had several."""
    (state["dropout"],) = state.pop("dropouts")


def add_generator(state: dict[str, Any]) -> None:
    """Makes it one of a run on a GPU, whose generator is not there now."""
    (states,) = state["dropouts"]
    states.append(torch.empty(16, dtype=torch.uint8))


@pytest.mark.parametrize("change", [forget_processes, add_generator])
def test_a_state_of_another_version_or_device_is_resumed(
    train: Train, kill: Any, change: Callable[[dict[str, Any]], None]
) -> None:
    settings = (*COMMON, *SETTINGS["dropout"], *QUIET, "trainer.save_every=0", "steps_per_execution=7")
    whole = train(*settings)
    kill(30)
    with pytest.raises(KilledError):
        train(*settings)
    kill()
    folder = whole.folder.with_name("1")
    state = torch.load(folder / "last.ckpt", weights_only=True)
    change(state[saving.KEY])
    torch.save(state, folder / "last.ckpt")
    assert same_state(whole, train(*settings, resume=folder))


def test_a_run_that_was_killed_before_its_first_state_begins_again(train: Train, kill: Any) -> None:
    whole = train(*COMMON)
    kill(8)
    with pytest.raises(KilledError):
        train(*COMMON, "steps_per_execution=7")
    kill()
    folder = whole.folder.with_name("1")
    assert not (folder / "last.ckpt").exists()
    train(*COMMON, resume=folder)
    assert compare(whole.folder, folder) == []


def test_a_run_goes_on_with_as_many_threads_as_it_had(train: Train, kill: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = (*COMMON, *QUIET, "trainer.save_every=0", "steps_per_execution=7", "data.batch_size=1024")
    monkeypatch.setattr(execution, "PER_THREAD", 1)
    monkeypatch.setattr(machine, "most_threads", lambda: 2)
    whole = train(*settings)
    kill(30)
    with pytest.raises(KilledError):
        train(*settings)
    kill()
    monkeypatch.setattr(machine, "most_threads", lambda: 1)
    again = train(*settings, resume=whole.folder.with_name("1"))
    assert torch.get_num_threads() == 2
    assert same_state(whole, again)


def test_steps_per_execution_and_logger_may_change_on_the_way(train: Train, kill: Any) -> None:
    settings = (*COMMON, "callbacks=none", "trainer.save_every=0")
    whole = train(*settings, "logger=none")
    kill(30)
    with pytest.raises(KilledError):
        train(*settings, "logger=none", "steps_per_execution=7")
    kill()
    again = train(*settings, "steps_per_execution=3", resume=whole.folder.with_name("1"))
    assert same_state(whole, again)
    assert again.metrics["best_dev_loss"] == whole.metrics["best_dev_loss"]
    assert max(again.points("loss/dev")) == 130


def test_ctrl_c_keeps_the_best_model_of_the_evaluations_that_belong_to_the_run(train: Train, kill: Any) -> None:
    kill(49, signal.SIGINT)  # which counts from the next call on
    run = train(*COMMON, "steps_per_execution=1", *QUIET)
    # The loss falls quickly at first, so the evaluation after Ctrl-C is the best; the one before it is kept as well.
    assert model_file.load(run.folder).step == 50
    assert model_file.load(run.folder / saving.BEFORE).step == 40
    kill()
    train(*COMMON, "steps_per_execution=1", *QUIET, resume=run.folder)
    assert not (run.folder / saving.BEFORE).exists()


def test_states_are_saved_at_evaluations_and_as_often_as_asked(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    save = saving.SaveState.save

    def count(self: saving.SaveState, trainer: L.Trainer, pl_module: Any) -> None:
        saved.append(pl_module.steps_taken)
        save(self, trainer, pl_module)

    monkeypatch.setattr(saving.SaveState, "save", count)
    train(*COMMON, "steps_per_execution=10", *QUIET)
    assert saved == [40, 80, 120, 130]
    saved.clear()
    train(*COMMON, "steps_per_execution=30", "trainer.save_every=0", *QUIET)
    assert saved == [30, 40, 70, 80, 110, 120, 130]


@pytest.mark.parametrize("harm", ["cut", "empty", "other", "no generators"])
def test_a_damaged_state_is_refused(train: Train, kill: Any, harm: str) -> None:
    kill(30)
    with pytest.raises(KilledError):
        train(*COMMON, "trainer.save_every=0", "steps_per_execution=7", *QUIET)
    kill()
    run = train("steps=1", *QUIET)
    folder = run.folder.with_name("0")
    state = folder / "last.ckpt"
    whole = state.read_bytes()
    state.write_bytes(whole[: len(whole) // 2] if harm == "cut" else b"")
    if harm == "other":
        torch.save({"state_dict": {}}, state)
    if harm == "no generators":
        torch.save({saving.KEY: {"steps_taken": 30, "dropouts": []}}, state)
    with refused(f"resume={folder}", "last.ckpt"):
        train(*COMMON, *QUIET, resume=folder)
    assert state.exists()


def test_a_run_does_not_continue_with_other_documents(train: Train, kill: Any, few_names: Path) -> None:
    settings = (*COMMON, "data=text", f"data.path={few_names}", "trainer.save_every=0", "steps_per_execution=7", *QUIET)
    kill(30)
    with pytest.raises(KilledError):
        train(*settings)
    kill()
    folder = few_names.parent / "0"
    before = few_names.read_text()
    for other in (before[::-1], before + "\nzed"):
        few_names.write_text(other)
        cache._read.clear()
        with refused(str(few_names)):
            train(*settings, resume=folder)
    few_names.write_text(before)
    cache._read.clear()
    assert train(*settings, resume=folder).metrics["steps"] == 130


def test_a_run_that_started_from_another_continues_without_it(train: Train, kill: Any) -> None:
    first = train("steps=5", "model.emb_dim=4", *QUIET)
    settings = (*COMMON, f"start_from={first.folder}", "trainer.save_every=0", "steps_per_execution=7", *QUIET)
    whole = train(*settings)
    kill(30)
    with pytest.raises(KilledError):
        train(*settings)
    kill()
    (first.folder / model_file.NAME).unlink()
    assert same_state(whole, train(*settings, resume=whole.folder.with_name("2")))


def test_a_write_that_fails_leaves_the_last_good_state(
    train: Train, kill: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "x.ckpt"
    writer = saving.AtomicCheckpointIO()
    writer.save_checkpoint({"a": 1}, path)
    before = path.read_bytes()
    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError):
        writer.save_checkpoint({"a": 2}, path)
    assert path.read_bytes() == before
    assert list(tmp_path.glob(".x*")) == []


@pytest.mark.parametrize(
    ("size", "left"),
    [(2500, set()), (100_000, set()), (700_000, {"best.safetensors"})],
    ids=["events", "model", "state"],
)
def test_a_full_disk_ends_a_run_with_a_sentence_and_leaves_whole_files(
    train: Train, tmp_path: Path, size: int, left: set[str]
) -> None:
    with refused(tmp_path / "0", "File too large"), limit_file_size(size):
        train(*COMMON, "model.hidden=2000", "optimizer=adamw", "eval_every=10")
    names = {path.name for path in (tmp_path / "0").iterdir()}
    assert names & {"best.safetensors", "last.ckpt", "metrics.json"} == left
    assert not [name for name in names if name.startswith(".")]
    if left:
        model_file.load(tmp_path / "0")


def test_a_folder_that_is_deleted_ends_a_run_with_a_sentence(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving.SaveState, "on_validation_end", lambda *_: shutil.rmtree(tmp_path / "0"))
    with refused(tmp_path / "0", "deleted"):
        train(*COMMON, *QUIET)
