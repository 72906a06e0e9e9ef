"""loss.png: the loss against the optimizer step, of every minibatch and of dev."""

import math
from collections.abc import Mapping
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
        self._losses = [torch.cat(self._losses)] if self._losses else []
        return super().state_dict()

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if self._losses:
            figure = draw(torch.cat(self._losses), pl_module.dev_losses, pl_module.vocabulary.level)
            show(trainer, pl_module, "loss", figure)


def draw(losses: Tensor, dev_losses: Mapping[int, float], level: Level = Level.char) -> Figure:
    """log10 of the loss against the step. Losses are nats per token: (steps,) of minibatches; of dev by steps taken."""
    values = losses.double().log10().numpy()  # (steps,)
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    steps, width = np.arange(1, len(values) + 1), 0.4 if len(values) > 2000 else 1.2
    axes.plot(steps, values, color=style.LIGHT_BLUE, linewidth=width, label="minibatch", rasterized=True)
    # The lecture averages 1,000 steps of its 200,000; shorter runs in proportion.
    size = min(1000, len(values) // 50)
    if size > 1:
        axes.plot(*average(values, size), color=style.BLUE, linewidth=1.5, label=f"mean of {size:,} steps")
    dev = {at: loss for at, loss in dev_losses.items() if math.isfinite(loss) and loss > 0}
    if dev:
        axes.plot(list(dev), np.log10(list(dev.values())), "o-", color=style.ORANGE, ms=4, linewidth=0.8, label="dev")
        axes.set_title(f"loss by step; dev {dev[max(dev)]:.4f} nats per {level} at the end")
    axes.set_ylabel(f"log10 loss (nats per {level})")
    style.label_steps(axes)
    for handle in axes.legend(loc="upper right").get_lines():
        handle.set_linewidth(2)
    return figure


def average(values: Values, size: int) -> tuple[Values, Values]:
    """Means of `size` neighbours, of the rest at the end: (N,) -> the middles, counted from 1, and the means."""
    starts = np.arange(0, len(values), size)
    sizes = np.diff(starts, append=len(values))
    return starts + (sizes + 1) / 2, np.add.reduceat(values, starts) / sizes
