"""The figures that a run leaves, as functions from numbers to a matplotlib Figure."""

import math
import textwrap
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from makemore.data.vocabulary import Vocabulary
from makemore.views import context_table as context_table_
from makemore.views.lr_range import Examined, Values, short

Places = np.ndarray[tuple[int, int], np.dtype[np.float64]]

# Latin, Cyrillic and Greek, without accents.
VOWELS = frozenset("aeiouyаеиоуыэюяієαεηιουω")
# Above this many tokens no labels are drawn: they would be a black cloud.
MOST_LABELS = 300
# What a picture of half a figure's width has side by side, and how many units can still be told apart in it.
PIXELS, MOST_UNITS = 800, 2000
# A curve of no more points than this shows each.
FEW_POINTS = 50
COLORS = {"C": "#08519c", "W1": "#d94801", "b1": "#fdae6b", "W2": "#238b45", "b2": "#a1d99b"}
OTHER_COLORS = ("#6a51a3", "#636363", "#8c510a", "#c51b8a", "#01665e")
# The side of the square that an embedding is drawn into, without its margins.
AXES_INCHES = 6.2


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
    thin = len(log_losses) > 2000
    axes.plot(steps, log_losses, color="#9ecae1", linewidth=0.4 if thin else 1.2, label="minibatch", rasterized=True)
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
    axes.set_ylabel("log10 loss (nats per character)")
    _step_axis(axes)
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


def lr_range(found: Examined) -> Figure:
    """The loss of a range test against the exponent of the rate, its average, and what was found in it."""
    exponents = np.log10(found.rates)  # (steps,)
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.add_subplot()
    line = marker(len(exponents)) + "-"
    axes.plot(exponents, found.losses, line, color="#9ecae1", linewidth=0.6, label="minibatch", rasterized=True)
    axes.plot(
        exponents[: len(found.smoothed)],
        found.smoothed,
        color="#08519c",
        linewidth=1.8,
        label="average with the steps around",
    )
    marks = (
        (found.steepest, "#969696", ":", "falls fastest at {}"),
        (found.suggestion, "#238b45", "-", "suggested: {}"),
        (found.divergence, "#d94801", "--", "rises from {} on"),
    )
    for rate, color, style, label in marks:
        if rate is not None:
            axes.axvline(math.log10(rate), color=color, linestyle=style, linewidth=1.5, label=label.format(short(rate)))
    if len(exponents) > 0:
        low = float(found.losses.min())
        # A loss above everything on the way down says "too large" and would press the valley flat.
        high = found.ceiling / 2 if found.suggestion is not None else min(found.ceiling, float(found.losses.max()))
        margin = 0.05 * max(high - low, 0.1 * high)
        axes.set_ylim(low - margin, high + margin)
        seen = exponents[found.losses <= high] if found.suggestion is not None else exponents
        width = max(float(np.ptp(seen)), 0.1)
        axes.set_xlim(seen[0] - 0.04 * width, seen[-1] + 0.04 * width)
    axes.set_title(textwrap.fill(found.verdict, 88), fontsize=11)
    axes.set_xlabel("log10 of the learning rate, one step each")
    axes.set_ylabel("loss (nats per character)")
    axes.grid(alpha=0.3)
    for handle in figure.legend(loc="outside lower center", ncols=3).get_lines():
        handle.set_linewidth(2)
    return figure


