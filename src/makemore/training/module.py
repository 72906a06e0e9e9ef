"""The one LightningModule: trains, evaluates and saves any `LanguageModel`."""

import math
from typing import Any

import lightning.pytorch as L
import torch
from omegaconf import OmegaConf
from torch import Tensor

from makemore.config.schema import Level, TrainConfig
from makemore.config.status import Status
from makemore.data.dataset import Dataset
from makemore.data.minibatches import Batch
from makemore.inference.evaluation import sum_batch
from makemore.inference.units import bits_per_character, perplexity
from makemore.models.base import LanguageModel
from makemore.models.model_file import TrainedModel
from makemore.randomness import GlobalGenerator, Use, derive_seed
from makemore.training import parallel
from makemore.training.distillation import Teacher
from makemore.training.execution import evaluation_interval
from makemore.training.hyperparameters import describe_run
from makemore.training.saving import KEY, dropouts_of
from makemore.training.steps import OptimizerFactory, make_optimizer, take_steps
from makemore.views.show import log_scalars


class LanguageModule(L.LightningModule):
    """Trains a model step by step, or fits it at once; then `optimizer` is None.

    One Lightning batch carries K minibatches, and one `training_step` takes K optimizer steps (`steps_per_execution`).
    Lightning's own work for a batch costs more than a small model's arithmetic for a step; this pays it once per K.
    For a fitted model Lightning's loop runs over one dummy batch, so that its run writes the usual files.
    """

    def __init__(
        self, config: TrainConfig, model: LanguageModel, data: Dataset, optimizer: OptimizerFactory | None = None
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.data = data
        self.vocabulary = data.vocabulary
        self.block_size = model.block_size
        self.figures = config.figures  # their format
        self.settings = describe_run(config, model.block_size)  # the hyper-parameters, as flat plain values
        self.steps = 1 if config.model.fitted else config.steps  # in the whole run; a fitted model never takes its one
        self.steps_taken = 0  # stays 0 for a fitted model
        self.dev_losses: dict[int, float] = {}  # nats per token, by steps taken; nan after the run diverged
        self.learning_rates: list[float] = []  # of the current batch's steps, set by `LearningRateSchedule`
        self.status = Status.finished  # or why the run ended early
        self.interrupted = 0  # set it to a signal to end the run after the current batch
        self.eval_every = evaluation_interval(config)
        self._data_settings: Any = OmegaConf.to_container(OmegaConf.structured(config.data), enum_to_str=True)
        self._seed = config.seed
        self._clip = config.gradient_clip
        self._dropout_states: list[Tensor] | None = None  # where a resumed run continues
        self._make_optimizer = optimizer
        share = config.distillation
        self._teacher = Teacher(data.train, len(data.vocabulary), share) if share > 0 else None

    def export(self) -> TrainedModel:
        """The model as it stands, in the form that a loaded checkpoint has."""
        known, held_out = self.data.known, self.data.held_out
        return TrainedModel(
            self.model, self.vocabulary, self.settings, self._data_settings, self.steps_taken, known, held_out
        )

    def is_at_evaluation(self) -> bool:
        """Whether the run evaluates after the steps taken so far, also if nobody ends it early."""
        return self.steps_taken % self.eval_every == 0 or self.steps_taken == self.steps

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        del checkpoint["loops"]  # Lightning's progress: see `saving`, whose callback has put its part there before
        checkpoint[KEY] = checkpoint.get(KEY, {}) | {
            "steps_taken": self.steps_taken,
            "dev_losses": self.dev_losses,
            "dropouts": parallel.gather(self._generator.states),  # of each process
            # Sums over rows are rounded differently if more threads, or fewer, share them.
            "threads": torch.get_num_threads(),
            "known": self.data.known,
            "held_out": self.data.held_out,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.steps_taken = checkpoint[KEY]["steps_taken"]
        self.dev_losses = checkpoint[KEY]["dev_losses"]
        self._dropout_states = dropouts_of(checkpoint)[self.global_rank]

    def configure_optimizers(self) -> torch.optim.Optimizer | None:
        return None if self._make_optimizer is None else make_optimizer(self._make_optimizer, self.model)

    def on_fit_start(self) -> None:
        self._generator = GlobalGenerator(derive_seed(self._seed, Use.dropout) + self.global_rank, self.device)
        if self._dropout_states is not None:
            # Of a device that the run had not before, the generator begins anew.
            fresh, saved = self._generator.states, self._dropout_states
            self._generator.states = [*saved, *fresh[len(saved) :]][: len(fresh)]
            self._count_steps(self.steps_taken)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor] | None:
        """Takes one optimizer step for each of the K minibatches; or fits the model, and returns None.

        Returns `losses`: (K,) each minibatch's loss before its step, in nats per token. If a loss is not a number the
        run has diverged: the losses end with that one, the steps after it do not count.
        """
        if self.model.config.fitted:
            self.model.fit(self.data)
            self._count_steps(1)
            self.trainer.should_stop = True
            return None
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        with self._generator:
            losses = take_steps(self.model, optimizer, batch, self.learning_rates, self._teacher, self._clip)  # (K,)
        if not losses.isfinite().all():
            self.status = Status.diverged
            losses = losses[: int(losses.isfinite().int().argmin()) + 1]
        self.steps_taken += len(losses)
        self._count_steps(len(losses))
        if agreed := parallel.agree(self.interrupted):
            self.interrupted = agreed  # never set to 0: a signal that comes meanwhile counts at the next batch
        if self.status is Status.finished and agreed and self.steps_taken < self.steps:
            self.status = Status.interrupted
        if self.steps_taken == self.steps or self.status is not Status.finished:
            # Lightning evaluates before it stops; at the end of its data alone it would not.
            self.trainer.should_stop = True
        return {"losses": losses}

    def _count_steps(self, steps: int) -> None:
        """Moves Lightning's `global_step`, which counts only steps taken through its own optimizer wrapper."""
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        for tracker in (progress.total, progress.current):
            tracker.ready += steps
            tracker.completed += steps

    def on_validation_epoch_start(self) -> None:
        self._dev_sum, self._dev_count = 0.0, 0

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._dev_sum += sum_batch(self.model, batch).item()
        self._dev_count += batch.count_targets()

    def on_validation_epoch_end(self) -> None:
        """Publishes the mean loss over the whole dev split: to callbacks as `dev_loss`, to loggers as `loss/dev`.

        Loggers get the lowest one so far as well, because TensorBoard compares runs by the last value of each chart.
        """
        total, count = parallel.add_up(self._dev_sum, self._dev_count)
        dev_loss = math.nan if self.status is Status.diverged else total / count
        self.dev_losses[self.steps_taken] = dev_loss
        self.log("dev_loss", dev_loss, logger=False)
        best = min(filter(math.isfinite, self.dev_losses.values()), default=dev_loss)
        charts = {"loss/dev": dev_loss, "loss/best_dev": best}
        if self.vocabulary.level is Level.word:
            charts["loss/dev_perplexity"] = perplexity(dev_loss)
            characters = self.data.characters[1]
            charts["loss/dev_bits_per_character"] = bits_per_character(dev_loss, len(self.data.dev), characters)
        log_scalars(self.trainer, charts, self.steps_taken)
