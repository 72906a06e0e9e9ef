"""scales.png: the size of every parameter and of its gradient, over time and as histograms at the end.

Of networks with many parameters, the matrices alone. TensorBoard has histograms from every evaluation. After lecture 3.
Gradients are those of the run's first minibatch, by autograd, at every look: without dropout, and with BatchNorm's
statistics of that minibatch.
"""

import logging
import math
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as L
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from makemore.data.minibatches import Batch
from makemore.models.base import LanguageModel, observing
from makemore.views import style
from makemore.views.show import View, choose_parameters, log_histograms, log_scalars, show

log = logging.getLogger(__name__)

LOOKS = 200  # in a run
MOST_EXAMPLES = 1024  # that gradients are taken of
COLUMNS = 5  # histograms side by side
TITLE = 285  # letters times their size, in points, that fit above a histogram

# By parameter.
Sizes = dict[str, list[float]]
Tensors = dict[str, Tensor]


class Scales(View):
    kept = ("_steps", "_sizes", "_batch")

    def __init__(self) -> None:
        self._steps: list[int] = []  # steps taken at each look
        self._sizes: tuple[Sizes, Sizes] = {}, {}  # of the parameters and of their gradients

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if pl_module.steps_taken == 0 and any(each.requires_grad for each in pl_module.model.parameters()):
            # contexts (K, B, block_size) and targets (K, B), or both (K, B, T)
            self._batch = tuple(part[0, :MOST_EXAMPLES].clone() for part in batch)
            self._look(trainer, pl_module)
            self._log_histograms(trainer, pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *_: Any) -> None:
        if self._steps and pl_module.steps_taken >= self._steps[-1] + max(1, pl_module.steps // LOOKS):
            self._look(trainer, pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if self._steps:
            self._log_histograms(trainer, pl_module)

    def _log_histograms(self, trainer: L.Trainer, pl_module: Any) -> None:
        found = compute_gradients(pl_module.model, Batch(*self._batch))
        for group, tensors in zip(("weights", "optimizer/gradient"), found, strict=True):
            log_histograms(trainer, pl_module, group, tensors)

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if not self._steps:
            log.info("scales: nothing to show, because no optimizer step moves this model's parameters")
            return
        if pl_module.steps_taken > self._steps[-1]:
            self._look(trainer, pl_module)
        tensors = compute_gradients(pl_module.model, Batch(*self._batch))
        show(trainer, pl_module, "scales", draw(self._steps, *self._sizes, *tensors))

    def _look(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._steps.append(pl_module.steps_taken)
        found = compute_gradients(pl_module.model, Batch(*self._batch))
        groups = ("weights/scale", "optimizer/gradient_scale")
        for group, sizes, tensors in zip(groups, self._sizes, found, strict=True):
            latest = {name: rms(tensor) for name, tensor in tensors.items()}
            for name, size in latest.items():
                sizes.setdefault(name, []).append(size)
            log_scalars(trainer, {f"{group}/{name}": size for name, size in latest.items()}, pl_module.steps_taken)


def compute_gradients(model: LanguageModel, batch: Batch) -> tuple[Tensors, Tensors]:
    """Each parameter that the loss depends on, and its gradient, by name. `.grad` and buffers are left alone."""
    parameters = {name: each for name, each in model.named_parameters() if each.requires_grad}
    # cuDNN has no gradients of recurrent layers in eval mode.
    with observing(model), torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        loss = F.cross_entropy(*model.score(*batch))
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    gradients = {name: each.cpu() for name, each in zip(parameters, found, strict=True) if each is not None}
    return {name: parameters[name].detach().cpu() for name in gradients}, gradients


def rms(values: Tensor) -> float:
    """The root mean square; not a number for all zeros, which a logarithmic axis cannot show."""
    size = float(values.double().square().mean().sqrt())
    return size if 0 < size < math.inf else math.nan


@style.styled
def draw(
    steps: Sequence[int], weight_sizes: Sizes, gradient_sizes: Sizes, weights: Tensors, gradients: Tensors
) -> Figure:
    """Above, sizes at each look, by steps taken; below, histograms of each parameter and its gradient at the end."""
    names = choose_parameters(weights)
    colors = dict(zip(names, style.color_parameters(names), strict=True))
    lines = math.ceil(len(names) / COLUMNS)
    rows, columns = 2 * lines, math.ceil(len(names) / lines)
    figure = Figure(figsize=(12, 4.5 + 2.25 * rows), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[4.5, 2.25 * rows])[:, 0]
    left, right = above.subplots(1, 2)
    kind = "weights and biases" if len(names) == len(weights) else "the matrices"
    for axes, title, sizes in ((left, kind, weight_sizes), (right, "their gradients", gradient_sizes)):
        for name in names:
            axes.plot(steps, sizes[name], style.choose_line(len(steps)), color=colors[name], linewidth=1.2, label=name)
        axes.set(title=f"size of {title}", ylabel="root mean square")
        style.set_logarithmic(axes, "y")
        style.label_steps(axes)
    style.add_legend(figure, right)
    grid = below.subplots(rows, columns, squeeze=False)
    for number, name in enumerate(names):
        row, column = divmod(number, columns)
        draw_histogram(grid[2 * row, column], weights[name], colors[name], f"{name}: entries")
        draw_histogram(grid[2 * row + 1, column], gradients[name], colors[name], f"{name}: gradient")
    for axes in grid[:, 0]:
        axes.set_ylabel("how many")
    for axes in grid[-2:, len(names) - columns * (lines - 1) :].flat:
        axes.set_visible(False)
    return figure


def draw_histogram(axes: Axes, tensor: Tensor, color: str, title: str) -> None:
    """How often each value occurs among a tensor's finite entries."""
    axes.set_title(title, fontsize=min(11, TITLE / len(title)))
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
