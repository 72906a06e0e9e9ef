"""What a person looks at while a model trains and afterwards: progress, figures, samples, TensorBoard, the results.

Each is independent of the others, and a run without any still trains. All of them count optimizer steps, never
Lightning's batches.

Their hooks take a `LanguageModule` where Lightning's take any module, hence `type: ignore[override]`.
"""

import json
import logging
import math
import signal
import struct
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from makemore.inference import sampling
from makemore.models import file as checkpoint
from makemore.randomness import Stream, generator
from makemore.training.models import Ngram
from makemore.training.module import DescendingModule, LanguageModule, mean_loss
from makemore.views import context_table, lr_range, plots

log = logging.getLogger(__name__)

# The tags under which TensorBoard's HParams tab finds a run's results.
RESULT_TAGS = {
    "best_dev_loss": "result/best_dev_loss",
    "dev_loss": "result/dev_loss",
    "train_loss": "result/train_loss",
}
# The number that stands for it in a summary of TensorBoard's.
RGBA = 4

# Tokens above which a map of all pairs is not drawn: a page of print could not be read.
MOST_CELLS = 64


def folder(trainer: L.Trainer) -> Path:
    """The run's own folder."""
    return Path(trainer.default_root_dir)


def writers(trainer: L.Trainer) -> list[SummaryWriter]:
    """The TensorBoard writers of the run: one, or none with `logger=none`."""
    return [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def show(trainer: L.Trainer, pl_module: LanguageModule, name: str, figure: Figure) -> None:
    """Writes a figure as PNG into the run's folder, and gives that to TensorBoard under the same name.

    `add_figure` would draw it once more, which takes as long as thousands of steps.
    """
    path = folder(trainer) / f"{name}.png"
    plots.save(figure, path)
    for writer in writers(trainer):
        png = path.read_bytes()
        width, height = struct.unpack(">II", png[16:24])  # they begin the first chunk
        image = Summary.Image(width=width, height=height, colorspace=RGBA, encoded_image_string=png)
        summary = Summary(value=[Summary.Value(tag=name, image=image)])
        # PyTorch's annotation says None, which this is only while the writer is closed.
        writer.file_writer.add_summary(summary, pl_module.steps_taken)  # type: ignore[attr-defined]


class Progress(L.Callback):
    """One progress line that counts optimizer steps, with the latest train and dev loss."""

    def on_train_start(self, trainer: L.Trainer, pl_module: LanguageModule) -> None:  # type: ignore[override]
        """Opens the line; where nobody watches a terminal, it is written ten seconds apart."""
        self._bar = tqdm(
            total=trainer.datamodule.steps,  # type: ignore[attr-defined]
            initial=pl_module.steps_taken,
            desc="training",
            unit=" steps",
            dynamic_ncols=True,
            mininterval=0.1 if sys.stderr.isatty() else 10,
        )
        self._shown: dict[str, str] = {}

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *_: Any) -> None:
        """Moves on by as many steps as the batch took."""
        self._shown["train"] = f"{outputs['losses'].mean():.4f}"
        self._bar.set_postfix(self._shown, refresh=False)
        self._bar.update(len(outputs["losses"]))

    def on_validation_end(self, trainer: L.Trainer, pl_module: LanguageModule) -> None:  # type: ignore[override]
        """Shows the new dev loss."""
        self._shown["dev"] = f"{pl_module.dev_losses[pl_module.steps_taken]:.4f}"
        self._bar.set_postfix(self._shown, refresh=False)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Closes the line."""
        self._bar.close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Closes the line, so that the error begins on one of its own."""
        if hasattr(self, "_bar"):
            self._bar.close()


