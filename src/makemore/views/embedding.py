"""embedding.png: the tokens at their places in the embedding table."""

import math
from typing import Any

import lightning.pytorch as L
import torch
from matplotlib.figure import Figure
from torch import Tensor

from makemore.config.schema import Level
from makemore.data.vocabulary import UNKNOWN, Vocabulary
from makemore.inference.projection import is_vowel, project
from makemore.views import style
from makemore.views.show import show

MOST_LABELS = 300  # more would cover each other
MOST_WORDS = 500  # of a vocabulary of words the most common ones are drawn
WORD, AXES = 8, 880  # the size of a word and the side of the space between the outermost ones, in points


class Embedding(L.Callback):
    """Draws the embedding table at the end, if the model has one."""

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        C, vocabulary = pl_module.model.embedding(), pl_module.vocabulary  # (vocabulary, emb_dim)
        if C is None or not C.isfinite().all():
            return
        C = C.detach().cpu()
        words = vocabulary.level is Level.word
        show(trainer, pl_module, "embedding", draw_words(C, vocabulary) if words else draw(C, vocabulary))


def draw(C: Tensor, vocabulary: Vocabulary) -> Figure:
    """The tokens at their places in C (vocabulary, emb_dim); vowels are coloured."""
    places, title, names = project(C.double())  # (vocabulary, 2)
    count = len(vocabulary)
    diameter = max(3.0, 16 * min(1.0, math.sqrt(27 / count)))  # points
    figure = Figure(figsize=(8, 8), layout="constrained")
    axes = figure.add_subplot()
    vowel = torch.tensor([is_vowel(token) for token in vocabulary.tokens])
    for chosen, color, name in ((~vowel, style.LIGHT_BLUE, "other"), (vowel, style.LIGHT_ORANGE, "vowel")):
        x, y = places[chosen].T
        axes.scatter(x, y, s=diameter**2, c=color, label=name, edgecolors="white", linewidths=0.5)
    if count <= MOST_LABELS:
        for i, (x, y) in enumerate(places.tolist()):
            label = vocabulary.label(i)
            size = max(2.0, 0.75 * diameter / max(1, 0.45 * len(label)))  # an escape such as \t is written smaller
            axes.text(x, y, label, ha="center", va="center", fontsize=size, clip_on=True, parse_math=False)
    else:
        title += f"\n{count:,} tokens are too many to label here; TensorBoard's projector names them"
    axes.set(title=title, xlabel=names[0], ylabel=names[1])
    axes.grid(alpha=0.3)
    axes.margins(0.08)
    if vowel.any():
        style.add_legend(figure, axes)
    return figure


def draw_words(C: Tensor, vocabulary: Vocabulary) -> Figure:
    """The most common words at their places in C (vocabulary, emb_dim), named unless a more common one is there."""
    words = [i for i in range(1, len(vocabulary)) if vocabulary.tokens[i] != UNKNOWN][:MOST_WORDS]
    places, title, names = project(C[words].double())  # (words, 2)
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
    axes.set(title=f"the {len(words):,} most common words; {title}", xlabel=names[0], ylabel=names[1])
    axes.grid(alpha=0.3)
    axes.margins(0.03)
    return figure
