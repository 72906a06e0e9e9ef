"""lr_range.png: which learning rate to train with, from a run that takes one step at each of many growing rates.

The lecture's experiment (`experiment=lr_range`), the LR range test of Smith, "Cyclical Learning Rates for Training
Neural Networks", 2017: the loss against the exponent of the rate falls into a valley and climbs out of it.

The suggestion is the smallest rate whose average loss lies within two standard errors of the lowest: of all rates that
this test cannot tell from the best, the most careful one (the one-standard-error rule of Breiman et al. 1984, with
two). A whole run stays at its rate for much longer than the test did, and at the lowest point itself the rate is
becoming too large. There is no suggestion unless the loss falls, and then rises again, by more than chance.
"""

import json
import logging
import math
import textwrap
from typing import Any, NamedTuple

import lightning.pytorch as L
import numpy as np
from hydra.utils import instantiate
from matplotlib.figure import Figure

from makemore import files
from makemore.config.schema import Level, TrainConfig
from makemore.errors import UserError
from makemore.views import style
from makemore.views.show import View, folder, show
from makemore.views.style import Values

log = logging.getLogger(__name__)

# How far averages reach to each side, as a share of the run: evens out single minibatches, but no valley.
REACH = 1 / 25
# In standard errors: losses this close are equal, and a fall or rise up to this is chance (of two dozen independent
# points, the lowest and highest may well be two or three away from the mean).
EQUAL, CHANCE = 2, 4
# With fewer steps, averages mean nothing.
FEWEST_STEPS = 100


