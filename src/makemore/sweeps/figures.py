"""The figures of a sweep: the dev loss against each key, and against two at a time, and who overfits."""

import dataclasses
import itertools
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import FuncNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from makemore.sweeps.table import Run, group_by_setting, is_number, list_varied_keys, mean_dev
from makemore.views import style
from makemore.views.style import BLUE, GREY, ORANGE

# Keys that are drawn, in the order in which they were typed.
MOST_KEYS = 9
# Values of a key up to which the best of each is drawn.
MOST_VALUES = 12
# An axis names a key's values if there are at most this many, each at least this share of the axis from the next.
MOST_TICKS, APART = 6, 0.09
LONGEST_TICK = 7  # letters of a value; the random ones of a search are longer, and stand beside round ticks
# Letters of a category, and of all together that fit side by side below an axis.
LONGEST_NAME, LONGEST_ROW = 18, 30
# From this ratio of its largest value to its smallest on, a key may have a logarithmic axis.
WIDE = 8
# Losses are drawn up to this many times as far above the best as the median is.
FAR = 6


def draw(folder: Path, runs: Sequence[Run]) -> list[str]:
    """Writes the figures of runs that finished with a dev loss, in the format of the first; returns their names."""
    varied = [key for key in list_varied_keys(runs) if key != "seed"]
    keys = varied[:MOST_KEYS]
    note = f"; the first {len(keys)} of {len(varied)} keys" if len(varied) > len(keys) else ""
    figures: dict[str, Figure] = {}
    if keys:
        figures["sweep_keys"] = draw_keys(runs, keys, note)
    if len(keys) > 1:
        figures["sweep_pairs"] = draw_pairs(runs, list(itertools.combinations(keys, 2)), note)
    if whole := [run for run in runs if math.isfinite(run.train) and math.isfinite(run.last_dev)]:
        figures["sweep_fit"] = draw_fit(whole)
    suffix = "." + runs[0].overrides.get("figures", "png")
    for name, figure in figures.items():
        style.save(figure, folder / (name + suffix))
    return [name + suffix for name in figures]


def average_seeds(runs: Sequence[Run]) -> list[Run]:
    """One run for each setting, with the mean dev loss of its seeds: the luckiest seed is not the better setting."""
    return [dataclasses.replace(group[0], dev=mean_dev(group)) for group in group_by_setting(runs)]


@style.styled
def draw_keys(runs: Sequence[Run], keys: Sequence[str], note: str = "") -> Figure:
    """The dev loss against each key: every run, and the best setting of each value that several settings have."""
    settings = average_seeds(runs)
    averaged = "" if len(settings) == len(runs) else ", seeds averaged"
    losses = [run.dev for run in runs]
    low, high = _limit(losses)
    figure, grid = _make_grid(len(keys))
    for axes, key in zip(grid, keys, strict=True):
        axes.plot(_place(axes, "x", key, runs), losses, "o", color=BLUE, alpha=0.55, mew=0, label="a run")
        best: dict[float, float] = {}
        crossed, places = _is_crossed(key, settings), _place(axes, "x", key, settings)
        for x, run in zip(places, settings, strict=True):
            if run.dev <= high and (crossed or places.count(x) > 1):
                best.setdefault(x, run.dev)  # the first is the best
        values = len(set(places))
        if best and values <= MOST_VALUES and (crossed or 2 * values <= len(settings)):
            # Nothing lies between two categories; in a search, the best of two values differ in their other keys too.
            line = "-" if crossed and _are_numbers(key, runs) else "_"
            points = zip(*sorted(best.items()), strict=True)
            axes.plot(*points, line, color=ORANGE, markersize=24, mew=2, label=f"best setting{averaged}")
    grid[0].set_ylim(low, high)
    # From the axes with most of them: not every key has a best.
    handles = max((axes.get_legend_handles_labels() for axes in grid), key=lambda both: len(both[0]))
    figure.legend(*handles, loc="outside lower center", ncols=2)
    figure.supylabel("best dev loss (nats per token)", size=12)
    figure.suptitle(f"{len(runs)} runs: dev loss by key{_name_left_out(losses, high)}{note}")
    return figure


@style.styled
def draw_pairs(runs: Sequence[Run], pairs: Sequence[tuple[str, str]], note: str = "") -> Figure:
    """The dev loss as colour over two keys at a time; where settings coincide, the best is shown.

    Each column has a key, and each row another: `pairs` names them as (column, row).
    """
    columns, rows = (list(dict.fromkeys(keys)) for keys in zip(*pairs, strict=True))
    settings = average_seeds(runs)
    figure = Figure(figsize=(max(6, 1.8 + 2.6 * len(columns)), 1.2 + 2.4 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), len(columns), squeeze=False, sharex="col", sharey="row")
    for axes in grid.flat:
        axes.set_visible(False)
    cells: dict[tuple[str, str], dict[tuple[float, float], float]] = {}
    drawn = list[Axes]()
    for x_key, y_key in pairs:
        axes = grid[rows.index(y_key), columns.index(x_key)]
        axes.set_visible(True)
        drawn.append(axes)
        places = zip(_place(axes, "x", x_key, settings), _place(axes, "y", y_key, settings), strict=True)
        best = cells[x_key, y_key] = {}
        for place, run in zip(places, settings, strict=True):
            best.setdefault(place, run.dev)  # the first is the best
        axes.label_outer()
        axes.margins(0.15)
    low, high = _limit([loss for best in cells.values() for loss in best.values()], margin=0)
    scale = logarithmic_from(low, high)
    for axes, best in zip(drawn, cells.values(), strict=True):
        x, y = zip(*reversed(best), strict=True)  # the better cover the worse
        losses = list(reversed(best.values()))
        dots: Any = axes.scatter(x, y, c=losses, norm=scale, cmap="viridis", s=110, ec="white")
        axes.plot(x[-1], y[-1], "o", ms=15, fillstyle="none", color=ORANGE, mew=1.8, label="the best")
    ticks = scale.inverse(np.linspace(0, 1, 5))
    figure.colorbar(dots, ax=grid, label="best dev loss", shrink=0.7, aspect=30, ticks=ticks, format="{x:.3f}")
    style.add_legend(figure, drawn[0])
    averaged = "" if len(settings) == len(runs) else ", seeds averaged"
    figure.suptitle(f"{len(runs)} runs: lowest dev loss by two keys{averaged}{note}")
    return figure


