"""Why is a run bad? Three looks inside a network while it trains, after lecture 3: `experiment=diagnose`.

    saturation      hidden units whose tanh is flat, so that no gradient passes them
    update ratio    how far one step moves the weights, against the weights' own size
    scales          the size of every parameter and of its gradient

Each is a callback of its own with a figure of its own, and leaves the run as it is: what it computes, it computes
beside the training steps. Where a model has nothing of the kind, a line in the log says so.
"""

import logging
import math
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from makemore.data.datamodule import Batch
from makemore.data.windows import Windows
from makemore.models.mlp import formulas as mlp
from makemore.training.callbacks import show
from makemore.training.models import MLP
from makemore.training.module import LanguageModule
from makemore.views import plots

log = logging.getLogger(__name__)

# Beyond it the slope of tanh, 1 - h^2, is below 0.06.
SATURATED = 0.97
# Enough examples that hardly a live unit is saturated for all of them, few enough to draw each as a row.
EXAMPLES = 200
# The most examples that gradients are taken of at one look.
MOST_EXAMPLES = 1024
# Looks in a run.
LOOKS = 200


def probe(windows: Windows, rows: int) -> Batch:
    """The same examples every time, evenly spread over a split: contexts (B, block_size) and targets (B,)."""
    rows = min(rows, len(windows))
    return Batch(*windows.gather(torch.linspace(0, len(windows) - 1, rows, dtype=torch.float64).long()))


def saturated(h: Tensor) -> Tensor:
    """Where the activations of a tanh layer are flat. (B, hidden) -> (B, hidden) bool"""
    return h.abs() > SATURATED


def dead(flat: Tensor) -> Tensor:
    """Which units are saturated for every example, and so learn nothing from any. (B, hidden) -> (hidden,) bool"""
    return flat.all(dim=0)


def share(flat: Tensor) -> float:
    """The share of activations that are saturated."""
    return float(flat.double().mean())


def log10_update_ratio(before: Tensor, after: Tensor) -> float:
    """log10 of std(update) / std(weights) for one step; not a number where either has no spread."""
    ratio = float((after - before).std() / before.std())
    return math.log10(ratio) if 0 < ratio < math.inf else math.nan


def gradients(module: LanguageModule, batch: Batch) -> dict[str, Tensor]:
    """The gradient of the mean loss for each parameter that it depends on, by autograd; `.grad` is left alone."""
    parameters = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    if not parameters:
        return {}
    with torch.enable_grad():
        loss = F.cross_entropy(module(batch.contexts.to(module.device)), batch.targets.to(module.device))
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return {name: gradient for name, gradient in zip(parameters, found, strict=True) if gradient is not None}


def rms(values: Tensor) -> float:
    """The root of the mean square; not a number for all zeros, which a logarithmic axis cannot show."""
    size = float(values.detach().double().square().mean().sqrt())
    return size if 0 < size < math.inf else math.nan


def log_scalars(trainer: L.Trainer, group: str, values: Mapping[str, float], step: int) -> None:
    """Adds a point to TensorBoard's charts `group/name`, where there is a number."""
    finite = {f"{group}/{name}": value for name, value in values.items() if math.isfinite(value)}
    for logger in trainer.loggers:
        logger.log_metrics(finite, step=step)