class LRRange(View):
    """Keeps each step's rate and loss; at the end draws, writes `lr_range.json` and logs the suggestion."""

    kept = ("_rates", "_losses")
    suggestion = ""  # the result of the run in place of its model, whose last rates are too large on purpose

    def __init__(self) -> None:
        self._rates: list[float] = []
        self._losses: list[float] = []

    def check(self, config: TrainConfig) -> None:
        if config.model.fitted:
            raise UserError(f"callbacks.lr_range is not for model={config.model.name}, which takes no optimizer steps")
        schedule = instantiate(config.schedule, steps=config.steps)
        first, middle, last = (schedule(step) for step in (0, config.steps // 2, config.steps - 1))
        if config.steps > 2 and not first < middle < last:
            raise UserError(
                f"callbacks.lr_range needs a learning rate that grows from step to step, not one from {first:g} to "
                f"{last:g}: schedule=exponential with schedule.end_lr above schedule.lr"
            )

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        losses = outputs["losses"].tolist()  # (K,), fewer if the run diverged
        self._losses += losses
        self._rates += pl_module.learning_rates[: len(losses)]

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        curve = analyze(np.array(self._rates), np.array(self._losses))
        text = json.dumps(curve._asdict(), indent=2, default=np.ndarray.tolist)
        files.write_text(folder(trainer) / "lr_range.json", text + "\n")
        show(trainer, pl_module, "lr_range", draw(curve, pl_module.vocabulary.level))
        rate = curve.suggestion
        self.suggestion = curve.verdict if rate is None else f"schedule.lr={round_rate(rate)}"
        log.info(f"learning rate: {curve.verdict}")


class Curve(NamedTuple):
    suggestion: float | None  # the rate to train with
    verdict: str  # the result and what to do next, in a sentence
    rates: Values  # (steps,) up to the last finite loss
    losses: Values  # (steps,) each minibatch's before its step, in nats per token
    smoothed: Values  # (known,) average losses, up to where the run leaves its valley for good


def analyze(rates: Values, losses: Values) -> Curve:
    """Finds the valley in the losses (steps,) at growing rates (steps,)."""
    steps = len(losses)
    finite = int(np.append(np.isfinite(losses), False).argmin())
    rates, losses = rates[:finite], losses[:finite]
    # Where a run diverges, losses grow without limit. Those above the ceiling only say that the rate is far too large:
    # they count as the ceiling, and the curve ends where all others follow.
    ceiling = 2 * losses[: max(1, int(REACH * finite))].max(initial=0)
    known = int(np.flatnonzero(losses <= ceiling).max(initial=-1)) + 1
    if known < FEWEST_STEPS:
        change = "smaller rates" if known < steps else "more steps"
        verdict = f"no suggestion, because {known} steps are too few to tell; try {change}"
        return Curve(None, verdict, rates, losses, losses[:known])
    smoothed, errors = average(np.minimum(losses[:known], ceiling), REACH * known)  # (known,) each
    lowest = int(smoothed.argmin())
    highest = lowest + int(smoothed[lowest:].argmax())
    fell = smoothed[0] - smoothed[lowest] > CHANCE * math.hypot(errors[0], errors[lowest])
    rose = known < steps or smoothed[highest] - smoothed[lowest] > CHANCE * math.hypot(errors[lowest], errors[highest])
    best = float(rates[(smoothed <= smoothed[lowest] + EQUAL * errors[lowest]).argmax()])
    first, last = rates[0], rates[known - 1]
    if fell and rose:
        verdict = f"try python train.py schedule.lr={round_rate(best)}, with the same model, data and optimizer"
        return Curve(best, verdict, rates, losses, smoothed)
    if rose:
        why, advice = "only rose", f"smaller rates, schedule.lr={round_rate(first / 1000)}"
    else:
        what, factor = ("had not begun to rise", 10) if fell else ("never fell", 1000)
        why = f"{what} at {round_rate(last)}"
        advice = f"larger rates, schedule.end_lr={round_rate(last * factor)}, or more steps"
    return Curve(None, f"no suggestion, because the loss {why}; try {advice}", rates, losses, smoothed)


def average(values: Values, reach: float) -> tuple[Values, Values]:
    """Averages over both sides with weights exp(-distance / reach), and their standard errors. (N,) -> (N,), (N,)

    Averages over earlier values alone would move the valley to larger rates. The variance of single values is half the
    mean square of the differences between neighbours, which a trend hardly changes; a mean with weights w has that
    variance times sum w^2 / (sum w)^2.
    """
    sums, squares = weigh(np.ones(len(values)), reach), weigh(np.ones(len(values)), reach / 2)
    averages = weigh(values, reach) / sums
    variances = weigh(np.diff(values, append=values[-2]) ** 2 / 2, reach) / sums
    errors = np.sqrt(np.maximum(variances, 0) * squares) / sums
    return averages, np.maximum(errors, 1e-7 * averages)  # float32 losses are rounded to 1e-7


def weigh(values: Values, reach: float) -> Values:
    """Sum over j of exp(-|i - j| / reach) values[j], for every i, by the fast Fourier transform. (N,) -> (N,)"""
    size = 2 * len(values)
    distance = np.minimum(np.arange(size), size - np.arange(size))
    product = np.fft.rfft(values, size) * np.fft.rfft(np.exp(-distance / reach))
    return np.fft.irfft(product, size)[: len(values)]


def round_rate(rate: float) -> str:
    """A rate as a person would type it: the test cannot tell more than two digits."""
    return f"{float(f'{rate:.2g}'):g}"


@style.styled
def draw(curve: Curve, level: Level = Level.char) -> Figure:
    """The losses against the rate, their average, and the suggestion."""
    known = len(curve.smoothed)
    rates, losses = curve.rates[:known], curve.losses[:known]
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.add_subplot()
    line = style.choose_line(known)
    axes.plot(rates, losses, line, color=style.LIGHT_BLUE, linewidth=0.6, label="minibatch", rasterized=True)
    axes.plot(rates, curve.smoothed, color=style.BLUE, linewidth=1.8, label="average of nearby steps")
    if curve.suggestion is not None:
        label = f"suggested: {round_rate(curve.suggestion)}"
        axes.axvline(curve.suggestion, color=style.GREEN, linewidth=1.5, label=label)
    if known > 0:
        style.set_logarithmic(axes, "x")
        # Losses higher than any on the way down would press the valley flat.
        top = losses[: curve.smoothed.argmin() + 1].max() if curve.suggestion else curve.smoothed.max()
        style.set_logarithmic(axes, "y")
        axes.set_ylim(0.98 * losses.min(), 1.02 * top)
    axes.set_title(textwrap.fill(curve.verdict, 78))
    axes.set(xlabel="learning rate, one step each", ylabel=f"loss (nats per {level})")
    style.add_legend(figure, axes)
    return figure
