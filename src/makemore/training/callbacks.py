"""The callbacks of every run: the schedule, a progress line, charts of loss and speed, interruption, the results.

All count optimizer steps, never Lightning's batches; `pl_module` is a `LanguageModule`.
"""

import math
import signal
import sys
import threading
import time
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard.summary import hparams
from tqdm import tqdm

from makemore.config.schema import Level
from makemore.config.status import Status
from makemore.data.windows import Windows
from makemore.inference.evaluation import add_losses
from makemore.inference.units import bits_per_character, perplexity
from makemore.training import parallel
from makemore.training.schedule import Schedule
from makemore.views.show import View, log_scalars


class LearningRateSchedule(L.Callback):
    """Applies a schedule: hands the module the rates of the coming steps, and logs some."""

    def __init__(self, schedule: Schedule, log_every: int) -> None:
        self.schedule = schedule
        self.log_every = log_every

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        first = pl_module.steps_taken
        rates = [self.schedule(at) for at in range(first, first + len(batch.targets))]
        pl_module.learning_rates = rates
        for k in range(-first % self.log_every, len(rates), self.log_every):
            log_scalars(trainer, {"optimizer/learning_rate": rates[k]}, first + k)


class TrainLoss(View):
    """Logs the mean loss of the steps since the last point as `loss/train`."""

    kept = ("_waiting",)

    def __init__(self, log_every: int) -> None:
        self.log_every = log_every
        self._waiting = torch.empty(0)  # losses that no point stands for yet

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        self._waiting = torch.cat([self._waiting, outputs["losses"].cpu()])
        while len(self._waiting) >= self.log_every:
            self._log(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if len(self._waiting) > 0:
            self._log(trainer, pl_module)

    def _log(self, trainer: L.Trainer, pl_module: Any) -> None:
        point, self._waiting = self._waiting[: self.log_every], self._waiting[self.log_every :]
        log_scalars(trainer, {"loss/train": float(point.mean())}, pl_module.steps_taken - len(self._waiting))


class Throughput(L.Callback):
    """Logs the training examples a second between two evaluations, without the time of these."""

    def __init__(self) -> None:
        self._from: tuple[float, int] | None = None  # seconds, and steps taken, at the first batch after an evaluation

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if self._from is None:
            self._from = time.monotonic(), pl_module.steps_taken

    def on_validation_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        if self._from is None:
            return
        began, steps = self._from
        self._from = None
        examples = trainer.datamodule.count_examples(pl_module.steps_taken - steps)  # type: ignore[attr-defined]
        speed = {"optimizer/examples_per_s": examples / max(time.monotonic() - began, 1e-9)}
        log_scalars(trainer, speed, pl_module.steps_taken)


class Progress(L.Callback):
    """One progress line that counts optimizer steps, with the latest train and dev loss."""

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        interval = 0.1 if sys.stderr.isatty() else 10  # seconds
        counts = {"total": pl_module.steps, "initial": pl_module.steps_taken, "unit": " steps"}
        self._bar = tqdm(**counts, desc="training", dynamic_ncols=True, mininterval=interval)
        self._shown: dict[str, str] = {}

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        self._show("train", outputs["losses"].mean())
        self._bar.update(len(outputs["losses"]))

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._show("dev", pl_module.dev_losses[pl_module.steps_taken])

    def _show(self, name: str, loss: float) -> None:
        self._shown[name] = f"{loss:.4f}"
        self._bar.set_postfix(self._shown, refresh=False)

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._bar.close()

    def on_exception(self, trainer: L.Trainer, pl_module: Any, exception: BaseException) -> None:
        if hasattr(self, "_bar"):
            self._bar.close()  # so that the error begins on a line of its own


class Interruption(L.Callback):
    """Ctrl-C and SIGTERM stop a run early, but it still evaluates, saves and plots; a second one ends it at once."""

    def __init__(self) -> None:
        self._previous: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # no other thread can have handlers
        at_once: dict[signal.Signals, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}

        def interrupt(number: int, _: Any) -> None:
            pl_module.interrupted = number
            signal.signal(number, at_once[signal.Signals(number)])

        # In place of Lightning's own handler, which ends a run without results.
        self._previous = {each: signal.signal(each, interrupt) for each in at_once}

    def teardown(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:
        for each, handler in self._previous.items():
            signal.signal(each, handler)


def describe_charts(logger: TensorBoardLogger, settings: dict[str, Any]) -> None:
    """Gives TensorBoard the hyper-parameters, and a chart that shows train and dev loss together.

    `hparams` makes three summaries. The first would fix the columns of HParams for all runs. Without it, the tab lists
    the keys of all runs, those first that differ, and every chart's last value, and ticks five of each.
    """
    logger.hparams.update(settings)  # for hparams.yaml
    for summary in hparams(settings, {})[1:]:  # type: ignore[no-untyped-call]
        logger.experiment.file_writer.add_summary(summary)
    logger.experiment.add_custom_scalars({"loss": {"train and dev": ["Multiline", ["loss/train", "loss/dev"]]}})


class Results(L.Callback):
    """Gives the loggers a run's hyper-parameters, and measures the finished model, with `test` on the test split too.

    It is listed before every other callback, so that figures do not count as training.
    """

    def __init__(self, test: bool, resumed: bool) -> None:
        self.test = test
        self.resumed = resumed
        self.metrics: dict[str, Any] = {}
        self._before = 0.0  # seconds of training before the run was resumed

    def setup(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:
        for logger in trainer.loggers:
            if not isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(pl_module.settings)
            elif not self.resumed:
                describe_charts(logger, pl_module.settings)

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._started = time.monotonic() - self._before

    def state_dict(self) -> dict[str, float]:
        return {"seconds": time.monotonic() - self._started}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        self._before = state_dict["seconds"]

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Every loss is a mean over a whole split, of the last weights, in nats per token."""
        seconds = time.monotonic() - self._started
        data: Any = trainer.datamodule  # type: ignore[attr-defined]

        def measure(windows: Windows) -> float:
            if pl_module.status is Status.diverged:  # then the weights are whatever the last steps made of them
                return math.nan
            total, count = parallel.add_up(*add_losses(pl_module.model, data.evaluation(windows)))
            return total / count

        losses = {
            "train_loss": measure(data.dataset.train),
            "dev_loss": pl_module.dev_losses[pl_module.steps_taken],
            "best_dev_loss": min(filter(math.isfinite, pl_module.dev_losses.values()), default=math.inf),
        }
        if self.test:
            losses["test_loss"] = measure(data.dataset.test)
        log_scalars(trainer, {"loss/train_split": losses["train_loss"]}, pl_module.steps_taken)
        if pl_module.vocabulary.level is Level.word:
            characters = dict(zip(("train", "dev", "test"), data.dataset.characters, strict=True))
            for key, loss in list(losses.items()):
                name = key.removesuffix("_loss")
                split = name.removeprefix("best_")
                losses[f"{name}_perplexity"] = perplexity(loss)
                tokens = len(getattr(data.dataset, split))
                losses[f"{name}_bits_per_character"] = bits_per_character(loss, tokens, characters[split])
        examples = data.count_examples(pl_module.steps_taken)
        self.metrics = losses | {
            "steps": pl_module.steps_taken,
            "parameters": pl_module.model.size(),
            "fit_seconds": round(seconds, 3),
            "examples_per_second": round(examples / seconds),
            "seed": pl_module.settings["seed"],
            "status": str(pl_module.status),
        }
