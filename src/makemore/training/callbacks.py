"""What every run has: the schedule, a progress line, Ctrl-C, the best checkpoint, the charts of loss, the results.

All of them count optimizer steps, never Lightning's batches. Hooks take `pl_module: Any`: it is a `LanguageModule`.
"""

import json
import math
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, Timer
from lightning.pytorch.loggers import TensorBoardLogger
from tqdm import tqdm

from makemore.config.status import Status
from makemore.inference.evaluation import mean_loss
from makemore.training.schedule import Schedule

# The tags under which TensorBoard's HParams tab finds a run's results.
RESULT_TAGS = {
    "best_dev_loss": "result/best_dev_loss",
    "dev_loss": "result/dev_loss",
    "train_loss": "result/train_loss",
}


class LearningRateSchedule(L.Callback):
    """Asks the schedule for the coming steps' rates, hands them to the module, and logs them.

    Args:
        schedule: step -> learning rate.
        log_every: steps between two points on TensorBoard's `learning_rate` chart.
    """

    def __init__(self, schedule: Schedule, log_every: int) -> None:
        self.schedule = schedule
        self.log_every = log_every

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Sets `pl_module.learning_rates`, one rate for each of the batch's minibatches."""
        first: int = pl_module.steps_taken
        rates = [self.schedule(at) for at in range(first, first + len(batch.targets))]
        pl_module.learning_rates = rates
        for at in range(-first % self.log_every, len(rates), self.log_every):
            for logger in trainer.loggers:
                logger.log_metrics({"learning_rate": rates[at]}, step=first + at)


class TrainLoss(L.Callback):
    """Logs the mean loss of the steps since the last point as `loss/train`.

    Args:
        log_every: steps in one point; the last point is the mean of what is left.
    """

    def __init__(self, log_every: int) -> None:
        self.log_every = log_every
        self._waiting: list[torch.Tensor] = []  # losses that no point of the chart stands for yet

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        """Takes in the losses of the steps just done."""
        self._waiting.append(outputs["losses"].cpu())  # (K,)
        if sum(map(len, self._waiting)) >= self.log_every:
            self._log(trainer, pl_module.steps_taken)

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Logs what is left."""
        if self._waiting:
            self._log(trainer, pl_module.steps_taken, rest=True)

    def _log(self, trainer: L.Trainer, steps_taken: int, rest: bool = False) -> None:
        """Logs a point for every `log_every` steps that wait, and with `rest` one for the remainder."""
        points = list(torch.cat(self._waiting).split(self.log_every))  # type: ignore[no-untyped-call]
        self._waiting = [] if rest or len(points[-1]) == self.log_every else [points.pop()]
        at = steps_taken - sum(map(len, self._waiting)) - sum(map(len, points))
        for point in points:
            at += len(point)
            for logger in trainer.loggers:
                logger.log_metrics({"loss/train": float(point.mean())}, step=at)


class Progress(L.Callback):
    """One progress line that counts optimizer steps, with the latest train and dev loss."""

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Opens the line; without a terminal it is printed every ten seconds."""
        self._bar = tqdm(
            total=pl_module.steps,
            initial=pl_module.steps_taken,
            desc="training",
            unit=" steps",
            dynamic_ncols=True,
            mininterval=0.1 if sys.stderr.isatty() else 10,
        )
        self._shown: dict[str, str] = {}

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        """Advances by as many steps as the batch took."""
        self._shown["train"] = f"{outputs['losses'].mean():.4f}"
        self._bar.set_postfix(self._shown, refresh=False)
        self._bar.update(len(outputs["losses"]))

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Shows the new dev loss."""
        self._shown["dev"] = f"{pl_module.dev_losses[pl_module.steps_taken]:.4f}"
        self._bar.set_postfix(self._shown, refresh=False)

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Closes the line."""
        self._bar.close()

    def on_exception(self, trainer: L.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Closes the line, so that the error begins on one of its own."""
        if hasattr(self, "_bar"):
            self._bar.close()


class GracefulInterrupt(L.Callback):
    """The first Ctrl-C stops training early, but still evaluates, saves and plots. The second ends the run at once.

    It must be the last callback, so that a Ctrl-C while the others draw and write does not stop them.
    """

    def __init__(self) -> None:
        self._previous: Any = None
        self._asked = False

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Takes over the signal; only a main thread can."""
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        self._give_back()

    def _give_back(self) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *_: Any) -> None:
        """Ends the run here, before Lightning decides whether to evaluate, unless it is ending anyway."""
        if self._asked and not trainer.should_stop:
            pl_module.stop(Status.interrupted)

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Gives the signal back."""
        self._give_back()

    def on_exception(self, trainer: L.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Gives the signal back."""
        self._give_back()


class BestCheckpoint(ModelCheckpoint):
    """`best.ckpt`: the lowest dev loss so far. One that is not a number is never the best, not even the first."""

    def check_monitor_top_k(self, trainer: L.Trainer, current: Any = None) -> bool:
        """Whether a dev loss is among the best."""
        return current is not None and bool(current.isfinite()) and super().check_monitor_top_k(trainer, current)


class Results(L.Callback):
    """Measures the finished model, writes `metrics.json` and logs TensorBoard's hyper-parameters with the results.

    Args:
        timer: listed before every other callback, so that figures do not count as training.
        test: measure the test split too.

    Attributes:
        metrics: what `metrics.json` holds, after training.
    """

    def __init__(self, timer: Timer, test: bool) -> None:
        self.timer = timer
        self.test = test
        self.metrics: dict[str, Any] = {}

    def setup(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:
        """Registers the run with the HParams tab, its results still unknown."""
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(pl_module.settings, dict.fromkeys(RESULT_TAGS.values(), math.nan))
            else:
                logger.log_hyperparams(pl_module.settings)

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Measures and writes; every loss is a mean over a whole split, of the last weights, in nats per token."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        seconds = self.timer.time_elapsed("train")
        finite = [loss for loss in pl_module.dev_losses.values() if math.isfinite(loss)]
        diverged = pl_module.status is Status.diverged  # then the weights are whatever the last steps made of them
        train = data.dataset.train
        metrics: dict[str, Any] = {
            "train_loss": math.nan if diverged else mean_loss(pl_module.model, data.evaluation(train)),
            "dev_loss": pl_module.dev_losses[pl_module.steps_taken],
            "best_dev_loss": min(finite, default=math.inf),
        }
        if self.test:
            metrics["test_loss"] = math.nan if diverged else mean_loss(pl_module.model, data.test_dataloader())
        results = {tag: metrics[name] for name, tag in RESULT_TAGS.items()}
        for logger in trainer.loggers:
            logger.log_metrics(results, step=pl_module.steps_taken)
        examples = pl_module.steps_taken * (data.data.batch_size or len(train)) or len(train)
        self.metrics = metrics | {
            "steps": pl_module.steps_taken,
            "parameters": pl_module.model.size(),
            "fit_seconds": round(seconds, 3),
            "examples_per_second": round(examples / seconds),
            "seed": pl_module.settings["seed"],
            "status": str(pl_module.status),
        }
        # JSON has no word for a loss that is not a number.
        plain = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in self.metrics.items()
        }
        text = json.dumps(plain, indent=2)
        (Path(trainer.default_root_dir) / "metrics.json").write_text(text + "\n", encoding="utf-8")