def saturation(looks: Mapping[str, Tensor], bound: float) -> Figure:
    """Which hidden units are saturated for which examples, and for how many; one column for each time of looking.

    Args:
        looks: (examples, hidden) bool, under the words that say when.
        bound: the |h| beyond which an activation counts as saturated.
    """
    examples, units = next(iter(looks.values())).shape
    figure = Figure(figsize=(max(8, 6 * len(looks)), 8), layout="constrained")
    figure.suptitle(f"hidden units: {units:,}, examples: {examples:,}; white: saturated, |h| > {bound}")
    shown = min(units, MOST_UNITS)
    # Where there are more units than pixels side by side, "nearest" would leave some out.
    interpolation = "nearest" if shown <= PIXELS else "antialiased"
    rows = figure.subplots(2, len(looks), squeeze=False, sharey="row", height_ratios=[3, 2])
    for column, (when, flat) in enumerate(looks.items()):
        shares = flat.double().mean(dim=0).numpy()  # (hidden,)
        dead = flat.all(dim=0).numpy()  # (hidden,)
        picture, histogram = rows[0, column], rows[1, column]
        pixels = flat[:, :shown].float().numpy()
        picture.imshow(pixels, cmap="gray", vmin=0, vmax=1, aspect="auto", interpolation=interpolation)
        (marks,) = picture.plot(
            np.flatnonzero(dead[:shown]),
            np.full(dead[:shown].sum(), 1.015),
            "v",
            transform=picture.get_xaxis_transform(),
            clip_on=False,
            color="#d94801",
            markersize=max(2.0, min(6.0, 600 / shown)),
        )
        marks.set_in_layout(False)
        saturated = f"{when}: {100 * shares.mean():.0f} % saturated"
        picture.set_title(f"{saturated}, {dead.sum():,} of {units:,} units dead", pad=12)
        picture.set_xlabel("hidden unit" if shown == units else f"hidden unit, the first {shown:,}")
        picture.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        picture.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        picture.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        histogram.hist(
            [shares[~dead], shares[dead]],
            bins=list(np.linspace(0, 1, 21)),
            stacked=True,
            color=["#9ecae1", "#d94801"],
            label=["alive", "dead: saturated for every example"],
        )
        histogram.set_xlabel("share of the examples that saturate a unit")
        histogram.yaxis.set_major_locator(MaxNLocator(integer=True))
        histogram.grid(alpha=0.3)
    rows[0, 0].set_ylabel("example")
    rows[1, 0].set_ylabel("hidden units")
    figure.legend(*rows[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def update_ratio(steps: Sequence[int], ratios: Mapping[str, Sequence[float]]) -> Figure:
    """How far single steps move each weight matrix, against its own size.

    Args:
        steps: when the measured steps had been taken.
        ratios: log10 of std(update) / std(weights) at each of them, by parameter.
    """
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.add_subplot()
    for color, (name, values) in zip(colors(ratios), ratios.items(), strict=True):
        axes.plot(steps, values, marker(len(steps)) + "-", color=color, linewidth=0.9, label=name)
    axes.axhline(-3, color="black", linestyle="--", linewidth=1.2, label="a thousandth: about right")
    axes.set_title("how far one step moves the weights, against their own size")
    axes.set_ylabel("log10 of std(update) / std(weights)")
    _step_axis(axes)
    for handle in figure.legend(loc="outside lower center", ncols=6).get_lines():
        handle.set_linewidth(2)
    return figure


def scales(
    steps: Sequence[int],
    weights: Mapping[str, Sequence[float]],
    gradients: Mapping[str, Sequence[float]],
    last_weights: Mapping[str, Tensor],
    last_gradients: Mapping[str, Tensor],
) -> Figure:
    """The size of every parameter and of its gradient over time, and the distribution of their entries at the end.

    Args:
        steps: optimizer steps taken at each look.
        weights: the root mean square of each parameter at each look.
        gradients: the same of each parameter's gradient.
        last_weights: each parameter at the end.
        last_gradients: each parameter's gradient at the end.
    """
    count = len(last_weights)
    figure = Figure(figsize=(max(11.0, 2.4 * count), 9), layout="constrained")
    halves = figure.add_gridspec(2, 1)
    curves, histograms = halves[0].subgridspec(1, 2), halves[1].subgridspec(2, count)
    for column, (title, sizes) in enumerate((("weights and biases", weights), ("their gradients", gradients))):
        axes = figure.add_subplot(curves[column])
        for color, (name, values) in zip(colors(sizes), sizes.items(), strict=True):
            axes.plot(steps, np.log10(values), marker(len(steps)) + "-", color=color, linewidth=1.2, label=name)
        axes.set_title(f"size of {title}")
        axes.set_ylabel("log10 of the root mean square")
        _step_axis(axes)
    legend = figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=count)
    for handle in legend.get_lines():
        handle.set_linewidth(2)
    for row, (kind, tensors) in enumerate((("entries", last_weights), ("gradients", last_gradients))):
        for column, (color, (name, tensor)) in enumerate(zip(colors(tensors), tensors.items(), strict=True)):
            axes = figure.add_subplot(histograms[row, column])
            entries = tensor.flatten().double().numpy()
            entries = entries[np.isfinite(entries)]
            # Fewer bars for fewer entries: of 27 biases forty would make a comb.
            axes.hist(entries, bins=min(40, max(5, round(2 * math.sqrt(len(entries))))), color=color)
            axes.set_title(f"{name}: {kind} at the end", fontsize=10)
            axes.xaxis.set_major_locator(MaxNLocator(3))
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
            axes.grid(alpha=0.3)
            if column == 0:
                axes.set_ylabel("how many")
            if len(entries) == 0:
                axes.text(0.5, 0.5, "not numbers", ha="center", transform=axes.transAxes)
                axes.set_xticks([])
                axes.set_yticks([])
    return figure


def colors(names: Iterable[str]) -> list[str]:
    """A colour for each parameter, the same in every figure for those of the lecture's network."""
    others = cycle(OTHER_COLORS)
    return [COLORS.get(name) or next(others) for name in names]


def marker(points: int) -> str:
    """A dot for each point of a curve that has so few that a line alone would hide how few."""
    return "." if points <= FEW_POINTS else ""


def _step_axis(axes: Axes) -> None:
    """Whole steps, with commas between thousands."""
    left, right = axes.get_xlim()
    if right - left < 1:  # a single point
        axes.set_xlim(left - 1, right + 1)
    axes.set_xlabel("optimizer step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(alpha=0.3)


def embedding(C: Tensor, vocabulary: Vocabulary) -> Figure:
    """The tokens at their place in C: in its own two dimensions if it has two, else in a PCA projection.

    Args:
        C: (vocabulary, emb_dim) the embedding table.
        vocabulary: the tokens, for labels; vowels are coloured.
    """
    places, title, axis_names = projected(C.detach().cpu().double())
    count = len(vocabulary)
    labelled = count <= MOST_LABELS
    diameter = max(3.0, 16 * min(1.0, math.sqrt(27 / count)))  # points
    true = places.numpy()  # (vocabulary, 2)
    shown = apart(true, diameter / 72 / AXES_INCHES) if labelled else true
    figure = Figure(figsize=(8, 8), layout="constrained")
    axes = figure.add_subplot()
    extent = np.maximum(np.ptp(true, axis=0), 1e-12)
    # Only of dots that have left their place altogether.
    moved = np.linalg.norm((shown - true) / extent, axis=1) > 0.5 * diameter / 72 / AXES_INCHES
    if moved.any():
        lines = np.stack([true[moved], shown[moved]], axis=1).transpose(2, 1, 0)  # (2, 2, moved)
        axes.plot(*lines, color="#555555", linewidth=0.8, zorder=2.5)
        axes.plot(*true[moved].T, ".", color="#555555", markersize=4, zorder=2.5, label="true place, where moved apart")
    vowel = np.array([is_vowel(token) for token in vocabulary.tokens])
    for chosen, color, name in ((~vowel, "#9ecae1", "other"), (vowel, "#fdae6b", "vowel")):
        if chosen.any():
            x, y = shown[chosen].T
            axes.scatter(x, y, s=diameter**2, c=color, label=name, edgecolors="white", linewidths=0.5, zorder=2)
    for i in range(count if labelled else 0):
        label = drawable(vocabulary.label(i))
        # A code point in place of a character is written smaller.
        size = max(2.0, 0.75 * diameter / (1 if len(label) <= 2 else 0.45 * len(label)))
        axes.text(shown[i, 0], shown[i, 1], label, ha="center", va="center", fontsize=size, zorder=3, clip_on=True)
    if not labelled:
        title += f"\n{count:,} tokens are too many to label here; TensorBoard's projector names them"
    axes.set_title(title)
    axes.set_xlabel(axis_names[0])
    axes.set_ylabel(axis_names[1])
    axes.grid(alpha=0.3)
    axes.margins(0.08)
    if vowel.any() or moved.any():
        legend = figure.legend(loc="outside lower center", ncols=3)
        for handle in legend.legend_handles:
            if isinstance(handle, PathCollection):
                handle.set_sizes([80])
    return figure


def heat_map(values: Tensor, texts: Sequence[Sequence[str]], vocabulary: Vocabulary, title: str) -> Figure:
    """What follows each token: a row for the token, a column for the next, in every cell the pair and a text.

    Args:
        values: (vocabulary, vocabulary) at least 0, shown as colour.
        texts: the same shape, shown below each pair.
        vocabulary: whose tokens they are.
        title: what the numbers are.
    """
    labels = [drawable(vocabulary.label(i)) for i in range(len(vocabulary))]
    side = max(4.0, 0.6 * len(labels))
    figure = Figure(figsize=(side, side + 0.4), layout="constrained")
    axes = figure.add_subplot()
    # Under the square root small numbers can be told from none.
    shades = values.double().sqrt().numpy()
    axes.imshow(shades, cmap="Blues")
    dark = 0.6 * shades.max()
    for i, first in enumerate(labels):
        for j, second in enumerate(labels):
            colour = "white" if shades[i, j] > dark else "0.2"
            axes.text(j, i, f"{first}{second}", ha="center", va="bottom", color=colour, fontsize=8)
            axes.text(j, i, texts[i][j], ha="center", va="top", color=colour, fontsize=7)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(length=0, labeltop=True)
    axes.set_xlabel("next character")
    axes.set_ylabel("character")
    axes.set_title(title)
    return figure


def context_table(table: Sequence[context_table_.Row]) -> Figure:
    """Left, how many contexts there are and how many were seen; right, what that does to the dev loss."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    counts, losses = figure.subplots(1, 2)
    lengths = [row.length for row in table]
    counts.plot(lengths, [row.possible for row in table], "o-", color="0.6", label="rows of the table")
    counts.plot(lengths, [row.seen for row in table], "o-", color="#08519c", label="rows ever seen")
    for row in table:
        counts.annotate(
            f"{100 * row.seen / row.possible:.2g} %" if row.seen < row.possible else "all",
            (row.length, row.seen),
            xytext=(0, -13),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color="#08519c",
        )
    counts.set_yscale("log")
    counts.set_xlim(lengths[0] - 0.4, lengths[-1] + 0.4)
    counts.set_ylim(bottom=min(row.seen for row in table) / 4)
    counts.set_title("the table, and the share of it that was seen")
    losses.plot(lengths, [row.add_one for row in table], "o-", color="#d94801", label="one more of everything")
    losses.plot(lengths, [row.kneser_ney for row in table], "o-", color="#08519c", label="Kneser-Ney")
    losses.set_ylabel("dev loss, nats per token")
    # Beside the loss, the share of dev that has one: over all of dev the loss of the counts alone is infinite.
    unsmoothed = [row.unsmoothed for row in table]
    losses.plot(lengths, unsmoothed, "o--", color="0.6", label="counts alone, where they allow it")
    for row in table:
        losses.annotate(
            f"{100 * (1 - row.unknown - row.impossible):.3g} %",
            (row.length, row.unsmoothed),
            xytext=(-8, -14),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color="0.4",
        )
    losses.set_ylim(bottom=min(unsmoothed) - 0.12)
    losses.set_title("dev loss, and the share that counts alone allow")
    losses.set_xlim(lengths[0] - 0.4, lengths[-1] + 0.4)
    for axes in (counts, losses):
        axes.set_xlabel("tokens in a context")
        axes.set_xticks(lengths)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncol=3, fontsize=8)
    return figure


def is_vowel(character: str) -> bool:
    """Whether a letter of a common alphabet, with or without accents, is a vowel."""
    return unicodedata.normalize("NFD", character.lower())[0] in VOWELS


def apart(places: Places, distance: float) -> Places:
    """Moves places that lie nearer to each other than a distance apart, no further than they have to.

    Args:
        places: (N, 2).
        distance: the least distance, as a share of the places' extent on each axis.

    Returns:
        (N, 2) the same places where nothing was near.
    """
    extent = np.ptp(places, axis=0)
    extent[extent == 0] = 1
    p = (places - places.min(axis=0)) / extent
    nobody = np.eye(len(p), dtype=bool)
    # Of two at the very same place each goes its own way, the same way every time.
    angle = np.arange(len(p))[:, None] - np.arange(len(p))[None]  # (N, N)
    way = np.sign(angle)[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)  # (N, N, 2)
    for _ in range(500):
        between = p[:, None] - p[None]  # (N, N, 2)
        length = np.linalg.norm(between, axis=-1)  # (N, N)
        lacking = np.where(nobody, 0, np.maximum(0, distance - length))  # (N, N)
        if lacking.max() < 0.02 * distance:
            break
        unit = np.where(length[..., None] > 1e-9, between / np.maximum(length, 1e-9)[..., None], way)
        p = p + 0.5 * (lacking[..., None] * unit).sum(axis=1)
    moved = p * extent + places.min(axis=0)
    return np.where(np.abs(moved - places) > 1e-12, moved, places)


def projected(C: Tensor) -> tuple[Tensor, str, tuple[str, str]]:
    """Where to draw each row of C: (vocabulary, 2), with a title and the axes' names that say what is seen."""
    tokens, dimensions = C.shape
    if dimensions == 1:
        heights = C[:, 0].argsort().argsort().remainder(9).to(C).unsqueeze(1)  # (vocabulary, 1) neighbours differ
        axes = "C[:, 0]", "height: only to keep the letters apart"
        return torch.cat([C, heights], dim=1), "embedding C (its only dimension)", axes
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