class GracefulInterrupt(L.Callback):
    """The first Ctrl-C ends training early but whole: evaluation, checkpoints, figures. The second ends it at once.

    To be listed last, so that a Ctrl-C while the others draw and write does not stop them.
    """

    def __init__(self) -> None:
        self._previous: Any = None
        self._asked = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Takes over the signal; only a main thread can."""
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        self._give_back()

    def _give_back(self) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: LanguageModule, *_: Any) -> None:  # type: ignore[override]
        """Ends the run here, where Lightning has yet to decide whether to evaluate, unless it is ending anyway."""
        if self._asked and not trainer.should_stop:
            pl_module.stop("interrupted")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Gives the signal back."""
        self._give_back()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Gives the signal back."""
        self._give_back()


class BestCheckpoint(ModelCheckpoint):
    """`best.ckpt`: the lowest dev loss so far. One that is not a number is never the best, not even the first."""

    def check_monitor_top_k(self, trainer: L.Trainer, current: Any = None) -> bool:
        """Whether a dev loss is among the best."""
        return current is not None and bool(current.isfinite()) and super().check_monitor_top_k(trainer, current)


class TrainLoss(L.Callback):
    """Keeps every step's loss; logs means to TensorBoard's `loss/train`; draws `loss.png` at the end.

    Args:
        log_every: steps in one point of the `loss/train` chart; the last point is the mean of what is left.
        draw: whether to draw.
    """

    def __init__(self, log_every: int, draw: bool) -> None:
        self.log_every = log_every
        self.draw = draw
        self._losses: list[torch.Tensor] = []  # one tensor for each of Lightning's batches
        self._waiting: list[torch.Tensor] = []  # those of them that no point of the chart stands for yet

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: LanguageModule, outputs: Any, *_: Any) -> None:  # type: ignore[override]
        """Takes in the losses of the steps just done."""
        losses = outputs["losses"].cpu()  # (K,)
        self._losses.append(losses)
        self._waiting.append(losses)
        if sum(map(len, self._waiting)) >= self.log_every:
            self._log(trainer, pl_module.steps_taken)

    def _log(self, trainer: L.Trainer, steps_taken: int, rest: bool = False) -> None:
        """Logs a point for every `log_every` steps that wait, and one for the rest of them if that is asked for."""
        points = list(torch.cat(self._waiting).split(self.log_every))  # type: ignore[no-untyped-call]
        self._waiting = [] if rest or len(points[-1]) == self.log_every else [points.pop()]
        at = steps_taken - sum(map(len, self._waiting)) - sum(map(len, points))
        for point in points:
            at += len(point)
            for logger in trainer.loggers:
                logger.log_metrics({"loss/train": float(point.mean())}, step=at)

    def on_train_end(self, trainer: L.Trainer, pl_module: LanguageModule) -> None:  # type: ignore[override]
        """Draws the curve."""
        if self._waiting:
            self._log(trainer, pl_module.steps_taken, rest=True)
        if not self.draw:
            return
        show(trainer, pl_module, "loss", plots.loss_curve(torch.cat(self._losses), pl_module.dev_losses))


class LRRange(L.Callback):
    """Keeps each step's rate and loss; at the end draws `lr_range.png`, writes `lr_range.json`, says what was found."""

    def __init__(self) -> None:
        self._rates: list[float] = []
        self._losses: list[float] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: DescendingModule, outputs: Any, *_: Any) -> None:  # type: ignore[override]
        """Takes in the steps just done, each loss with the rate of its step, as the lecture pairs them."""
        losses = outputs["losses"].tolist()  # (K,), fewer where the run diverged
        self._losses += losses
        self._rates += pl_module.learning_rates[: len(losses)]

    def on_train_end(self, trainer: L.Trainer, pl_module: LanguageModule) -> None:  # type: ignore[override]
        """Reads the curve."""
        found = lr_range.examined(np.array(self._rates), np.array(self._losses))
        text = json.dumps(found.as_plain(), indent=2)
        (folder(trainer) / "lr_range.json").write_text(text + "\n", encoding="utf-8")
        show(trainer, pl_module, "lr_range", plots.lr_range(found))
        log.info(f"learning rate: {found.verdict}")


class EmbeddingPlot(L.Callback):
    """Draws `embedding.png`; gives TensorBoard the figure, and the projector the table with characters as labels."""

    def on_train_end(self, trainer: L.Trainer, pl_module: LanguageModule) -> None:  # type: ignore[override]
        """Draws the embedding table of a model that has one."""
        table = getattr(pl_module, "C", None)
        if table is None or not table.isfinite().all():
            return
        show(trainer, pl_module, "embedding", plots.embedding(table, pl_module.vocabulary))
        for writer in writers(trainer):
            labels = [pl_module.vocabulary.label(i) for i in range(len(pl_module.vocabulary))]
            writer.add_embedding(table.detach().cpu(), metadata=labels, global_step=pl_module.steps_taken, tag="C")


class HeatMap(L.Callback):
    """Draws `bigram.png` for a model that sees one token: what follows each.

    For a model of counts these are the counts themselves, for any other its probabilities.
    """

    def on_train_end(self, trainer: L.Trainer, pl_module: LanguageModule) -> None:  # type: ignore[override]
        """Draws the map, if the characters are few and plain enough to be read."""
        size = len(pl_module.vocabulary)
        if pl_module.settings["block_size"] != 1 or pl_module.status == "diverged":
            return
        labels = [plots.drawable(pl_module.vocabulary.label(i)) for i in range(size)]
        if size > MOST_CELLS or any(len(label) > 1 for label in labels):
            log.info(f"bigram.png is drawn for up to {MOST_CELLS} characters that its font has; here are {size} others")
            return
        if isinstance(pl_module, Ngram):
            train = trainer.datamodule.train  # type: ignore[attr-defined]
            pairs = torch.zeros(size**2, dtype=torch.int64)
            for batch in trainer.datamodule.evaluation(train):  # type: ignore[attr-defined]
                pairs += torch.bincount(batch.contexts[:, 0] * size + batch.targets, minlength=size**2)
            values = pairs.view(size, size)
            texts, title = [[str(count) for count in row] for row in values.tolist()], "how often each pair occurs"
        else:
            every = torch.arange(size, device=pl_module.device).unsqueeze(1)  # (vocabulary, 1)
            with torch.inference_mode():
                values = pl_module(every).softmax(1).cpu()  # (vocabulary, vocabulary)
            texts = [[f"{100 * p:.1f}" if p >= 5e-4 else "0" for p in row] for row in values.tolist()]
            title = "how likely each character follows, in percent"
        show(trainer, pl_module, "bigram", plots.heat_map(values, texts, pl_module.vocabulary, title))


