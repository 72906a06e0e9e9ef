"""The search for a learning rate: one step at each of many growing rates, and what their losses say.

The lecture's experiment: rates 10^linspace(-3, 0, 1000), one step each. The loss against the exponent falls into a
valley and climbs out of it, and a good rate lies in the valley. (Smith, "Cyclical Learning Rates for Training Neural
Networks", 2017, calls it the LR range test.) `experiment=lr_range` makes the run; `examined` reads its curve.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

Values = np.ndarray[tuple[int], np.dtype[np.float64]]

# How far the average reaches to each side, as a share of the run: wide enough to leave the chance of single
# minibatches behind, narrow beside a valley of half a decade.
REACH = 1 / 25
# In standard errors: what is this near to the lowest is as low, and a fall or rise of no more than this is chance (the
# largest of the curve's two dozen independent points may well be two or three away from the mean).
AS_LOW, CHANCE = 2, 4
# The relative precision of a loss in float32.
ROUNDING = 1e-7
# With fewer steps there is no average worth the name.
FEWEST_STEPS = 100


@dataclass(frozen=True)
class Examined:
    """What a range test found.

    Attributes:
        rates: (steps,) the rate of each step whose loss is a number, growing.
        losses: (steps,) the loss of each step's minibatch before the step, in nats per token.
        smoothed: (known,) their `centred_average`, up to where the run is far out of its valley; no loss counts for
            more than `ceiling` in it.
        ceiling: twice the largest loss on the way down; one beyond says no more than that its rate was far too large.
        suggestion: the rate to train with; None if this test does not show one.
        steepest: the rate at which the smoothed loss falls most per decade of rates; None if it does not fall.
        divergence: the rate beyond which the smoothed loss rises; None if it does not rise.
        verdict: what was found and what to do next, in a few words for a person.
    """

    rates: Values
    losses: Values
    smoothed: Values
    ceiling: float
    suggestion: float | None
    steepest: float | None
    divergence: float | None
    verdict: str

    def as_plain(self) -> dict[str, Any]:
        """What a JSON file holds of it."""
        return {
            "suggestion": self.suggestion,
            "steepest": self.steepest,
            "divergence": self.divergence,
            "verdict": self.verdict,
            "rates": self.rates.tolist(),
            "losses": self.losses.tolist(),
            "smoothed": self.smoothed.tolist(),
        }


def examined(rates: Values, losses: Values) -> Examined:
    """Reads the curve of a range test.

    The suggestion is the smallest rate whose smoothed loss lies within two standard errors of the lowest: of the rates
    that this test cannot tell from the best, the most careful one (the one-standard-error rule of Breiman et al. 1984,
    with two). At the lowest point itself the loss stops falling because the rate has become too large, and a whole run
    stays at its rate for much longer than the test did.

    There is none if the loss does not fall by more than chance, or does not rise again by more than chance: then the
    lowest point is only where the test ended.

    Args:
        rates: (steps,) each step's rate, growing.
        losses: (steps,) the loss of each step's minibatch, in nats per token. What stands behind one that is not a
            number does not count.
    """
    broken = ~np.isfinite(losses)
    diverged = bool(broken.any())
    known = int(broken.argmax()) if diverged else len(losses)
    rates, losses = rates[:known], losses[:known]
    if known == 0:
        return Examined(rates, losses, losses, math.nan, None, None, None, "the first loss was not a number already")
    trailing = trailing_average(losses, max(1.0, REACH * known))
    settled = int(REACH * known)  # before, it is the average of a few losses only
    bottom = settled + int(trailing[settled:].argmin())
    ceiling = 2 * float(losses[: bottom + 1].max())
    far_out = np.flatnonzero(trailing[bottom:] > ceiling)
    if len(far_out) > 0:
        diverged, known = True, bottom + int(far_out[0])
    reach = max(1.0, REACH * known)
    # Losses grow without limit where a run diverges; one of 10^10 would drown its neighbours in the average.
    held = np.minimum(losses[:known], ceiling)
    smoothed = centred_average(held, reach)
    errors = np.maximum(standard_error(held, reach), ROUNDING * smoothed)
    lowest = int(smoothed.argmin())
    highest = lowest + int(smoothed[lowest:].argmax())
    fell = smoothed[0] - smoothed[lowest] > CHANCE * math.hypot(errors[0], errors[lowest])
    rose = diverged or smoothed[highest] - smoothed[lowest] > CHANCE * math.hypot(errors[lowest], errors[highest])
    as_low = np.flatnonzero(smoothed <= smoothed[lowest] + AS_LOW * errors[lowest])
    enough = known >= FEWEST_STEPS
    suggestion = float(rates[as_low[0]]) if fell and rose and enough else None
    return Examined(
        rates=rates,
        losses=losses,
        smoothed=smoothed,
        ceiling=ceiling,
        suggestion=suggestion,
        steepest=float(rates[steepest(rates[:known], smoothed, lowest, reach)]) if fell and enough else None,
        divergence=float(rates[as_low[-1]]) if rose and (enough or diverged) else None,
        verdict=_verdict(rates[:known], suggestion, fell=fell, rose=rose, enough=enough),
    )


def _verdict(rates: Values, suggestion: float | None, *, fell: bool, rose: bool, enough: bool) -> str:
    first, last = rates[0], rates[-1]
    if suggestion is not None:
        return f"try python train.py schedule.lr={short(suggestion)}, with the same model, data and optimizer"
    if rose and not fell:
        return f"no suggestion, because the loss only rose; try smaller rates: schedule.lr={short(first / 1000)}"
    if not enough:
        return f"no suggestion, because there are too few steps to tell ({len(rates)}); try steps={10 * FEWEST_STEPS}"
    if not fell:
        return f"no suggestion, because the loss never fell; try larger rates: schedule.end_lr={short(last * 1000)}"
    return (
        f"no suggestion, because the loss had not begun to rise at {short(last)}; "
        f"try larger rates, schedule.end_lr={short(last * 10)}, or more steps"
    )


def short(rate: float) -> str:
    """A rate as a person would type it: two digits are more than the test can tell."""
    return f"{float(f'{rate:.2g}'):g}"


def centred_average(values: Values, reach: float) -> Values:
    """An average of each value's neighbours on both sides, with weights exp(-distance / reach). (N,)

    An exponentially weighted average forward and one backward, put together. That of one direction alone trails behind
    the curve and moves its valley to larger rates. And it is divided by the sum of its weights: sums that start at
    zero, without this correction, make the first losses look small.

    Args:
        values: (N,).
        reach: in steps.
    """
    decay = math.exp(-1 / reach)
    averages: Values = _both_ways(values, decay) / _both_ways(np.ones(len(values)), decay)
    return averages


def trailing_average(values: Values, reach: float) -> Values:
    """The same of the values so far alone: what comes later changes nothing. (N,)"""
    decay = math.exp(-1 / reach)
    averages: Values = _forward(values, decay) / _forward(np.ones(len(values)), decay)
    return averages


def standard_error(values: Values, reach: float) -> Values:
    """How far chance alone moves `centred_average`: its standard deviation. (N,)

    The variance of single values is half the mean square of the differences between neighbours, which a trend hardly
    changes. A mean with weights w has that variance times sum w^2 / (sum w)^2.
    """
    decay = math.exp(-1 / reach)
    between = np.diff(values) ** 2 / 2  # (N - 1,)
    variances = centred_average(np.append(between, between[-1:]) if len(between) else np.zeros(1), reach)  # (N,)
    ones = np.ones(len(values))
    errors: Values = np.sqrt(variances * _both_ways(ones, decay**2)) / _both_ways(ones, decay)
    return errors


def steepest(rates: Values, smoothed: Values, lowest: int, reach: float) -> int:
    """Where, before its lowest point, a smoothed curve falls fastest against the exponent of the rate.

    Against the rate itself the first steps would always win: there the rates lie closest together. Slopes are noisier
    than values, so they are averaged once more.
    """
    if len(rates) < 2:
        return 0
    slopes = centred_average(np.gradient(smoothed, np.log10(rates)), reach)
    return int(slopes[: lowest + 1].argmin())


def _both_ways(values: Values, decay: float) -> Values:
    """Sum over j of decay^|i - j| values[j], for every i."""
    return _forward(values, decay) + _forward(values[::-1], decay)[::-1] - values


def _forward(values: Values, decay: float) -> Values:
    """Sum over j <= i of decay^(i - j) values[j], for every i."""
    sums, total = np.empty(len(values)), 0.0
    for i, value in enumerate(values.tolist()):
        total = decay * total + value
        sums[i] = total
    return sums
