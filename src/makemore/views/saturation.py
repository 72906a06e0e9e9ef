"""saturation.png: hidden units whose tanh is flat, so that no gradient passes them, before training and after.

After lecture 3. A unit that is saturated for every example is dead: it learns from none. Where the size of the
activations falls from layer to layer, the signal fades. BatchNorm normalizes as in a training step, by these examples.
"""

import logging
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from makemore.models.base import observing
from makemore.views import style
from makemore.views.show import View, log_histograms, log_scalars, show

log = logging.getLogger(__name__)

SATURATED = 0.97  # beyond it the slope of tanh, 1 - h^2, is below 0.06
EXAMPLES = 200  # enough that hardly a live unit is saturated for all of them, few enough to draw each as a row
DEAD = "dead: saturated for every example"

Activations = Mapping[str, Tensor]  # (examples, units) by the layer's name


class Saturation(View):
    """Looks at the tanh layers before training and at every evaluation: as charts; the first and last as a figure.

    Activations that are not finite are skipped, so of a diverged run the figure shows the last look before.
    """

    kept = ("_activations",)

    def __init__(self) -> None:
        self._activations: dict[int, Activations] = {}  # by steps taken

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        train = pl_module.data.train
        spread = torch.linspace(0, len(train) - 1, min(EXAMPLES, len(train)), dtype=torch.float64)
        self._contexts = train.gather(spread.long())[0]  # (examples, block_size)
        if not self._activations:
            self._look(trainer, pl_module)
        if not self._activations:
            log.info("saturation: nothing to show, because the model has no tanh layers, or they are not finite")

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if self._activations:
            self._look(trainer, pl_module)

    def _look(self, trainer: L.Trainer, pl_module: Any) -> None:
        with observing(pl_module.model), torch.no_grad():
            layers = pl_module.model.activations(self._contexts.to(pl_module.device))
        if not layers or not all(h.isfinite().all() for h in layers.values()):
            return
        layers = {name: h.flatten(1).cpu() for name, h in layers.items()}
        first = list(self._activations.items())[:1]
        self._activations = dict(first) | {pl_module.steps_taken: layers}
        for name, h in layers.items():
            group = "saturation" if len(layers) == 1 else f"saturation/{name}"
            flat = find_saturated(h)
            share, dead = float(flat.double().mean()), float(flat.all(0).sum())
            values = {f"{group}/share": share, f"{group}/dead_units": dead}
            log_scalars(trainer, values, pl_module.steps_taken)
            log_histograms(trainer, pl_module, group, {"activations": h})

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if not self._activations:
            return
        looks = {f"after {n:,} steps" if n else "before training": layers for n, layers in self._activations.items()}
        for when, layers in looks.items():
            for name, h in layers.items():
                log.info(f"saturation of {name} {when}: {summarize(h)}")
        show(trainer, pl_module, "saturation", draw(looks))


def find_saturated(h: Tensor) -> Tensor:
    """Where a unit is saturated. (examples, units) -> bool"""
    return h.abs() > SATURATED


def summarize(h: Tensor) -> str:
    """How much of a layer is saturated, and how large it is: the root mean square. (examples, units)"""
    flat, size = find_saturated(h), h.double().square().mean().sqrt()
    dead = f"{flat.all(0).sum():,} of {flat.shape[1]:,} units dead"
    return f"{100 * flat.double().mean():.0f} % saturated, {dead}, size {size:.2g}"


@style.styled
def draw(looks: Mapping[str, Activations]) -> Figure:
    """A column for each look; for each layer a picture of its units and examples, and a histogram of its units."""
    layers = len(next(iter(looks.values())))
    figure = Figure(figsize=(max(8, 6 * len(looks)), 8 if layers == 1 else 6 * layers), layout="constrained")
    figure.suptitle(f"white: saturated, |h| > {SATURATED}; size: root mean square of h")
    grid = figure.subplots(2 * layers, len(looks), squeeze=False, sharey="row", height_ratios=[3, 2] * layers)
    for column, (when, look) in enumerate(looks.items()):
        for row, (name, h) in enumerate(look.items()):
            where = when if layers == 1 else f"{name}, {when}"
            flat = find_saturated(h)
            draw_units(grid[2 * row, column], flat, f"{where}:\n{summarize(h)}")
            draw_histogram(grid[2 * row + 1, column], flat)
    for row in range(layers):
        grid[2 * row, 0].set_ylabel("example")
        grid[2 * row + 1, 0].set_ylabel("hidden units")
    for axes in grid[1::2].flat:
        if DEAD in axes.get_legend_handles_labels()[1]:
            style.add_legend(figure, axes)
            break
    return figure


def draw_units(axes: Axes, flat: Tensor, title: str) -> None:
    """A row for each example, a column for each unit, a mark above each dead unit. (examples, units) bool"""
    axes.imshow(flat.float().numpy(), cmap="gray", vmin=0, vmax=1, aspect="auto")
    dead = np.flatnonzero(flat.all(0))
    size, above = max(2.0, min(6.0, 600 / flat.shape[1])), axes.get_xaxis_transform()
    marks = axes.plot(dead, [1.015] * len(dead), "v", color=style.ORANGE, ms=size, transform=above, clip_on=False)
    marks[0].set_in_layout(False)
    axes.set_title(title, pad=12)
    axes.grid(False)
    axes.set_xlabel("hidden unit")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def draw_histogram(axes: Axes, flat: Tensor) -> None:
    """How many units are saturated for which share of the examples. (examples, units) bool"""
    shares, dead = flat.double().mean(0).numpy(), flat.all(0).numpy()  # (units,)
    groups = {"alive": (shares[~dead], style.LIGHT_BLUE), DEAD: (shares[dead], style.ORANGE)}
    names = [name for name, (units, _) in groups.items() if len(units)]
    axes.hist(
        [groups[name][0] for name in names],
        bins=list(np.linspace(0, 1, 21)),
        stacked=True,
        color=[groups[name][1] for name in names],
        label=names,
    )
    axes.set_xlabel("share of the examples that saturate a unit")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
