"""scales.png: the size of every parameter and of its gradient, over time and as histograms at the end.

After lecture 3. Gradients are those of the run's first minibatch, by autograd in eval mode, at every look.
"""

import logging
import math
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from makemore.data.minibatches import Batch
from makemore.models.base import LanguageModel, evaluating
from makemore.views import style
from makemore.views.observed import Run
from makemore.views.show import log_scalars, show

log = logging.getLogger(__name__)

# Looks in a run, and the most examples that gradients are taken of at each.
LOOKS, MOST_EXAMPLES = 200, 1024
# Histograms side by side.
COLUMNS = 5

Sizes = dict[str, list[float]]  # by parameter
Tensors = dict[str, Tensor]


class Scales(L.Callback):
    """Looks at the parameters and their gradients before, during and after training."""

    def __init__(self) -> None:
        self._steps: list[int] = []  # steps taken at each look
        self._weights: Sizes = {}
        self._gradients: Sizes = {}

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0 and any(each.requires_grad for each in pl_module.model.parameters()):
            # contexts (K, B, block_size) and targets (K, B)
            self._batch = Batch(*(part[0, :MOST_EXAMPLES].clone() for part in batch))
            self._every = max(1, pl_module.steps // LOOKS)
            self._look(trainer, pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *_: Any) -> None:
        if self._steps and pl_module.steps_taken >= self._steps[-1] + self._every:
            self._look(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if not self._steps:
            log.info("scales: nothing to show, because no optimizer step moves this model's parameters")
            return
        if pl_module.steps_taken > self._steps[-1]:
            self._look(trainer, pl_module)
        weights, gradients = compute_gradients(pl_module.model, self._batch)
        figure = draw(self._steps, self._weights, self._gradients, weights, gradients)
        show(trainer, pl_module, "scales", figure)

    def _look(self, trainer: L.Trainer, run: Run) -> None:
        self._steps.append(run.steps_taken)
        weights, gradients = compute_gradients(run.model, self._batch)
        for group, sizes, tensors in (
            ("weight_scale", self._weights, weights),
            ("gradient_scale", self._gradients, gradients),
        ):
            for name, tensor in tensors.items():
                sizes.setdefault(name, []).append(rms(tensor))
            log_scalars(trainer, group, {name: sizes[name][-1] for name in tensors}, run.steps_taken)


def compute_gradients(model: LanguageModel, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Each parameter that the loss depends on, and its gradient, by name. `.grad` and buffers are left alone."""
    parameters = {name: each for name, each in model.named_parameters() if each.requires_grad}
    with evaluating(model), torch.enable_grad():
        loss = F.cross_entropy(model(batch.contexts), batch.targets)
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    gradients = {name: each.cpu() for name, each in zip(parameters, found, strict=True) if each is not None}
    return {name: parameters[name].detach().cpu() for name in gradients}, gradients


def rms(values: Tensor) -> float:
    """The root mean square; not a number for all zeros, which a logarithmic axis cannot show."""
    size = float(values.double().square().mean().sqrt())
    return size if 0 < size < math.inf else math.nan


def draw(
    steps: Sequence[int], weight_sizes: Sizes, gradient_sizes: Sizes, weights: Tensors, gradients: Tensors
) -> Figure:
    """Above, sizes at each look, by steps taken; below, histograms of each parameter and its gradient at the end."""
    lines = math.ceil(len(weights) / COLUMNS)
    rows, columns = 2 * lines, math.ceil(len(weights) / lines)
    figure = Figure(figsize=(12, 4.5 + 2.25 * rows), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[4.5, 2.25 * rows])[:, 0]
    for axes, title, sizes in zip(
        above.subplots(1, 2), ("weights and biases", "their gradients"), (weight_sizes, gradient_sizes), strict=True
    ):
        for color, (name, values) in zip(style.color_parameters(sizes), sizes.items(), strict=True):
            axes.plot(steps, np.log10(values), style.choose_line(len(steps)), color=color, linewidth=1.2, label=name)
        axes.set_title(f"size of {title}")
        axes.set_ylabel("log10 of the root mean square")
        style.label_steps(axes)
    style.add_legend(figure, axes)
    grid = below.subplots(rows, columns, squeeze=False)
    for number, (color, name) in enumerate(zip(style.color_parameters(weights), weights, strict=True)):
        row, column = divmod(number, columns)
        for axes, kind, tensor in zip(
            grid[2 * row : 2 * row + 2, column], ("entries", "gradient"), (weights[name], gradients[name]), strict=True
        ):
            draw_histogram(axes, tensor, color)
            axes.set_title(f"{name}: {kind}", fontsize=10)
    for axes in grid[:, 0]:
        axes.set_ylabel("how many")
    for axes in grid[-2:, len(weights) - columns * (lines - 1) :].flat:
        axes.set_visible(False)
    return figure


def draw_histogram(axes: Axes, tensor: Tensor, color: str) -> None:
    """How often each value occurs among a tensor's finite entries."""
    entries = tensor[tensor.isfinite()].double().numpy()
    if len(entries) == 0:
        axes.text(0.5, 0.5, "not numbers", ha="center", transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])
        return
    # Fewer bars for fewer entries: forty of 27 biases would be a comb.
    axes.hist(entries, bins=min(40, max(5, round(2 * math.sqrt(len(entries))))), color=color)
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.grid(alpha=0.3)
