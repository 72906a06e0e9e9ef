"""LightningModules: what is the same for all models that learn step by step, and for all that are fitted at once."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import lightning.pytorch as L
import torch
import torch.nn.functional as F
from torch import Tensor

from makemore.data.datamodule import Batch, WindowDataModule
from makemore.data.vocabulary import Vocabulary
from makemore.errors import UserError
from makemore.models import file as checkpoint
from makemore.training.schedule import LearningRateSchedule, Schedule

# Logits that are evaluated together: 16 MiB of float32.
LOGITS_BUDGET = 2**22
# More rows than this together are slower: the hidden layer falls out of the processor's cache.
CACHED_ROWS = 2**9

OptimizerFactory = Callable[[list[dict[str, Any]]], torch.optim.Optimizer]


class LanguageModule(L.LightningModule):
    """A model as it is measured and kept: contexts (B, block_size) -> logits (B, vocabulary).

    A subclass gives `forward`, and trains as `DescendingModule` or `FittedModule` does.

    Args:
        vocabulary: the model's tokens.
        settings: the run's settings as flat plain values, kept in its checkpoints.

    Attributes:
        steps_taken: optimizer steps so far.
        dev_losses: dev loss after so many steps, in nats per token.
        status: `finished`, or why the run ended early: `diverged` or `interrupted`.
    """

    def __init__(self, vocabulary: Vocabulary, settings: dict[str, Any]) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.vocabulary = vocabulary
        self.settings = settings
        self.steps_taken = 0
        self.dev_losses: dict[int, float] = {}
        self.status = "finished"

    @property
    def size(self) -> int:
        """How many free numbers the model has."""
        return sum(parameter.numel() for parameter in self.parameters())

    def _tick(self, steps: int) -> None:
        """Moves Lightning's `global_step`, which counts only steps taken through its own optimizer wrapper."""
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        for tracker in (progress.total, progress.current):
            tracker.ready += steps
            tracker.completed += steps

    def stop(self, status: str) -> None:
        """Ends the run after the current batch: Lightning evaluates and writes checkpoints once more."""
        self.status = status
        self.trainer.should_stop = True

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds one batch to the dev loss."""
        self._dev_sum += summed_loss(self, batch).item()
        self._dev_count += len(batch.targets)

    def on_validation_epoch_start(self) -> None:
        """Begins a new dev loss."""
        self._dev_sum = 0.0
        self._dev_count = 0

    def on_validation_epoch_end(self) -> None:
        """Publishes the mean loss over the whole dev split: to callbacks as `dev_loss`, to loggers as `loss/dev`."""
        dev_loss = math.nan if self.status == "diverged" else self._dev_sum / self._dev_count
        self.dev_losses[self.steps_taken] = dev_loss
        self.log("dev_loss", dev_loss, logger=False)
        for logger in self.loggers:
            logger.log_metrics({"loss/dev": dev_loss}, step=self.steps_taken)

    def as_saved(self) -> checkpoint.SavedModel:
        """The model as it stands, in the form that a loaded checkpoint has."""
        return checkpoint.SavedModel(
            logits=lambda contexts: self(contexts.to(self.device)).cpu(),
            vocabulary=self.vocabulary,
            block_size=self.settings["block_size"],
            settings=self.settings,
            step=self.steps_taken,
            known=self.trainer.datamodule.known,  # type: ignore[attr-defined]
            state=self.state_dict(),
            members=self.members_described(),
            size=self.size,
            held_out=self.trainer.datamodule.held_out,  # type: ignore[attr-defined]
        )

    def members_described(self) -> list[dict[str, Any]]:
        """Settings and members of each model that this one consists of: none, but for a mixture."""
        return []

    def on_save_checkpoint(self, checkpoint_: dict[str, Any]) -> None:
        """Adds what is needed to use the model without Lightning, as plain values and tensors."""
        checkpoint_[checkpoint.KEY] = checkpoint.describe(
            vocabulary=self.vocabulary,
            settings=self.settings,
            step=self.steps_taken,
            known=self.trainer.datamodule.known,  # type: ignore[attr-defined]
            members=self.members_described(),
            held_out=self.trainer.datamodule.held_out,  # type: ignore[attr-defined]
        )


class DescendingModule(LanguageModule):
    """A model that learns step by step, by any optimizer under any schedule.

    One Lightning batch carries K minibatches, and one `training_step` takes K optimizer steps (`steps_per_execution`).
    Lightning's own work for a batch costs more than this model's arithmetic for a step; this pays it once per K.

    A subclass may give `loss_and_gradients` and `take_steps` a faster form.

    Args:
        optimizer: parameters -> optimizer.
        schedule: step -> learning rate.
        log_every: steps between two points of the chart of the learning rate.
        **common: what `LanguageModule` takes.

    Attributes:
        learning_rates: the rates of the coming minibatches, set by `LearningRateSchedule`.
    """

    def __init__(self, *, optimizer: OptimizerFactory, schedule: Schedule, log_every: int, **common: Any) -> None:
        super().__init__(**common)
        self.learning_rates: list[float] = []
        self._make_optimizer = optimizer
        self._schedule = LearningRateSchedule(schedule, log_every)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The configured optimizer over all parameters; weight decay is for matrices, as is usual, not for biases.

        Raises:
            UserError: its keys do not go together.
        """
        try:
            return self._make_optimizer(self.parameter_groups())
        except (TypeError, ValueError) as error:
            raise UserError(f"the optimizer does not take these keys: {error}") from error

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The parameters as an optimizer takes them: matrices, and then vectors, which do not decay."""
        matrices = [parameter for parameter in self.parameters() if parameter.dim() > 1]
        vectors = [parameter for parameter in self.parameters() if parameter.dim() == 1]
        groups: list[dict[str, Any]] = [{"params": matrices}]
        return [*groups, {"params": vectors, "weight_decay": 0.0}] if vectors else groups

    def configure_callbacks(self) -> list[L.Callback]:
        """The schedule comes with the module: without it no step has a rate."""
        return [self._schedule]

    def loss_and_gradients(self, contexts: Tensor, targets: Tensor) -> Tensor | float:
        """The mean loss of one minibatch; leaves its gradients in the parameters' `.grad`.

        Args:
            contexts: (B, block_size) int64 ids.
            targets: (B,) int64 ids.
        """
        loss = F.cross_entropy(self(contexts), targets)
        self.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Takes one optimizer step for each of the K minibatches.

        Args:
            batch: contexts (K, B, block_size) and targets (K, B).
            batch_idx: not used.

        Returns:
            `losses`: (K,) each minibatch's loss before its step, in nats per token. If a loss is not a number the run
            has diverged: the losses end with that one, the steps after it do not count, and the run ends.
        """
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        losses = self.take_steps(optimizer, batch)  # (K,)
        diverged = (~losses.isfinite()).nonzero().flatten()
        if len(diverged) > 0:
            losses = losses[: int(diverged[0]) + 1]
        self.steps_taken += len(losses)
        self._tick(len(losses))
        if len(diverged) > 0:
            self.stop("diverged")
        elif self.steps_taken == self.trainer.datamodule.steps:  # type: ignore[attr-defined]
            # Lightning evaluates before it stops; at the end of its data alone it would not.
            self.trainer.should_stop = True
        return {"losses": losses}

    def take_steps(self, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
        """Takes the K steps at the rates in `learning_rates`, by any optimizer: the K losses before them."""
        update = descend if is_plain_sgd(optimizer) else optimizer_step
        losses = torch.empty(len(batch.targets), device=self.device)  # (K,)
        for k, (contexts, targets, rate) in enumerate(
            zip(batch.contexts.unbind(), batch.targets.unbind(), self.learning_rates, strict=True)
        ):
            losses[k] = self.loss_and_gradients(contexts, targets)
            update(optimizer, rate)
        return losses


def optimizer_step(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """One step of any optimizer at a learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()


def is_plain_sgd(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a step is no more than p <- p - rate * gradient, with nothing kept between steps."""
    return type(optimizer) is torch.optim.SGD and not any(
        group["momentum"] or group["weight_decay"] or group["maximize"] for group in optimizer.param_groups
    )


@torch.no_grad()
def descend(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """One step of plain SGD, to the bit what `optimizer.step()` does, without its 20 µs of bookkeeping."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.add_(parameter.grad, alpha=-rate)


class FittedModule(LanguageModule):
    """A model that is fitted to whole splits at once, in one call and without an optimizer.

    Lightning's loop runs all the same, over one batch that nobody looks at, so that a run leaves what every run leaves.
    """

    def fit_to(self, data: WindowDataModule) -> None:
        """Learns all there is to learn."""
        raise NotImplementedError

    def configure_optimizers(self) -> None:
        """There is none."""

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Fits the model, and ends the run."""
        self.fit_to(self.trainer.datamodule)  # type: ignore[attr-defined]
        self._tick(1)  # without a step Lightning would keep no checkpoint
        self.trainer.should_stop = True


def rows_at_once(vocabulary: int, device: torch.device) -> int:
    """How many examples to evaluate together: their logits fit in `LOGITS_BUDGET`, and on a CPU into its cache."""
    affordable = max(1, LOGITS_BUDGET // vocabulary)
    return min(CACHED_ROWS, affordable) if device.type == "cpu" else affordable


@torch.inference_mode()
def summed_loss(module: LanguageModule, batch: Batch) -> Tensor:
    """Cross-entropy of one batch, summed over its examples: a float64 tensor of no dimensions.

    Taken in pieces, so that their logits stay within a fixed budget.
    """
    rows = rows_at_once(len(module.vocabulary), module.device)
    total = torch.zeros((), dtype=torch.float64, device=module.device)
    contexts, targets = (part.to(module.device) for part in batch)
    for first in range(0, len(targets), rows):
        piece = slice(first, first + rows)
        total += F.cross_entropy(module(contexts[piece]), targets[piece], reduction="sum")
    return total


def mean_loss(module: LanguageModule, batches: Iterable[Batch]) -> float:
    """Mean cross-entropy over all examples, in nats per token; the sums of pieces are added in float64."""
    module.eval()
    total, count = 0.0, 0
    for batch in batches:
        total += summed_loss(module, batch).item()
        count += len(batch.targets)
    return total / count
