"""embedding.png: the tokens at their places in the embedding table."""

from typing import Any

import lightning.pytorch as L
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from makemore.config.schema import Level
from makemore.data.vocabulary import UNKNOWN, Vocabulary
from makemore.inference.projection import MOST_LABELS, Placement, lay_out, move_apart
from makemore.views import style
from makemore.views.show import show
from makemore.views.tokens import choose_diameter, mark_tokens

MOST_WORDS = 500  # of a vocabulary of words the most common ones are drawn
SIDE = 460  # of the space between the outermost tokens, in points, in a figure of 8 by 8 inches
WORD, AXES = 8, 880  # the size of a word, and the side of the space for words in a figure of 14 by 14 inches, in points


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
    labelled = len(vocabulary) <= MOST_LABELS
    shown = move_apart(layout.places, 0.95 * choose_diameter(vocabulary) / SIDE) if labelled else layout.places
    # From where a token is to where its dot has been moved.
    for place, moved in zip(layout.places.tolist(), shown.tolist(), strict=True):
        axes.plot(*zip(place, moved, strict=True), color=style.FRAME, linewidth=1, zorder=0)
    mark_tokens(axes, vocabulary, shown)
    title = layout.title
    if not labelled:
        title += f"\n{len(vocabulary):,} tokens are too many to label here; TensorBoard's projector names them"
    label_axes(axes, layout._replace(title=title))
    style.add_legend(figure, axes)
    return figure


def find_common(vocabulary: Vocabulary) -> list[int]:
    """The ids of the most common words and punctuation marks; words are sorted by how often they occur."""
    return [i for i in range(1, len(vocabulary)) if vocabulary.tokens[i] != UNKNOWN][:MOST_WORDS]


@style.styled
def draw_words(C: Tensor, vocabulary: Vocabulary, words: list[int]) -> Figure:
    """Words, the most common first, at their places in C (vocabulary, emb_dim), each named if there is room left."""
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


def label_axes(axes: Axes, layout: Placement) -> None:
    axes.set_title(layout.title)
    axes.margins(0.08)
    if layout.axes is None:
        axes.set(xticks=[], yticks=[])
    else:
        axes.set(xlabel=layout.axes[0], ylabel=layout.axes[1])
