"""What every run has: the schedule, a progress line, the chart of the loss, the best checkpoint, the results.

All count optimizer steps, never Lightning's batches; `pl_module` is a `LanguageModule`.
"""

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from tqdm import tqdm

from makemore.config.status import Status
from makemore.data.windows import Windows
from makemore.inference.evaluation import mean_loss
from makemore.training.schedule import Schedule

# In TensorBoard's HParams tab, as `result/train_loss` and so on.
RESULTS = ("best_dev_loss", "dev_loss", "train_loss")


class LearningRateSchedule(L.Callback):
    """Applies a schedule: hands the module the rates of the coming steps, and logs some as `learning_rate`."""

    def __init__(self, schedule: Schedule, log_every: int) -> None:
        self.schedule = schedule
        self.log_every = log_every

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        first = pl_module.steps_taken
        rates = [self.schedule(at) for at in range(first, first + len(batch.targets))]
        pl_module.learning_rates = rates
        for k in range(-first % self.log_every, len(rates), self.log_every):
            for logger in trainer.loggers:
                logger.log_metrics({"learning_rate": rates[k]}, step=first + k)


class TrainLoss(L.Callback):
    """Logs the mean loss of the steps since the last point as `loss/train`."""

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
        for logger in trainer.loggers:
            logger.log_metrics({"loss/train": float(point.mean())}, step=pl_module.steps_taken - len(self._waiting))


class Progress(L.Callback):
    """One progress line that counts optimizer steps, with the latest train and dev loss."""

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        interval = 0.1 if sys.stderr.isatty() else 10  # seconds
        steps = pl_module.steps
        self._bar = tqdm(total=steps, desc="training", unit=" steps", dynamic_ncols=True, mininterval=interval)
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


class BestCheckpoint(ModelCheckpoint):
    """`best.ckpt`: the lowest dev loss so far. One that is not a number is never the best, not even the first."""

    def check_monitor_top_k(self, trainer: L.Trainer, current: Any = None) -> bool:
        return current is not None and bool(current.isfinite()) and super().check_monitor_top_k(trainer, current)


class Results(L.Callback):
    """Measures the finished model, with `test` on the test split too, and writes `metrics.json` from `metrics`.

    It is listed before every other callback, so that figures do not count as training.
    """

    def __init__(self, test: bool) -> None:
        self.test = test
        self.metrics: dict[str, Any] = {}

    def setup(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:
        """Logs the hyper-parameters; the HParams tab lists a run by its results, which are still unknown."""
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(pl_module.settings, {f"result/{name}": math.nan for name in RESULTS})
            else:
                logger.log_hyperparams(pl_module.settings)

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._started = time.monotonic()

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Measures and writes; every loss is a mean over a whole split, of the last weights, in nats per token."""
        seconds = time.monotonic() - self._started
        data: Any = trainer.datamodule  # type: ignore[attr-defined]

        def measure(windows: Windows) -> float:
            if pl_module.status is Status.diverged:  # then the weights are whatever the last steps made of them
                return math.nan
            return mean_loss(pl_module.model, data.evaluation(windows))

        losses = {
            "train_loss": measure(data.dataset.train),
            "dev_loss": pl_module.dev_losses[pl_module.steps_taken],
            "best_dev_loss": min(filter(math.isfinite, pl_module.dev_losses.values()), default=math.inf),
        }
        if self.test:
            losses["test_loss"] = measure(data.dataset.test)
        for logger in trainer.loggers:
            logger.log_metrics({f"result/{name}": losses[name] for name in RESULTS}, step=pl_module.steps_taken)
        rows = len(data.dataset.train)
        examples = pl_module.steps_taken * (data.config.batch_size or rows) or rows
        self.metrics = losses | {
            "steps": pl_module.steps_taken,
            "parameters": pl_module.model.size(),
            "fit_seconds": round(seconds, 3),
            "examples_per_second": round(examples / seconds),
            "seed": pl_module.settings["seed"],
            "status": str(pl_module.status),
        }
        # JSON cannot represent NaN.
        plain = self.metrics | {name: None for name, loss in losses.items() if not math.isfinite(loss)}
        text = json.dumps(plain, indent=2) + "\n"
        Path(trainer.default_root_dir, "metrics.json").write_text(text, encoding="utf-8")
