"""update_ratio.png: how far one optimizer step moves each parameter, against the parameter's own spread.

After lecture 3. About a thousandth is right: far below, training is slow; far above, it is rough.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as L
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from makemore.config.schema import TrainConfig
from makemore.errors import UserError
from makemore.views import style
from makemore.views.show import View, choose_parameters, log_scalars, show

log = logging.getLogger(__name__)

LOOKS = 200  # steps that are measured in a run


class UpdateRatio(View):
    """Compares the weights before and after steps that are taken anyway, so it is right for every optimizer.

    Biases that begin at zero have no ratio before the second step, and then a large one.
    """

    single_steps = True  # so that training/run.py takes one step in a call
    kept = ("_steps", "_ratios")

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._ratios: dict[str, list[float]] = {}

    def check(self, config: TrainConfig) -> None:
        if config.steps_per_execution not in (None, 1):
            given = f"steps_per_execution={config.steps_per_execution} takes several steps at once"
            raise UserError(f"{given}, and callbacks.update_ratio measures single ones: it must be 1")

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._every = max(1, pl_module.steps // LOOKS)
        parameters = pl_module.model.named_parameters()
        self._weights = {name: each for name, each in parameters if each.requires_grad and each.numel() > 1}
        self._before: dict[str, Tensor] = {}

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, *_: Any) -> None:
        if pl_module.steps_taken % self._every == 0:
            self._before = {name: weight.detach().clone() for name, weight in self._weights.items()}

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        if not outputs or not self._before:
            return
        self._steps.append(pl_module.steps_taken)
        latest = {name: log10_ratio(before, self._weights[name].detach()) for name, before in self._before.items()}
        for name, ratio in latest.items():
            self._ratios.setdefault(name, []).append(ratio)
        self._before = {}
        charts = {f"optimizer/update_ratio_log10/{name}": each for name, each in latest.items()}
        log_scalars(trainer, charts, pl_module.steps_taken)

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if self._steps:
            ratios = {name: self._ratios[name] for name in choose_parameters(self._weights)}
            show(trainer, pl_module, "update_ratio", draw(self._steps, ratios))
        else:
            log.info("update ratio: nothing to show, because no optimizer step moved this model's weights")


def log10_ratio(before: Tensor, after: Tensor) -> float:
    """log10 of std(update) / std(weights) for one step; not a number if either has no spread."""
    size = spread(before)
    ratio = spread(after - before) / size if size else math.nan
    return math.log10(ratio) if 0 < ratio < math.inf else math.nan


def spread(values: Tensor) -> float:
    """The standard deviation; exactly 0 for equal values, whose rounded mean may differ from them."""
    return float(values.std()) if values.min() < values.max() else 0.0


@style.styled
def draw(steps: Sequence[int], ratios: Mapping[str, Sequence[float]]) -> Figure:
    """A curve for each parameter: std(update) / std(weights), whose log10 are given, against the steps taken."""
    figure = Figure(figsize=(8, 5 + 0.12 * len(ratios)), layout="constrained")  # taller with its legend
    axes = figure.add_subplot()
    line = style.choose_line(len(steps))
    for color, (name, values) in zip(style.color_parameters(ratios), ratios.items(), strict=True):
        axes.plot(steps, 10.0 ** np.array(values), line, color=color, linewidth=0.9, label=name)
    axes.axhline(1e-3, color=style.TEXT, linestyle="--", linewidth=1.2, label="0.001: about right")
    style.set_logarithmic(axes, "y")
    axes.set(title="how far one step moves the weights, against their own size")
    axes.set_ylabel("std(update) / std(weights)")
    style.label_steps(axes)
    style.add_legend(figure, axes)
    return figure
