"""loss.png: the loss against the optimizer step, of every minibatch and of dev."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from makemore.config.schema import Level
from makemore.views import style
from makemore.views.show import View, show
from makemore.views.style import Values


class Loss(View):
    """Keeps the loss of every step, and draws the curve at the end."""

    kept = ("_losses",)

    def __init__(self) -> None:
        self._losses: list[Tensor] = []  # (K,) for each of Lightning's batches

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        if outputs:
            self._losses.append(outputs["losses"].cpu())

    def state_dict(self) -> dict[str, Any]:
        self._losses = [torch.cat(self._losses)] if self._losses else []  # one tensor, not one for each call
        return super().state_dict()

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if self._losses:
            figure = draw(torch.cat(self._losses), pl_module.dev_losses, pl_module.vocabulary.level)
            show(trainer, pl_module, "loss", figure)


@style.styled
def draw(losses: Tensor, dev_losses: Mapping[int, float], level: Level = Level.char) -> Figure:
    """The loss against the step. Losses are nats per token: (steps,) of minibatches; of dev by steps taken."""
    values = losses.double().numpy()  # (steps,)
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    style.set_logarithmic(axes, "y")
    # The lecture averages 1,000 steps of its 200,000; shorter runs in proportion.
    size = max(1, min(1000, len(values) // 50))
    middles, means = average(values, size)
    low, high = means, means
    if size == 1:
        axes.plot(middles, means, style.choose_line(len(means)), color=style.BLUE, linewidth=1, label="minibatch")
    else:
        pieces = np.split(values, range(size, len(values), size))
        low, high = np.array([np.percentile(piece, (10, 90)) for piece in pieces]).T
        axes.fill_between(middles, low, high, color=style.LIGHT_BLUE, alpha=0.45, lw=0, label="80 % of minibatches")
        axes.plot(middles, means, color=style.BLUE, linewidth=1.8, label=f"mean of {size:,} steps")
    dev = {at: loss for at, loss in dev_losses.items() if math.isfinite(loss) and loss > 0}
    title = "loss by step"
    if dev:
        line = "o-" if len(dev) > 2 else "o"
        axes.plot(list(dev), list(dev.values()), line, color=style.ORANGE, ms=5, linewidth=1, label="dev")
        title += f"; dev {dev[max(dev)]:.4f} nats per {level} at the end"
    bottom, top = limit(low, high, list(dev.values()))
    if np.isfinite(values[0]) and values[0] > top:
        title += f"\nat the first step {values[0]:.3g}, above this axis"
    axes.set(title=title, ylim=(bottom, top), ylabel=f"loss (nats per {level})")
    style.label_steps(axes)
    style.add_legend(figure, axes)
    return figure


def limit(low: Values, high: Values, dev: Sequence[float]) -> tuple[float, float]:
    """The ends of an axis for losses of minibatches, from `low` to `high`, and of dev, without the fall at the start.

    Beside that fall all the rest would look flat.
    """
    settled = min(len(high) - 1, max(1, len(high) // 50))
    shown = np.array([*low[settled:], *high[settled:], *dev])
    shown = shown[np.isfinite(shown) & (shown > 0)]
    if len(shown) == 0:
        return 0.1, 10
    bottom, top = float(shown.min()), float(shown.max())
    margin = max(1.02, (top / bottom) ** 0.06)
    return bottom / margin, top * margin


def average(values: Values, size: int) -> tuple[Values, Values]:
    """Means of `size` neighbours, of the rest at the end: (N,) -> the middles, counted from 1, and the means."""
    starts = np.arange(0, len(values), size)
    sizes = np.diff(starts, append=len(values))
    return starts + (sizes + 1) / 2, np.add.reduceat(values, starts) / sizes
