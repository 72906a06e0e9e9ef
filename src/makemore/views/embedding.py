"""embedding.png: the tokens at their places in the embedding table."""

import math
from typing import Any

import lightning.pytorch as L
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from torch import Tensor

from makemore.config.schema import Level
from makemore.data.vocabulary import UNKNOWN, Vocabulary
from makemore.inference.projection import Layout, is_vowel, project
from makemore.views import style, tsne
from makemore.views.show import show

MOST_LABELS = 300  # more would cover each other
MOST_WORDS = 500  # of a vocabulary of words the most common ones are drawn
COLORS = {"vowel": style.LIGHT_ORANGE, "other": style.LIGHT_BLUE, "boundary": style.LIGHT_GREY}
FEWEST_MAPPED, MOST_MAPPED = 5, 1000  # tokens; fewer have no neighbours to speak of, more take too long
NEAREST = 3  # neighbours that a map should keep
WORD, AXES = 8, 880  # the size of a word and the side of the space between the outermost ones, in points

Dots = list[tuple[PathCollection, list[int]]]  # those of a kind, with the ids of their tokens


class Embedding(L.Callback):
    """Draws the embedding table at the end, if the model has one."""

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        C, vocabulary = pl_module.model.embedding(), pl_module.vocabulary  # (vocabulary, emb_dim)
        if C is None or not C.isfinite().all():
            return
        C = C.detach().cpu()
        if vocabulary.level is Level.char:
            show(trainer, pl_module, "embedding", draw(C, vocabulary))
        elif len(words := find_common(vocabulary)) > 1:
            show(trainer, pl_module, "embedding", draw_words(C, vocabulary, words))


@style.styled
def draw(C: Tensor, vocabulary: Vocabulary) -> Figure:
    """The tokens at their places in C (vocabulary, emb_dim); vowels and the boundary are coloured."""
    layout = lay_out(C.double())
    figure = Figure(figsize=(8, 8), layout="constrained")
    axes = figure.add_subplot()
    mark_tokens(axes, vocabulary, layout.places)
    title = layout.title
    if len(vocabulary) > MOST_LABELS:
        title += f"\n{len(vocabulary):,} tokens are too many to label here; TensorBoard's projector names them"
    label_axes(axes, layout._replace(title=title))
    style.add_legend(figure, axes)
    return figure


def mark_tokens(axes: Axes, vocabulary: Vocabulary, places: Tensor) -> tuple[Dots, list[Text]]:
    """Draws each token at its place (vocabulary, 2): dots for each kind, and labels, if they are not too many."""
    count = len(vocabulary)
    diameter = max(3.0, 19 * min(1.0, math.sqrt(27 / count)))  # points
    dots, labels = [], list[Text]()
    for kind, chosen in find_kinds(vocabulary).items():
        x, y = places[chosen].T
        drawn = axes.scatter(x, y, s=diameter**2, c=COLORS[kind], label=kind, edgecolors="white", linewidths=0.5)
        dots.append((drawn, chosen))
    for i, (x, y) in enumerate(places.tolist() if count <= MOST_LABELS else []):
        label = vocabulary.label(i)
        size = max(2.0, 0.75 * diameter / max(1, 0.45 * len(label)))  # an escape such as \t is written smaller
        labels.append(axes.text(x, y, label, ha="center", va="center", fontsize=size, clip_on=True, parse_math=False))
    return dots, labels


def find_kinds(vocabulary: Vocabulary) -> dict[str, list[int]]:
    """The ids of the vowels, of other tokens, and of the boundary, so far as there are any."""
    kinds: dict[str, list[int]] = {"vowel": [], "other": [], "boundary": [0]}
    for i, token in list(enumerate(vocabulary.tokens))[1:]:
        kinds["vowel" if is_vowel(token) else "other"].append(i)
    return {kind: ids for kind, ids in kinds.items() if ids}


def find_common(vocabulary: Vocabulary) -> list[int]:
    """The ids of the most common words."""
    return [i for i in range(1, len(vocabulary)) if vocabulary.tokens[i] != UNKNOWN][:MOST_WORDS]


@style.styled
def draw_words(C: Tensor, vocabulary: Vocabulary, words: list[int]) -> Figure:
    """Words, the most common first, at their places in C (vocabulary, emb_dim), named unless one before is there."""
    layout = lay_out(C[words].double())
    places = layout.places  # (words, 2)
    figure = Figure(figsize=(14, 14), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(places[:, 0], places[:, 1], s=4, c=style.LIGHT_BLUE)
    least, most = places.min(0).values, places.max(0).values
    corners = (places - least) / (most - least).clamp(min=1e-12) * AXES  # (words, 2) points
    named: list[tuple[float, float, float]] = []  # middle, bottom and half the width, in points
    for i, (x, y), (middle, bottom) in zip(words, places.tolist(), corners.tolist(), strict=True):
        label = vocabulary.label(i)
        half = 0.3 * WORD * len(label)
        if any(abs(middle - m) < half + h and abs(bottom - b) < 1.1 * WORD for m, b, h in named):
            continue
        named.append((middle, bottom, half))
        axes.text(x, y, label, fontsize=WORD, ha="center", va="bottom", clip_on=True, parse_math=False)
    label_axes(axes, layout._replace(title=f"the {len(words):,} most common words; {layout.title}"))
    axes.margins(0.03)
    return figure


def label_axes(axes: Axes, layout: Layout) -> None:
    axes.set_title(layout.title)
    axes.margins(0.08)
    if layout.names is None:
        axes.set(xticks=[], yticks=[])
    else:
        axes.set(xlabel=layout.names[0], ylabel=layout.names[1])


def lay_out(C: Tensor) -> Layout:
    """Where to draw each row of C (tokens, dimensions): a map by t-SNE if there are more dimensions than two."""
    projected = project(C)
    tokens, dimensions = C.shape
    if dimensions <= 2 or not FEWEST_MAPPED <= tokens <= MOST_MAPPED:
        return projected
    places = tsne.arrange(C, projected.places)
    kept = 100 * tsne.measure_kept(C, places, NEAREST)
    title = (
        f"embedding C: its {dimensions} dimensions by t-SNE; near means alike, far means nothing\n"
        f"of every token's {NEAREST} nearest in {dimensions} dimensions {kept:.0f} % are its nearest here"
    )
    return Layout(places, title, None)