class ContextTable(L.Callback):
    """Shows how the table of counts grows with the context: in the log, `context_table.json`, `context_table.png`."""

    def on_train_end(self, trainer: L.Trainer, pl_module: LanguageModule) -> None:  # type: ignore[override]
        """Counts for every length of context up to the run's block size."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        lengths = tqdm(
            context_table.rows(data.train, data.dev, len(pl_module.vocabulary)),
            total=data.data.block_size,
            desc="counting",
            unit=" lengths",
            leave=False,
        )
        table = list(lengths)
        log.info("\n" + context_table.as_text(table))
        rows = json.dumps([row._asdict() for row in table], indent=2)
        (folder(trainer) / "context_table.json").write_text(rows + "\n", encoding="utf-8")
        show(trainer, pl_module, "context_table", plots.context_table(table))


class Samples(L.Callback):
    """Writes `samples.txt` with names from the best checkpoint; shows names of every evaluation in TensorBoard.

    `python sample.py checkpoint=RUN seed=SEED` with the same seed prints the same names.

    Args:
        n: how many names.
        seed: where their chance begins.
    """

    def __init__(self, n: int, seed: int) -> None:
        self.n = n
        self.seed = seed

    def on_validation_end(self, trainer: L.Trainer, pl_module: LanguageModule) -> None:  # type: ignore[override]
        """Shows what the model makes of the same chance now."""
        if not writers(trainer) or math.isnan(pl_module.dev_losses[pl_module.steps_taken]):
            return
        text = "\n".join(f"    {name}" for name in self._names(pl_module.as_saved()))
        for writer in writers(trainer):
            writer.add_text("samples", text, global_step=pl_module.steps_taken)

    def on_train_end(self, trainer: L.Trainer, pl_module: LanguageModule) -> None:  # type: ignore[override]
        """Writes the names of the best checkpoint, unless the model diverged before there was one."""
        if all(map(math.isnan, pl_module.dev_losses.values())):
            return
        saved = checkpoint.load(folder(trainer))
        (folder(trainer) / "samples.txt").write_text(
            "".join(f"{name}\n" for name in self._names(saved)), encoding="utf-8"
        )

    def _names(self, model: checkpoint.SavedModel) -> list[str]:
        return [name for name, _ in sampling.names(model, self.n, generator(self.seed, Stream.sampling))]


class Results(L.Callback):
    """Measures the finished model and writes `metrics.json` and TensorBoard's hyper-parameters with the results.

    Args:
        timer: Lightning's, listed before every other callback, so that figures do not count as training.
        test: look at the test split too.

    Attributes:
        metrics: what `metrics.json` holds, after training.
    """

    def __init__(self, timer: L.callbacks.Timer, test: bool) -> None:
        self.timer = timer
        self.test = test
        self.metrics: dict[str, Any] = {}

    def setup(self, trainer: L.Trainer, pl_module: LanguageModule, stage: str) -> None:  # type: ignore[override]
        """Registers the run with the HParams tab, its results still unknown."""
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(pl_module.settings, dict.fromkeys(RESULT_TAGS.values(), math.nan))

    def on_train_end(self, trainer: L.Trainer, pl_module: LanguageModule) -> None:  # type: ignore[override]
        """Measures and writes; every loss is a mean over a whole split, of the last weights, in nats per token."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        seconds = self.timer.time_elapsed("train")
        finite = [loss for loss in pl_module.dev_losses.values() if math.isfinite(loss)]
        diverged = pl_module.status == "diverged"  # then the weights are whatever the last steps made of them
        metrics: dict[str, Any] = {
            "train_loss": math.nan if diverged else mean_loss(pl_module, data.evaluation(data.train)),
            "dev_loss": pl_module.dev_losses[pl_module.steps_taken],
            "best_dev_loss": min(finite, default=math.inf),
        }
        if self.test:
            metrics["test_loss"] = math.nan if diverged else mean_loss(pl_module, data.test_dataloader())
        results = {tag: metrics[name] for name, tag in RESULT_TAGS.items()}
        for logger in trainer.loggers:
            logger.log_metrics(results, step=pl_module.steps_taken)
        rows = data.data.batch_size or len(data.train)
        examples = pl_module.steps_taken * rows or len(data.train)
        self.metrics = metrics | {
            "steps": pl_module.steps_taken,
            "parameters": pl_module.size,
            "fit_seconds": round(seconds, 3),
            "examples_per_second": round(examples / seconds),
            "seed": pl_module.settings["seed"],
            "status": pl_module.status,
        }
        # JSON has no word for a loss that is not a number.
        plain = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in self.metrics.items()
        }
        text = json.dumps(plain, indent=2)
        (folder(trainer) / "metrics.json").write_text(text + "\n", encoding="utf-8")
