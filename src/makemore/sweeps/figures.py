"""The figures of a sweep: what each key does to the dev loss, what two do together, and who overfits."""

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from makemore.sweeps.sweep import FINISHED
from makemore.sweeps.table import Run, as_number, by_setting, setting_keys, short
from makemore.views import plots

# Keys and pairs of keys that are drawn, in the order in which they were typed.
MOST_KEYS, MOST_PAIRS = 9, 6
# Values of a key that a heat map has a row or a column for. More, and the runs are points.
MOST_CELLS = 12
# Letters of a value below an axis; of numbers so long (a search's own) the axis has round ones instead.
LONGEST_NAME, LONGEST_NUMBER = 18, 8
# Share of an axis that runs must be apart which have their numbers beside their points, and that a tick's letter takes.
APART, LETTER = 0.05, 0.025
# From this ratio of the largest value to the smallest on an axis is logarithmic.
WIDE = 8
# How far above the best a loss may be, in times the distance of the middle one, before it is drawn at the edge.
FAR = 6
BEST = "the best, seeds averaged"
BLUE, ORANGE, GREY = "#08519c", "#d94801", "#969696"


def draw(folder: Path, runs: Sequence[Run], keys: Sequence[str]) -> list[str]:
    """Writes the figures that these runs give; returns their names."""
    usable = [run for run in runs if run.status == FINISHED and math.isfinite(run.dev)]
    keys = [key for key in setting_keys(keys) if len({run.overrides.get(key) for run in usable}) > 1]
    figures: dict[str, Figure] = {}
    if keys:
        figures["sweep_keys.png"] = by_key(usable, keys[:MOST_KEYS])
    if len(keys) > 1:
        figures["sweep_pairs.png"] = by_pair(usable, list(combinations(keys, 2))[:MOST_PAIRS])
    if any(math.isfinite(run.train) and math.isfinite(run.last_dev) for run in usable):
        figures["sweep_fit.png"] = fit(usable)
    for name, figure in figures.items():
        plots.save(figure, folder / name)
    return list(figures)


def seed_means(runs: Sequence[Run]) -> list[Run]:
    """One run for each setting, with the mean dev loss of its seeds: the luckiest seed is not the better setting."""
    return [group[0]._replace(dev=statistics.fmean(run.dev for run in group)) for group in by_setting(runs)]