class Saturation(L.Callback):
    """Which hidden units are saturated for which examples: `saturation.png` before and after, shares in TensorBoard.

    "After" is the last look at which the activations were numbers: of a run that diverged, the one before.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: LanguageModule) -> None:  # type: ignore[override]
        """Looks before the first step."""
        self._looks: dict[int, Tensor] = {}  # after so many steps: (B, hidden) bool
        if isinstance(pl_module, MLP):
            self._contexts = probe(trainer.datamodule.train, EXAMPLES).contexts  # type: ignore[attr-defined]
            self._look(trainer, pl_module)
        else:
            log.info("saturation: nothing to show, because this model has no hidden layer")

    def on_validation_end(self, trainer: L.Trainer, pl_module: LanguageModule) -> None:  # type: ignore[override]
        """Looks as often as at dev; at the end of training too."""
        if isinstance(pl_module, MLP):
            self._look(trainer, pl_module)

    @torch.inference_mode()
    def _look(self, trainer: L.Trainer, pl_module: MLP) -> None:
        h = mlp.hidden_layer(pl_module.p, self._contexts.to(pl_module.device))  # (B, hidden)
        if not h.isfinite().all():
            return
        flat = saturated(h).cpu()
        # The first and the last are drawn; those between are points of a chart.
        self._looks = dict(list(self._looks.items())[:1]) | {pl_module.steps_taken: flat}
        values = {"share": share(flat), "dead_units": float(dead(flat).sum())}
        log_scalars(trainer, "saturation", values, pl_module.steps_taken)

    def on_train_end(self, trainer: L.Trainer, pl_module: LanguageModule) -> None:  # type: ignore[override]
        """Draws."""
        if not self._looks:
            return
        looks = {when(steps): flat for steps, flat in self._looks.items()}
        told = [f"{name} {100 * share(flat):.0f} %, {int(dead(flat).sum()):,} dead" for name, flat in looks.items()]
        units = next(iter(looks.values())).shape[1]
        log.info(f"saturation of {units:,} hidden unit{'' if units == 1 else 's'}: {'; '.join(told)}")
        show(trainer, pl_module, "saturation", plots.saturation(looks, SATURATED))


def when(steps: int) -> str:
    """A number of optimizer steps as a time."""
    return "before training" if steps == 0 else f"after {steps:,} step{'' if steps == 1 else 's'}"


class UpdateRatio(L.Callback):
    """How far one optimizer step moves each parameter, against the spread of its entries: `update_ratio.png`.

    It compares the weights before and after a step that is taken anyway, so it is right for every optimizer, and needs
    batches that hold a single step (`steps_per_execution=1`). Biases that begin at zero have no ratio before the second
    step, and then a large one.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: LanguageModule) -> None:  # type: ignore[override]
        """Chooses the weights."""
        self._every = max(1, trainer.datamodule.steps // LOOKS)  # type: ignore[attr-defined]
        self._weights = {name: each for name, each in pl_module.named_parameters() if each.numel() > 1}
        self._before: dict[str, Tensor] = {}
        self._steps: list[int] = []
        self._ratios: dict[str, list[float]] = {name: [] for name in self._weights}
        if not self._weights:
            log.info("update ratio: nothing to show, because this model has no weights that steps could move")

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: LanguageModule, *_: Any) -> None:  # type: ignore[override]
        """Keeps the weights of before, where this step is one to measure."""
        if pl_module.steps_taken % self._every == 0:
            self._before = {name: weight.detach().clone() for name, weight in self._weights.items()}

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: LanguageModule, *_: Any) -> None:  # type: ignore[override]
        """Measures the step."""
        if not self._before:
            return
        measured = {name: log10_update_ratio(self._before[name], self._weights[name].detach()) for name in self._before}
        self._before = {}
        self._steps.append(pl_module.steps_taken)
        for name, ratio in measured.items():
            self._ratios[name].append(ratio)
        log_scalars(trainer, "update_ratio_log10", measured, pl_module.steps_taken)

    def on_train_end(self, trainer: L.Trainer, pl_module: LanguageModule) -> None:  # type: ignore[override]
        """Draws."""
        if self._weights and self._steps:
            show(trainer, pl_module, "update_ratio", plots.update_ratio(self._steps, self._ratios))


class Scales(L.Callback):
    """The size of every parameter and of its gradient, over time and as histograms at the end: `scales.png`.

    Gradients are those of one fixed minibatch, without dropout, of the run's own size but for very large ones.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: LanguageModule) -> None:  # type: ignore[override]
        """Looks before the first step."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        self._every = max(1, data.steps // LOOKS)
        self._batch = probe(data.train, min(data.data.batch_size or MOST_EXAMPLES, MOST_EXAMPLES))
        self._steps: list[int] = []
        self._weights: dict[str, list[float]] = {}
        self._gradients: dict[str, list[float]] = {}
        if gradients(pl_module, self._batch):
            self._look(trainer, pl_module)
        else:
            log.info("scales: nothing to show, because this model has no parameters with gradients")

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: LanguageModule, *_: Any) -> None:  # type: ignore[override]
        """Looks where enough steps have been taken since the last time."""
        if self._steps and pl_module.steps_taken >= self._steps[-1] + self._every:
            self._look(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: LanguageModule) -> None:  # type: ignore[override]
        """Looks once more and draws."""
        if not self._steps:
            return
        if pl_module.steps_taken > self._steps[-1]:
            self._look(trainer, pl_module)
        last = gradients(pl_module, self._batch)
        parameters: dict[str, nn.Parameter] = dict(pl_module.named_parameters())
        weights = {name: parameters[name].detach().cpu() for name in last}
        last = {name: gradient.cpu() for name, gradient in last.items()}
        figure = plots.scales(self._steps, self._weights, self._gradients, weights, last)
        show(trainer, pl_module, "scales", figure)

    def _look(self, trainer: L.Trainer, pl_module: LanguageModule) -> None:
        found = gradients(pl_module, self._batch)
        parameters = dict(pl_module.named_parameters())
        self._steps.append(pl_module.steps_taken)
        for group, into, values in (
            ("weight_scale", self._weights, {name: rms(parameters[name]) for name in found}),
            ("gradient_scale", self._gradients, {name: rms(found[name]) for name in found}),
        ):
            for name, value in values.items():
                into.setdefault(name, []).append(value)
            log_scalars(trainer, group, values, pl_module.steps_taken)
