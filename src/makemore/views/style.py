"""What the figures have in common."""

from pathlib import Path

from matplotlib.figure import Figure

BLUE, LIGHT_BLUE, ORANGE, GREY = "#08519c", "#9ecae1", "#d94801", "#969696"


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG."""
    figure.savefig(path, dpi=150)
