"""What a run saves as it goes: its best model, and the state from which `resume=RUN` continues bit for bit.

The state is Lightning's checkpoint with weights, optimizer and the state of every callback, and of ours: how many steps
were taken, the random numbers that follow, and how long TensorBoard's files were. Lightning's own progress is left out,
because within an epoch it is not exact (https://github.com/Lightning-AI/pytorch-lightning/issues/18780).
"""

import io
import os
import pickle
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from makemore import files
from makemore.config.status import Status
from makemore.data.dataset import Dataset
from makemore.errors import UserError
from makemore.files import EVENTS, STATE
from makemore.models import model_file
from makemore.training import parallel

KEY = "makemore"
# The best model from before an evaluation that only Ctrl-C caused: a resumed run does not have that evaluation.
BEFORE = "before-interruption.safetensors"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its target and renames it; Lightning would write it into a temporary folder first."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        raw = io.BytesIO()  # because PyTorch's errors do not tell why a file cannot be written
        torch.save(checkpoint, raw)
        with files.replace(Path(path)) as beside:
            beside.write_bytes(raw.getbuffer())


# Lightning calls `Checkpoint`s after all other callbacks, and without any it would add its own ModelCheckpoint.
class SaveBest(Checkpoint):
    """Writes the model with the lowest dev loss so far; the first in any case, unless the run has diverged."""

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        path = Path(trainer.default_root_dir, model_file.NAME)
        *earlier, loss = pl_module.dev_losses.values()
        if pl_module.status is Status.diverged or (not loss < min(earlier, default=float("inf")) and path.exists()):
            return
        if path.exists() and not pl_module.is_at_evaluation():
            path.replace(path.with_name(BEFORE))
        model_file.save(pl_module.export(), path)


class SaveState(Checkpoint):
    """Writes the state at every evaluation, between two of them every so many seconds, and on Ctrl-C."""

    def __init__(self, every: float) -> None:
        self.every = every
        self.seconds = 0.0  # of training, spent on it

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._last = time.monotonic()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *_: Any) -> None:
        # At an evaluation its loss belongs to the state, but not the loss that is measured only because of Ctrl-C.
        due = pl_module.status is Status.interrupted or time.monotonic() - self._last >= self.every
        if parallel.agree(due) and not pl_module.is_at_evaluation():
            self.save(trainer, pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        # At the end the earlier state stays until the run has left everything else.
        if pl_module.is_at_evaluation() and pl_module.steps_taken < pl_module.steps:
            self.save(trainer, pl_module)

    def state_dict(self) -> dict[str, float]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        self.seconds = state_dict["seconds"]

    def save(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Writes the state, unless the run has diverged: then the last good one stays."""
        began = time.monotonic()
        if pl_module.status is not Status.diverged and not pl_module.model.config.fitted:
            for logger in list_tensorboards(trainer.loggers):
                logger.experiment.flush()
            trainer.save_checkpoint(Path(trainer.default_root_dir, STATE))
        self._last = time.monotonic()
        self.seconds += self._last - began

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        events = [path for logger in list_tensorboards(trainer.loggers) for path in list_events(logger)]
        checkpoint[KEY] = {"events": {path.name: path.stat().st_size for path in events}}


def list_tensorboards(loggers: Sequence[Logger]) -> list[TensorBoardLogger]:
    return [logger for logger in loggers if isinstance(logger, TensorBoardLogger)]


def list_events(logger: TensorBoardLogger) -> list[Path]:
    """TensorBoard's files of a run."""
    return sorted(Path(logger.log_dir).glob(EVENTS))


def read_state(folder: Path) -> dict[str, Any] | None:
    """The state that a run left in its folder, or None: then it was ended before it saved one.

    Raises:
        UserError: it cannot be read.
    """
    path = folder / STATE
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not (state[KEY]["steps_taken"] >= 0 and dropouts_of(state)):
            raise ValueError("parts of the wrong kind")
        return state
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"resume={folder}: its {STATE} is damaged, or of another version; delete it to begin the run again"
        ) from error


def dropouts_of(state: dict[str, Any]) -> list[list[Tensor]]:
    """The states of the random generator of each process; a state from before there were several has one."""
    kept = state[KEY]
    dropouts: list[list[Tensor]] = kept["dropouts"] if "dropouts" in kept else [kept["dropout"]]
    return dropouts


def check_documents(state: dict[str, Any], data: Dataset) -> None:
    """Raises UserError unless a run continues with the documents that it began with."""
    if not torch.equal(state[KEY]["known"], data.known) or state[KEY]["held_out"] != data.held_out:
        raise UserError(
            f"{data.path} no longer holds the documents that this run began with; bring them back, or begin a new run "
            "with start_from=RUN"
        )


def check_processes(state: dict[str, Any], processes: int) -> None:
    """Raises UserError unless a run continues in as many processes: each has random numbers of its own."""
    if (began := len(dropouts_of(state))) != processes:
        before = f"this run began with trainer.processes={began}"
        raise UserError(f"trainer.processes={processes} cannot continue it: {before}; leave the key out")


def go_back(folder: Path, loggers: Sequence[Logger], state: dict[str, Any] | None) -> None:
    """Takes back what a run left after its last state, so that the resumed run leaves each thing once."""
    sizes: dict[str, int] = {} if state is None else state[KEY]["events"]
    for logger in list_tensorboards(loggers):
        for path in list_events(logger):
            if path.name in sizes:
                os.truncate(path, min(sizes[path.name], path.stat().st_size))
            else:
                path.unlink()
        # TensorBoard reads its files by name: the second, then, among others, a counter whose 10 comes before its 9.
        # So no two of them may begin in the same second.
        while any(f".{int(time.time())}." in path.name for path in list_events(logger)):
            time.sleep(0.05)
    if (folder / BEFORE).exists():
        (folder / BEFORE).replace(folder / model_file.NAME)
    if state is None:
        (folder / model_file.NAME).unlink(missing_ok=True)
