"""The figures that a run leaves, as functions from numbers to a matplotlib Figure."""

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import torch
from matplotlib import font_manager
from matplotlib.figure import Figure
from torch import Tensor

from makemore.vocabulary import Vocabulary

Values = np.ndarray[tuple[int], np.dtype[np.float64]]

VOWELS = frozenset("aeiouyAEIOUY")
# Above this many tokens, labels are drawn for the first ones only: more would be a black cloud.
MOST_LABELS = 300


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG."""
    figure.savefig(path, dpi=150)


def loss_curve(losses: Tensor, dev_losses: Mapping[int, float]) -> Figure:
    """log10 of the loss against the step: every minibatch, their running mean, and the dev loss.

    Args:
        losses: (steps,) loss of each step's minibatch, in nats per token.
        dev_losses: dev loss after so many steps.
    """
    log_losses = losses.double().log10().numpy()  # (steps,)
    steps = np.arange(1, len(log_losses) + 1)
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(steps, log_losses, color="#9ecae1", linewidth=0.4, label="minibatch", rasterized=True)
    width = smoothing_width(len(log_losses))
    if width > 1:
        axes.plot(*smoothed(log_losses, width), color="#08519c", linewidth=1.5, label=f"mean of {width:,} steps")
    dev = {at: loss for at, loss in dev_losses.items() if math.isfinite(loss) and loss > 0}
    if dev:
        axes.plot(
            list(dev),
            np.log10(list(dev.values())),
            "o-",
            color="#d94801",
            markersize=4,
            linewidth=0.8,
            label="dev",
        )
        last = max(dev)
        axes.set_title(f"loss by step; dev {dev[last]:.4f} nats per character at the end")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("log10 loss (nats per character)")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(alpha=0.3)
    for handle in axes.legend(loc="upper right").get_lines():
        handle.set_linewidth(2)
    return figure


def smoothing_width(steps: int) -> int:
    """Steps in one point of the smoothed curve: the lecture's 1,000 for its 200,000, in proportion for other runs."""
    return max(1, min(1000, steps // 50))


def smoothed(values: Values, width: int) -> tuple[Values, Values]:
    """Means of `width` neighbours at the middle of each stretch; what is left at the end has a mean of its own.

    Returns:
        the middles (steps counted from 1) and the means, both (stretches,).
    """
    stretches = [values[i : i + width] for i in range(0, len(values), width)]
    middles = np.array([i * width + (len(stretch) + 1) / 2 for i, stretch in enumerate(stretches)])
    return middles, np.array([stretch.mean() for stretch in stretches])


def embedding(C: Tensor, vocabulary: Vocabulary) -> Figure:
    """The tokens at their place in C: in its own two dimensions if it has two, else in a PCA projection.

    Args:
        C: (vocabulary, emb_dim) the embedding table.
        vocabulary: the tokens, for labels; vowels are coloured.
    """
    places, title, axis_names = projected(C.detach().cpu().double())
    count = len(vocabulary)
    size = min(1.0, math.sqrt(27 / count))
    figure = Figure(figsize=(8, 8), layout="constrained")
    axes = figure.add_subplot()
    vowel = np.array([token in VOWELS for token in vocabulary.tokens])
    x, y = places.T.numpy()
    area = 260 * size**2 + 8  # square points
    colors = np.where(vowel, "#fdae6b", "#9ecae1")
    for chosen, name in ((~vowel, "other"), (vowel, "vowel")):
        if chosen.any():
            axes.scatter(x[chosen], y[chosen], s=area, c=colors[chosen], label=name, zorder=2, edgecolors="white")
    for i in range(min(count, MOST_LABELS)):
        # Dot and letter one above the other, token by token: a dot hides the letters below it, so none are mixed up.
        axes.scatter(x[i], y[i], s=area, c=colors[i], zorder=3 + 2 * i, edgecolors="white")
        axes.text(
            x[i],
            y[i],
            drawable(vocabulary.label(i)),
            ha="center",
            va="center",
            fontsize=max(4.0, 12 * size),
            zorder=4 + 2 * i,
            clip_on=True,
        )
    axes.set_title(title)
    axes.set_xlabel(axis_names[0])
    axes.set_ylabel(axis_names[1])
    axes.grid(alpha=0.3)
    axes.margins(0.08)
    if vowel.any():
        axes.legend(markerscale=0.6 / max(size, 0.2)).set_zorder(1000)
    return figure


def projected(C: Tensor) -> tuple[Tensor, str, tuple[str, str]]:
    """Where to draw each row of C: (vocabulary, 2), with a title and the axes' names that say what is seen."""
    tokens, dimensions = C.shape
    if dimensions == 1:
        return torch.cat([C, torch.zeros_like(C)], dim=1), "embedding C (its only dimension)", ("C[:, 0]", "")
    if dimensions == 2 or tokens < 2:
        return C[:, :2], "embedding C (its own two dimensions)", ("C[:, 0]", "C[:, 1]")
    centred = C - C.mean(dim=0)
    _, singular, directions = torch.linalg.svd(centred, full_matrices=False)
    # A singular vector's sign is arbitrary; the largest entry is made positive so that a picture can be made again.
    signs = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True)).sign()
    shares = singular.square() / singular.square().sum()
    title = f"embedding C: PCA projection of {dimensions} dimensions ({100 * shares[:2].sum():.0f} % of the variance)"
    names = tuple(f"principal component {i + 1} ({100 * shares[i]:.0f} %)" for i in range(2))
    return centred @ (directions * signs)[:2].T, title, (names[0], names[1])


@cache
def _glyphs() -> frozenset[int]:
    """The code points that the figures' font can draw."""
    return frozenset(font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap())


def drawable(label: str) -> str:
    """A label as the figures' font can draw it: a character that it lacks stands as its code point."""
    shown = "".join(c if ord(c) in _glyphs() else f"U+{ord(c):04X}" for c in label)
    return shown.replace("$", r"\$")
