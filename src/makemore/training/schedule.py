"""Learning-rate schedules: pure functions of the step, so that rates can be computed in any order."""

import math
from collections.abc import Callable

Schedule = Callable[[int], float]


def constant(at: int, *, steps: int, lr: float) -> float:  # noqa: ARG001 (every schedule is given its length)
    """The same rate at every step."""
    return lr


def step(at: int, *, steps: int, lr: float, drop_at: float, factor: float) -> float:
    """`lr`, and `lr * factor` once the share `drop_at` of the steps is done (the lecture: 0.1, then 0.01)."""
    return lr if at < round(drop_at * steps) else lr * factor


def exponential(at: int, *, steps: int, lr: float, end_lr: float) -> float:
    """From `lr` at the first step to `end_lr` at the last, by the same factor each step."""
    return lr * math.pow(end_lr / lr, _progress(at, steps))


def cosine(at: int, *, steps: int, lr: float, warmup: float, end_factor: float) -> float:
    """Half a cosine wave from `lr` down to `lr * end_factor` (Loshchilov & Hutter 2017, without restarts).

    Before it, for the share `warmup` of the steps, a straight line up from zero, its first step already above zero.
    """
    rising = round(warmup * steps)
    if at < rising:
        return lr * (at + 1) / (rising + 1)
    return lr * _anneal(1, end_factor, _progress(at - rising, steps - rising))


def one_cycle(at: int, *, steps: int, lr: float, warmup: float, start_factor: float, end_factor: float) -> float:
    """Up from `lr * start_factor` to `lr` in the share `warmup` of the steps, then down to `lr * end_factor`.

    Both ways along half a cosine wave (Smith & Topin 2018, in the two-phase form that is in common use).
    """
    rising = round(warmup * steps)
    if at < rising:
        return lr * _anneal(start_factor, 1, at / rising)
    return lr * _anneal(1, end_factor, _progress(at - rising, steps - rising))


def inverse(at: int, *, steps: int, lr: float, decay: float) -> float:  # noqa: ARG001 (as above)
    """`lr / (1 + decay t)` after t steps, as Bengio et al. (2003) have it, with 1e-3 and 1e-8."""
    return lr / (1 + decay * at)


def _progress(at: int, steps: int) -> float:
    """0 at the first of `steps` steps, 1 at the last."""
    return at / max(1, steps - 1)


def _anneal(start: float, end: float, progress: float) -> float:
    """Half a cosine wave from `start` to `end`."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
