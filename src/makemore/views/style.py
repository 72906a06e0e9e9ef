"""What all figures share: colours, fonts, axes, legends, and writing a file."""

import functools
import io
import math
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import Locator, MaxNLocator, NullLocator

from makemore import files

# The strong colours are Okabe and Ito's, which colour-blind eyes tell apart.
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8c8c8c"
LIGHT_BLUE, LIGHT_ORANGE, LIGHT_GREEN, LIGHT_GREY = "#9ecae1", "#fdae6b", "#8fd8bf", "#d0d0d0"
TEXT, FRAME, GRID = "#222222", "#777777", "#e3e3e3"
# For curves and points side by side, in this order.
COLORS = (BLUE, ORANGE, GREEN, PURPLE, TEXT)
# The lecture's parameters; others take colours from a map in their order, so that neighbouring layers are alike.
PARAMETERS = {"C": BLUE, "W1": ORANGE, "b1": LIGHT_ORANGE, "W2": GREEN, "b2": LIGHT_GREEN}
# A curve with at most this many points shows each as a dot.
FEW_POINTS = 50
# Letters in an inch of a legend.
LETTERS = 12

# Legible at half the size. The background is opaque, because pictures stand on white pages and on dark ones.
STYLE: dict[Any, Any] = {
    "font.size": 12,
    "axes.titlesize": 12.5,
    "figure.titlesize": 13.5,
    "legend.fontsize": 11,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "text.color": TEXT,
    "axes.labelcolor": TEXT,
    "axes.titlecolor": TEXT,
    "axes.edgecolor": FRAME,
    "xtick.color": FRAME,
    "ytick.color": FRAME,
    "xtick.labelcolor": TEXT,
    "ytick.labelcolor": TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=COLORS),
    "axes.grid": True,
    "grid.color": GRID,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.dpi": 150,
    "svg.hashsalt": "makemore",  # the same figure gives the same file
}
# What savefig is told: without a date, so that the same figure gives the same file.
METADATA: dict[str, dict[str, None]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}

Values = np.ndarray[tuple[int], np.dtype[np.float64]]
P = ParamSpec("P")
T = TypeVar("T")


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Decorates what draws, or writes a drawing, so that it has this style; the process's other figures keep theirs."""

    @functools.wraps(draw)
    def draw_in_style(*args: P.args, **kwargs: P.kwargs) -> T:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return draw_in_style


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as its suffix says: .png, .svg or .pdf."""
    with files.replace(path) as beside:
        beside.write_bytes(render(figure, path.suffix[1:]))


@styled
def render(figure: Figure, format: str = "png") -> bytes:  # noqa: A002
    """The file of a figure. A character that the font lacks is drawn as a box, without a warning."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from")
        figure.savefig(file, format=format, metadata=METADATA[format])
    return file.getvalue()


def color_parameters(names: Iterable[str]) -> list[str]:
    names = list(names)
    others = [name for name in names if name not in PARAMETERS]
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(others)))
    colors = PARAMETERS | dict(zip(others, map(to_hex, shades), strict=True))
    return [colors[name] for name in names]


def choose_line(points: int) -> str:
    return ".-" if points <= FEW_POINTS else "-"


class RoundNumbers(Locator):
    """Marks a logarithmic axis at the roundest numbers that fit, so that short ones have more than powers of ten."""

    ROUNDEST_FIRST = (1, 2, 5, 3, 4, 7, 1.5, 2.5, 6, 8, 1.2, 2.2)

    def __init__(self, apart: float) -> None:
        """Numbers stand at least `apart` of the axis from each other."""
        self.apart = apart

    def __call__(self) -> list[float]:
        return self.tick_values(*self.axis.get_view_interval())  # type: ignore[union-attr]

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        low, high = min(vmin, vmax), max(vmin, vmax)
        if not 0 < low < high < math.inf:
            return []
        if high < 1.7 * low:  # almost linear
            return [tick for tick in MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high) if tick > 0]
        apart, ticks = self.apart * math.log(high / low), list[float]()
        decades = sorted(range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1), key=abs)  # 1 comes first
        for number in (float(f"{digit}e{decade}") for digit in self.ROUNDEST_FIRST for decade in decades):
            if low <= number <= high and all(abs(math.log(number / tick)) >= apart for tick in ticks):
                ticks.append(number)
        return ticks


def set_logarithmic(axes: Axes, name: Literal["x", "y"], apart: float = 0.075) -> None:
    """Makes an axis logarithmic, with the numbers themselves on it and not their exponents."""
    axes.set(**{f"{name}scale": "log"})
    axis = axes.xaxis if name == "x" else axes.yaxis
    axis.set_major_locator(RoundNumbers(apart))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:,g}")


def label_steps(axes: Axes) -> None:
    """Marks the x axis as optimizer steps: whole numbers, with commas between thousands."""
    left, right = axes.get_xlim()
    if right - left < 1:  # a single point
        axes.set_xlim(left - 1, right + 1)
    axes.set_xlabel("optimizer step")
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter("{x:,.0f}")


def add_legend(figure: Figure, axes: Axes) -> None:
    """Names the curves of some axes below the figure, where they cover nothing, in as many columns as fit."""
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    columns = figure.get_figwidth() * LETTERS / (max(map(len, labels)) + 8)  # 8 for the line
    legend = figure.legend(handles, labels, loc="outside lower center", ncols=max(1, min(6, int(columns))))
    for handle in legend.get_lines():
        handle.set(linewidth=2, alpha=1)
