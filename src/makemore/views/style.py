"""What the figures share: colours, axes, legends, and writing a file."""

import warnings
from collections.abc import Iterable
from itertools import cycle
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from makemore import files

BLUE, ORANGE, GREEN, GREY = "#08519c", "#d94801", "#238b45", "#969696"
LIGHT_BLUE, LIGHT_ORANGE, LIGHT_GREEN = "#9ecae1", "#fdae6b", "#a1d99b"
# The lecture's parameters; others take the colours of a palette in turn.
PARAMETERS = {"C": BLUE, "W1": ORANGE, "b1": LIGHT_ORANGE, "W2": GREEN, "b2": LIGHT_GREEN}
PALETTE = [to_hex(color) for color in matplotlib.colormaps["tab20"](np.arange(8, 28) % 20)]
# A curve with at most this many points shows each as a dot.
FEW_POINTS = 50

Values = np.ndarray[tuple[int], np.dtype[np.float64]]


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG; a character that the font lacks is drawn as a box, without a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from")
        with files.replace(path) as beside:
            figure.savefig(beside, dpi=150, format="png")


def color_parameters(names: Iterable[str]) -> list[str]:
    others = cycle(PALETTE)
    return [PARAMETERS.get(name) or next(others) for name in names]


def choose_line(points: int) -> str:
    return ".-" if points <= FEW_POINTS else "-"


def label_steps(axes: Axes) -> None:
    """Marks the x axis as optimizer steps: whole numbers, with commas between thousands."""
    left, right = axes.get_xlim()
    if right - left < 1:  # a single point
        axes.set_xlim(left - 1, right + 1)
    axes.set_xlabel("optimizer step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(alpha=0.3)


def add_legend(figure: Figure, axes: Axes) -> None:
    """Names the curves of some axes below the figure, in as many columns as fit."""
    handles, labels = axes.get_legend_handles_labels()
    columns = figure.get_figwidth() * 14 / (max(map(len, labels)) + 8)  # 14 letters an inch, 8 for the line
    legend = figure.legend(handles, labels, loc="outside lower center", ncols=max(1, min(6, int(columns))))
    for handle in legend.get_lines():
        handle.set_linewidth(2)
