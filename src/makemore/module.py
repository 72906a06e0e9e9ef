"""LightningModules: they hold the parameters, take the optimizer steps, and measure dev and test."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import lightning.pytorch as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from makemore import checkpoint, compiled, graphs, mlp
from makemore.datamodule import Batch
from makemore.errors import UserError
from makemore.randomness import Stream, generator
from makemore.schedule import LearningRateSchedule, Schedule
from makemore.schemas import Gradients, MLPConfig
from makemore.vocabulary import Vocabulary

# Logits that are evaluated together: 16 MiB of float32.
LOGITS_BUDGET = 2**22
# More rows than this together are slower: the hidden layer falls out of the processor's cache.
CACHED_ROWS = 2**9

OptimizerFactory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


class LanguageModule(L.LightningModule):
    """Everything about training that is the same for every model: contexts (B, block_size) -> logits (B, vocabulary).

    One Lightning batch carries K minibatches, and one `training_step` takes K optimizer steps (`steps_per_execution`).
    Lightning's own work for a batch costs more than this model's arithmetic for a step; this pays it once per K.

    A subclass gives `forward`, and may give `loss_and_gradients` and `take_steps` a faster form.

    Args:
        vocabulary: the model's tokens.
        optimizer: parameters -> optimizer.
        schedule: step -> learning rate.
        log_every: steps between two points of the chart of the learning rate.
        settings: the run's settings as flat plain values, kept in its checkpoints.

    Attributes:
        steps_taken: optimizer steps so far.
        dev_losses: dev loss after so many steps, in nats per token.
        learning_rates: the rates of the coming minibatches, set by `LearningRateSchedule`.
        status: `finished`, or why the run ended early: `diverged` or `interrupted`.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        optimizer: OptimizerFactory,
        schedule: Schedule,
        log_every: int,
        settings: dict[str, Any],
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.vocabulary = vocabulary
        self.settings = settings
        self.steps_taken = 0
        self.dev_losses: dict[int, float] = {}
        self.learning_rates: list[float] = []
        self.status = "finished"
        self._make_optimizer = optimizer
        self._schedule = LearningRateSchedule(schedule, log_every)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The configured optimizer over all parameters.

        Raises:
            UserError: its keys do not go together.
        """
        try:
            return self._make_optimizer(self.parameters())
        except (TypeError, ValueError) as error:
            raise UserError(f"the optimizer does not take these keys: {error}") from error

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
        self._count(len(losses))
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

    def _count(self, steps: int) -> None:
        """Keeps Lightning's `global_step` the number of optimizer steps: it sees only those of its own wrapper."""
        self.steps_taken += steps
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
        """Begins a new dev loss, summed in float64."""
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
        )

    def on_save_checkpoint(self, checkpoint_: dict[str, Any]) -> None:
        """Adds what is needed to use the model without Lightning, as plain values and tensors."""
        checkpoint_[checkpoint.KEY] = checkpoint.describe(
            vocabulary=self.vocabulary,
            settings=self.settings,
            step=self.steps_taken,
            known=self.trainer.datamodule.known,  # type: ignore[attr-defined]
        )


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


