"""The figures of a sweep: the dev loss against each key, and against two at a time, and who overfits."""

import dataclasses
import itertools
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from makemore.sweeps.table import Run, group_by_setting, is_number, list_varied_keys, mean_dev
from makemore.views.style import BLUE, GREY, ORANGE, save

# Keys and pairs of keys that are drawn, in the order in which they were typed.
MOST_KEYS, MOST_PAIRS = 9, 6
# Values of a key up to which the best of each is drawn; a search has one run for most.
MOST_VALUES = 12
# Letters of a category, and of all together that fit side by side below an axis.
LONGEST_NAME, LONGEST_ROW = 18, 36
# From this ratio of its largest value to its smallest on, a key has a logarithmic axis.
WIDE = 8
# How far above the best a loss is drawn, in times the distance of the middle one.
FAR = 6


def draw(folder: Path, runs: Sequence[Run]) -> list[str]:
    """Writes the figures of runs that finished with a dev loss; returns their names."""
    keys = [key for key in list_varied_keys(runs) if key != "seed"]
    figures: dict[str, Figure] = {}
    if keys:
        figures["sweep_keys.png"] = draw_keys(runs, keys[:MOST_KEYS])
    if len(keys) > 1:
        figures["sweep_pairs.png"] = draw_pairs(runs, list(itertools.combinations(keys, 2))[:MOST_PAIRS])
    if whole := [run for run in runs if math.isfinite(run.train) and math.isfinite(run.last_dev)]:
        figures["sweep_fit.png"] = draw_fit(whole)
    for name, figure in figures.items():
        save(figure, folder / name)
    return list(figures)


def average_seeds(runs: Sequence[Run]) -> list[Run]:
    """One run for each setting, with the mean dev loss of its seeds: the luckiest seed is not the better setting."""
    return [dataclasses.replace(group[0], dev=mean_dev(group)) for group in group_by_setting(runs)]


def draw_keys(runs: Sequence[Run], keys: Sequence[str]) -> Figure:
    """The dev loss against each key: every run, and the best setting of each value."""
    settings = average_seeds(runs)
    averaged = "" if len(settings) == len(runs) else ", seeds averaged"
    losses = [run.dev for run in runs]
    low, high = _limit(losses)
    figure, grid = _make_grid(len(keys), sharey=True)
    for axes, key in zip(grid, keys, strict=True):
        axes.plot(_place(axes, "x", key, runs), losses, "o", color=BLUE, alpha=0.55, mew=0, label="a run")
        best: dict[float, float] = {}
        for x, run in zip(_place(axes, "x", key, settings), settings, strict=True):
            if run.dev <= high:
                best.setdefault(x, run.dev)  # the first is the best
        if len(best) <= MOST_VALUES:
            style = "-" if _are_numbers(key, runs) else "_"  # nothing lies between two categories
            line = zip(*sorted(best.items()), strict=True)
            axes.plot(*line, style, color=ORANGE, markersize=24, mew=2, label=f"best setting{averaged}")
        axes.grid(alpha=0.3)
    grid[0].set_ylim(low, high)
    # From the axes with most of them: a key with many values has no best.
    handles = max((axes.get_legend_handles_labels() for axes in grid), key=lambda both: len(both[0]))
    figure.legend(*handles, loc="outside lower center", ncols=2)
    figure.supylabel("best dev loss (nats per token)")
    above = sum(loss > high for loss in losses)
    figure.suptitle(f"{len(runs)} runs: dev loss by key" + (f"; {above} far above" if above else ""))
    return figure


def draw_pairs(runs: Sequence[Run], pairs: Sequence[tuple[str, str]]) -> Figure:
    """The dev loss as colour over two keys at a time; where settings coincide, the best lies on top."""
    settings = average_seeds(runs)[::-1]
    losses = [run.dev for run in settings]
    low, high = _limit(losses, margin=0)
    figure, grid = _make_grid(len(pairs))
    for axes, (x_key, y_key) in zip(grid, pairs, strict=True):
        x, y = _place(axes, "x", x_key, settings), _place(axes, "y", y_key, settings)
        drawn: Any = axes.scatter(x, y, c=losses, vmin=low, vmax=high, cmap="viridis", s=90, edgecolors="white")
        axes.margins(0.12)
    figure.colorbar(drawn, ax=grid, label="best dev loss", shrink=0.9)
    averaged = "" if len(settings) == len(runs) else ", seeds averaged"
    figure.suptitle(f"{len(runs)} runs: dev loss by two keys, the best on top{averaged}")
    return figure


def draw_fit(runs: Sequence[Run]) -> Figure:
    """Train loss against dev loss, both of the last weights: equal on the line, and below it a run overfits."""
    best = min(runs, key=lambda run: run.last_dev)
    low, high = _limit([loss for run in runs for loss in (run.last_dev, run.train)])
    figure = Figure(figsize=(6.6, 6), layout="constrained")
    axes = figure.add_subplot()
    axes.plot((low, high), (low, high), "-", color=GREY, linewidth=1, label="train and dev are equal")
    dots = [run.last_dev for run in runs], [run.train for run in runs]
    axes.plot(*dots, "o", color=BLUE, alpha=0.7, markeredgewidth=0, label="a run")
    axes.plot(best.last_dev, best.train, "o", color=ORANGE, label="the lowest dev loss")
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.set(xlabel="dev loss at the end", ylabel="train loss at the end")
    axes.set_title(f"{len(runs)} runs: below the line they overfit")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    return figure


def _make_grid(count: int, sharey: bool = False) -> tuple[Figure, list[Axes]]:
    columns = min(3, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(max(5.5, 4.2 * columns), 3.6 * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=sharey, squeeze=False).flatten().tolist()
    for axes in grid[count:]:
        axes.set_visible(False)
    return figure, grid[:count]


def _limit(losses: Sequence[float], margin: float = 0.05) -> tuple[float, float]:
    """The ends of an axis of losses: a run that failed to learn would squeeze all others, and is left out."""
    low, middle = min(losses), statistics.median(losses)
    high = max(loss for loss in losses if loss <= low + FAR * max(middle - low, 1e-3))
    margin *= max(high - low, 1e-3)
    return low - margin, high + margin


def _are_numbers(key: str, runs: Sequence[Run]) -> bool:
    return all(is_number(run.overrides.get(key, "")) for run in runs)


def _place(axes: Axes, name: Literal["x", "y"], key: str, runs: Sequence[Run]) -> list[float]:
    """Where runs are on the axis of a key, which is set up: numbers to scale, anything else side by side."""
    axis = axes.xaxis if name == "x" else axes.yaxis
    axis.set_label_text(key)
    values = [run.overrides.get(key, "default") for run in runs]
    if not _are_numbers(key, runs):
        names = sorted(set(values))
        shown = [name if len(name) <= LONGEST_NAME else "..." + name[3 - LONGEST_NAME :] for name in names]
        axis.set_ticks(range(len(names)), shown)
        if name == "x" and sum(map(len, shown)) > LONGEST_ROW:
            axis.set_tick_params(rotation=90)
        return [float(names.index(value)) for value in values]
    numbers = list(map(float, values))
    if 0 < WIDE * min(numbers) <= max(numbers):
        axes.set(**{f"{name}scale": "log"})
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(numbers) < 200 * min(numbers) else (1,)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter("{x:g}")
    else:
        axis.set_major_locator(MaxNLocator(5, integer=all(number.is_integer() for number in numbers)))
    return numbers