def by_key(runs: Sequence[Run], keys: Sequence[str]) -> Figure:
    """The dev loss against each key: every run, and the best setting of each value, seeds averaged."""
    columns = min(3, len(keys))
    rows = math.ceil(len(keys) / columns)
    figure = Figure(figsize=(max(5.5, 4.2 * columns), 3.6 * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False).flatten().tolist()
    ceiling = worth_drawing([run.dev for run in runs])
    settings = seed_means(runs)
    for axes, key in zip(grid, keys, strict=False):
        places = Places([run.overrides.get(key, "") for run in runs])
        x = np.array([places.of(run.overrides.get(key, "")) for run in runs])  # (runs,)
        y = np.array([run.dev for run in runs])  # (runs,)
        shown = y <= ceiling
        axes.plot(x[shown], y[shown], "o", color=BLUE, alpha=0.55, markersize=5, markeredgewidth=0, label="a run")
        if not shown.all():
            axes.plot(x[~shown], np.full((~shown).sum(), ceiling), "^", color=GREY, markersize=6, label="far above")
        best: dict[float, float] = {}
        for run in settings:
            at = places.of(run.overrides.get(key, ""))
            if run.dev <= ceiling:
                best[at] = min(run.dev, best.get(at, ceiling))
        if len(best) <= MOST_CELLS:
            axes.plot(sorted(best), [best[at] for at in sorted(best)], "-", color=ORANGE, linewidth=1.6, label=BEST)
        places.label(axes, key)
        axes.grid(alpha=0.3)
    for axes in grid[len(keys) :]:
        axes.set_visible(False)
    for row in range(rows):
        grid[row * columns].set_ylabel("best dev loss (nats per character)")
    named = {label: handle for axes in grid for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(list(named.values()), list(named), loc="outside lower center", ncols=3)
    figure.suptitle(f"{len(runs)} runs: the dev loss by each key")
    return figure


def by_pair(runs: Sequence[Run], pairs: Sequence[tuple[str, str]]) -> Figure:
    """The dev loss over two keys at a time: the best setting of each cell, or each as a point where values are many."""
    count, runs = len(runs), seed_means(runs)
    columns = min(3, len(pairs))
    rows = math.ceil(len(pairs) / columns)
    figure = Figure(figsize=(max(6, 5 * columns), 4.2 * rows + 0.4), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    losses = [run.dev for run in runs]
    scale = Normalize(min(losses), max(worth_drawing(losses), min(losses) + 1e-4))
    drawn: Any = None
    in_cells = False
    for axes, (row_key, column_key) in zip(grid, pairs, strict=False):
        down = Places([run.overrides.get(row_key, "") for run in runs])
        across = Places([run.overrides.get(column_key, "") for run in runs])
        cells = len(down.values) * len(across.values)
        filled = len({(run.overrides.get(row_key, ""), run.overrides.get(column_key, "")) for run in runs})
        if max(len(down.values), len(across.values)) <= MOST_CELLS and filled > cells / 2:
            drawn, in_cells = _cells(axes, runs, (row_key, down), (column_key, across), scale), True
        else:
            x = [across.of(run.overrides.get(column_key, "")) for run in runs]
            y = [down.of(run.overrides.get(row_key, "")) for run in runs]
            drawn = axes.scatter(x, y, c=losses, norm=scale, cmap="viridis", s=36, edgecolors="white", linewidths=0.5)
            across.label(axes, column_key)
            down.label(axes, row_key, vertical=True)
    for axes in grid[len(pairs) :]:
        axes.set_visible(False)
    figure.colorbar(drawn, ax=grid[: len(pairs)], label="best dev loss", shrink=0.9)
    what = f"{count} runs" if len(runs) == count else f"{count} runs, seeds averaged"
    best = "; each cell shows the best of its own" if in_cells and len(pairs) > 1 else ""
    figure.suptitle(f"{what}: the dev loss by two keys{best}")
    return figure


def _cells(
    axes: Axes, runs: Sequence[Run], down: tuple[str, "Places"], across: tuple[str, "Places"], scale: Normalize
) -> Any:
    rows, columns = down[1].values, across[1].values
    table = np.full((len(rows), len(columns)), math.nan)  # (rows, columns)
    for run in runs:
        at = rows.index(run.overrides.get(down[0], "")), columns.index(run.overrides.get(across[0], ""))
        table[at] = np.fmin(table[at], run.dev)
    drawn = axes.imshow(table, norm=scale, cmap="viridis", aspect="auto")
    size = 10 if max(table.shape) <= 6 else 7
    for (i, j), loss in np.ndenumerate(table):
        if math.isfinite(loss):
            dark = scale(loss) < 0.55
            axes.text(j, i, f"{loss:.3f}", ha="center", va="center", fontsize=size, color="white" if dark else "black")
    names = across[1].names()
    axes.set_xticks(range(len(columns)), names, rotation=30 if max(map(len, names)) > 6 else 0)
    axes.set_yticks(range(len(rows)), down[1].names())
    axes.set_xlabel(across[0])
    axes.set_ylabel(down[0])
    return drawn


def fit(runs: Sequence[Run]) -> Figure:
    """Train loss against dev loss, both of the last weights: equal on the line, and below it a run overfits."""
    runs = [run for run in runs if math.isfinite(run.train) and math.isfinite(run.last_dev)]
    dev, train = np.array([run.last_dev for run in runs]), np.array([run.train for run in runs])  # (runs,) each
    ceiling = worth_drawing(dev.tolist())
    shown = dev <= ceiling
    figure = Figure(figsize=(6.6, 6), layout="constrained")
    axes = figure.add_subplot()
    low, high = min(dev[shown].min(), train[shown].min()), max(dev[shown].max(), train[shown].max())
    margin = 0.06 * max(high - low, 1e-3)
    ends = (low - margin, high + margin)
    axes.plot(ends, ends, "-", color=GREY, linewidth=1, label="as good on dev as on train")
    axes.plot(dev[shown], train[shown], "o", color=BLUE, alpha=0.7, markeredgewidth=0, label="a run")
    axes.plot(dev.min(), train[dev.argmin()], "o", color=ORANGE, label="the lowest dev loss")
    numbers: list[tuple[float, float]] = []
    for run in sorted((run for run in runs if run.last_dev <= ceiling), key=lambda run: run.last_dev):
        # Those of the best, and of all others that stand clear of them.
        if all(max(abs(run.last_dev - x), 2 * abs(run.train - y)) > APART * (ends[1] - ends[0]) for x, y in numbers):
            numbers.append((run.last_dev, run.train))
            # Below: the other points lie along the line.
            axes.annotate(
                str(run.number), numbers[-1], xytext=(4, -4), textcoords="offset points", va="top", fontsize=7
            )
    hidden = int((~shown).sum())
    axes.set_title(f"{len(runs)} runs: below the line they overfit" + (f"; {hidden} far outside" if hidden else ""))
    axes.set(xlim=ends, ylim=ends, xlabel="dev loss at the end", ylabel="train loss at the end", aspect="equal")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    return figure


def worth_drawing(losses: Sequence[float]) -> float:
    """The loss up to which runs are drawn where they are: one that failed to learn would press all others together."""
    best, middle = min(losses), float(np.median(losses))
    limit = best + FAR * max(middle - best, 1e-3)
    return max(loss for loss in losses if loss <= limit)


class Places:
    """Where the values of a key stand on an axis: numbers at their place, anything else one beside the other.

    Few numbers that would come too close together, as 0, 0.001 and 0.1, stand side by side as well.

    Attributes:
        values: the distinct values, in order.
        numeric: whether they stand at their place.
        wide: whether that is on a logarithmic axis.
    """

    def __init__(self, values: Sequence[str]) -> None:
        numbers = {value: as_number(value) for value in dict.fromkeys(values)}
        are_numbers = all(math.isfinite(number) for number in numbers.values())
        self.values = sorted(numbers, key=lambda value: numbers[value]) if are_numbers else sorted(numbers)
        low, high = (numbers[self.values[0]], numbers[self.values[-1]]) if are_numbers else (0.0, 0.0)
        self.wide = low > 0 and high / low >= WIDE
        self.numeric = are_numbers and (len(numbers) > MOST_CELLS or self._stand_clear(list(numbers.values())))
        self._places: Mapping[str, float] = (
            numbers if self.numeric else {value: float(at) for at, value in enumerate(self.values)}
        )

    def _stand_clear(self, numbers: Sequence[float]) -> bool:
        scaled = np.sort(np.log(numbers) if self.wide else numbers)  # (values,)
        apart = LETTER * (max(map(len, self.values)) + 1)
        return len(scaled) < 2 or bool(np.diff(scaled).min() >= apart * (scaled[-1] - scaled[0]) > 0)

    def of(self, value: str) -> float:
        """Where a value stands."""
        return self._places[value]

    def names(self) -> list[str]:
        """The values as an axis shows them; of long paths the parts that tell them apart."""
        parts = [value.split("/") for value in self.values]
        head = tail = ""
        if max(map(len, self.values)) > LONGEST_NAME:
            while min(map(len, parts)) > 1 and len({part[0] for part in parts}) == 1:
                head, parts = ".../", [part[1:] for part in parts]
            while min(map(len, parts)) > 1 and len({part[-1] for part in parts}) == 1:
                tail, parts = "/...", [part[:-1] for part in parts]
        return [f"{head}{short('/'.join(part), LONGEST_NAME)}{tail}" for part in parts]

    def label(self, axes: Axes, key: str, vertical: bool = False) -> None:
        """Names an axis and its values."""
        axis = axes.yaxis if vertical else axes.xaxis
        places = list(self._places.values())
        if self.numeric and self.wide:
            (axes.set_yscale if vertical else axes.set_xscale)("log")
            axis.set_minor_formatter(NullFormatter())  # or 2 x 10^-3, 3 x 10^-3, ... overprint each other
        if not self.numeric or (len(self.values) <= MOST_CELLS and max(map(len, self.values)) <= LONGEST_NUMBER):
            axis.set_major_locator(FixedLocator(sorted(places)))
            axis.set_minor_locator(NullLocator())
            names = self.names()
            axis.set_ticklabels(names)
            axis.set_tick_params(rotation=30 if not vertical and max(map(len, names)) > 6 else 0)
            if len(names) > MOST_CELLS / 2:
                axis.set_tick_params(labelsize=7)
        axis.set_label_text(key)