class MLP(LanguageModule):
    """The lecture's network: C, W1, b1, W2, b2 with the lecture's names and shapes.

    Args:
        config: the `model` part of the configuration.
        vocabulary: the model's tokens.
        block_size: ids in a context.
        seed: the run's seed, for initial weights and dropout.
        gradients: which form of them; not `auto`.
        **training: what `LanguageModule` takes.
    """

    def __init__(
        self,
        config: MLPConfig,
        vocabulary: Vocabulary,
        *,
        block_size: int,
        seed: int,
        gradients: Gradients,
        **training: Any,
    ) -> None:
        super().__init__(vocabulary, **training)
        weights = torch.Generator().manual_seed(seed)
        drawn = mlp.initial(len(vocabulary), block_size, config.emb_dim, config.hidden, config.init, weights)
        self.C, self.W1, self.b1, self.W2, self.b2 = map(nn.Parameter, mlp.hidden_innermost(drawn))
        self.dropout = config.dropout
        self.gradients = gradients
        self._seed = seed

    @property
    def p(self) -> mlp.Parameters:
        """The parameters, as the functions of `makemore.mlp` take them."""
        return mlp.Parameters(self.C, self.W1, self.b1, self.W2, self.b2)

    def on_fit_start(self) -> None:
        """Makes what the training steps use: gradients to write into, chance for dropout, the fast forms."""
        self._dropout = generator(self._seed, Stream.dropout, self.device)
        self._p = mlp.Parameters(*(parameter.detach() for parameter in self.p))
        self._gradients = mlp.Parameters(*(torch.zeros_like(parameter) for parameter in self._p))
        self._pairs = list(zip(self.p, self._gradients, strict=True))
        self._compiled = None
        if self.gradients is Gradients.compiled:
            self._compiled = compiled.Network(self._p, self._gradients)
        self._graph: graphs.Descent | None = None

    def forward(self, contexts: Tensor) -> Tensor:
        """Logits of the next token. (..., block_size) -> (..., vocabulary)"""
        return mlp.logits(self.p, contexts)

    def take_steps(self, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
        """The K steps in one call where that is possible: plain gradient descent without dropout."""
        if not is_plain_sgd(optimizer) or self.dropout > 0:
            return super().take_steps(optimizer, batch)
        if self._compiled is not None:
            return self._compiled.descend(batch.contexts, batch.targets, self.learning_rates)
        if self.gradients is Gradients.closed_form and self.device.type == "cuda":
            if self._graph is None:
                self._graph = graphs.Descent(self._p, self._gradients, batch.contexts)
            return self._graph.descend(batch.contexts, batch.targets, self.learning_rates)
        return super().take_steps(optimizer, batch)

    def loss_and_gradients(self, contexts: Tensor, targets: Tensor) -> Tensor | float:
        """The mean loss and its gradients, by `makemore.mlp`'s formulas or by autograd, as configured."""
        mask = None
        if self.dropout > 0:
            mask = mlp.dropout_mask(len(targets), self._p, self.dropout, self._dropout)  # (B, hidden)
        if self.gradients is Gradients.autograd:
            loss = mlp.loss(self.p, contexts, targets, mask)
            self.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach()
        for parameter, gradient in self._pairs:
            parameter.grad = gradient  # every time, because Lightning takes it away now and then
        if self._compiled is not None:
            return self._compiled.loss_and_gradients(contexts, targets, mask)
        with torch.inference_mode():
            return mlp.loss_and_gradients(self._p, contexts, targets, self._gradients, mask)


@torch.inference_mode()
def summed_loss(module: LanguageModule, batch: Batch) -> Tensor:
    """Cross-entropy of one batch, summed over its examples: a float64 tensor of no dimensions.

    Taken in pieces whose logits stay within `LOGITS_BUDGET`, and on a CPU within `CACHED_ROWS`.
    """
    rows = max(1, LOGITS_BUDGET // len(module.vocabulary))
    if module.device.type == "cpu":
        rows = min(CACHED_ROWS, rows)
    total = torch.zeros((), dtype=torch.float64, device=module.device)
    contexts, targets = (part.to(module.device) for part in batch)
    for first in range(0, len(targets), rows):
        piece = slice(first, first + rows)
        total += F.cross_entropy(module(contexts[piece]), targets[piece], reduction="sum")
    return total


def mean_loss(module: LanguageModule, batches: Iterable[Batch]) -> float:
    """Mean cross-entropy over all examples, in nats per token, summed in float64."""
    module.eval()
    total, count = 0.0, 0
    for batch in batches:
        total += summed_loss(module, batch).item()
        count += len(batch.targets)
    return total / count