def logarithmic_from(low: float, high: float) -> FuncNorm:
    """A scale of colours that is logarithmic in what losses are above the lowest, so that good ones differ in colour.

    A hundredth of the whole range is added, because the lowest has no logarithm.
    """
    high = max(high, low + 1e-6)  # of equal losses
    least = (high - low) / 100
    to_and_from = (lambda x: np.log(np.maximum(x - low, 0) + least), lambda y: np.exp(y) + low - least)
    return FuncNorm(to_and_from, vmin=low, vmax=high)


@style.styled
def draw_fit(runs: Sequence[Run]) -> Figure:
    """Train loss against dev loss, both of the last weights."""
    best = min(runs, key=lambda run: run.last_dev)
    low, high = _limit([loss for run in runs for loss in (run.last_dev, run.train)])
    figure = Figure(figsize=(6.4, 6.8), layout="constrained")
    axes = figure.add_subplot()
    axes.plot((low, high), (low, high), "-", color=GREY, linewidth=1, label="train and dev are equal")
    dots = [run.last_dev for run in runs], [run.train for run in runs]
    axes.plot(*dots, "o", color=BLUE, alpha=0.7, markeredgewidth=0, label="a run")
    axes.plot(best.last_dev, best.train, "o", color=ORANGE, label="the lowest dev loss")
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.set(xlabel="dev loss at the end", ylabel="train loss at the end")
    left_out = _name_left_out([max(run.last_dev, run.train) for run in runs], high)
    axes.set_title(f"{len(runs)} runs: the further below the line,\nthe larger the gap between train and dev{left_out}")
    style.add_legend(figure, axes)
    return figure


def _make_grid(count: int) -> tuple[Figure, list[Axes]]:
    columns = min(3, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(max(5.5, 4 * columns), 3.6 * rows + 0.6), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False).flatten().tolist()
    for axes in grid[count:]:
        axes.set_visible(False)
    return figure, grid[:count]


def _limit(losses: Sequence[float], margin: float = 0.05) -> tuple[float, float]:
    """The ends of an axis of losses: a run that failed to learn would squeeze all others, and is left out."""
    low, middle = min(losses), statistics.median(losses)
    high = max(loss for loss in losses if loss <= low + FAR * max(middle - low, 1e-3))
    margin *= max(high - low, 1e-3)
    return low - margin, high + margin


def _name_left_out(losses: Sequence[float], high: float) -> str:
    """What a title says of losses above its axis."""
    above = sum(loss > high for loss in losses)
    return f"; {above} far above {'is' if above == 1 else 'are'} left out" if above else ""


def _is_logarithmic(numbers: Sequence[float]) -> bool:
    """Whether numbers range widely, and their logarithms lie as evenly about the middle, or more."""

    def lean(values: Sequence[float]) -> float:
        low, high = min(values), max(values)
        return abs(statistics.median(values) - (low + high) / 2) / (high - low)

    wide = 0 < WIDE * min(numbers) <= max(numbers)
    return wide and lean(list(map(math.log, numbers))) <= lean(numbers)


def _are_numbers(key: str, runs: Sequence[Run]) -> bool:
    return all(is_number(run.overrides.get(key, "")) for run in runs)


def _is_crossed(key: str, settings: Sequence[Run]) -> bool:
    """Whether most values of a key were tried with most values of the other keys, as in a grid."""
    others = [other for other in list_varied_keys(settings) if other not in (key, "seed")]
    rest = {tuple(run.overrides.get(other) for other in others) for run in settings}
    return 0.6 * len({run.overrides.get(key) for run in settings}) * len(rest) <= len(settings)


def _place(axes: Axes, name: Literal["x", "y"], key: str, runs: Sequence[Run]) -> list[float]:
    """Where runs are on the axis of a key, which is set up: numbers to scale, anything else side by side."""
    axis = axes.xaxis if name == "x" else axes.yaxis
    axis.set_label_text(key)
    values = [run.overrides.get(key, "default") for run in runs]
    if not _are_numbers(key, runs):
        names = sorted(set(values))
        shown = [name if len(name) <= LONGEST_NAME else "..." + name[3 - LONGEST_NAME :] for name in names]
        axis.set_ticks(range(len(names)), shown)
        axes.set(**{f"{name}lim": (-0.5, len(names) - 0.5)})
        if name == "x" and sum(map(len, shown)) > LONGEST_ROW:
            axis.set_tick_params(rotation=90)
        return [float(names.index(value)) for value in values]
    numbers = list(map(float, values))
    different = sorted(set(numbers))
    wide = _is_logarithmic(different)
    if wide:
        style.set_logarithmic(axes, name, apart=0.2)
    else:
        axis.set_major_locator(MaxNLocator(5, integer=all(number.is_integer() for number in numbers)))
    labels = [f"{number:g}" for number in different]
    gaps = np.diff(np.log(different) if wide else different)
    if len(labels) <= MOST_TICKS and max(map(len, labels)) <= LONGEST_TICK and all(gaps >= APART * gaps.sum()):
        axis.set_ticks(different, labels)
    return numbers
