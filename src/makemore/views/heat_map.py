"""bigram.png: what follows each character, in a run whose model sees one character."""

import logging
from typing import Any

import lightning.pytorch as L
import torch
from matplotlib.figure import Figure
from torch import Tensor

from makemore.config.status import Status
from makemore.data.vocabulary import Vocabulary
from makemore.models.base import evaluating
from makemore.views import style
from makemore.views.show import show

log = logging.getLogger(__name__)

MOST_TOKENS = 64  # with more, nobody could read the numbers


class HeatMap(L.Callback):
    """Draws all pairs of tokens at the end: counts for a model that counts, for any other its probabilities."""

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if pl_module.block_size != 1 or pl_module.status == Status.diverged:
            return
        size = len(pl_module.vocabulary)
        if size > MOST_TOKENS:
            log.info(f"bigram.png is only drawn for up to {MOST_TOKENS} tokens; this vocabulary has {size:,}")
            return
        with evaluating(pl_module.model), torch.no_grad():
            pairs = pl_module.model.pairs(pl_module.data.train)  # (vocabulary, vocabulary)
        show(trainer, pl_module, "bigram", draw(pairs.cpu(), pl_module.vocabulary))


@style.styled
def draw(pairs: Tensor, vocabulary: Vocabulary) -> Figure:
    """A row for each token, a column for the next one. (vocabulary, vocabulary) integer counts, or probabilities"""
    if pairs.is_floating_point():
        title = f"how likely each {vocabulary.level} follows, in percent"
        texts = [[f"{100 * p:.1f}" if p >= 5e-4 else "0" for p in row] for row in pairs.tolist()]
    else:
        title = "how often each pair occurs"
        texts = [[str(count) for count in row] for row in pairs.tolist()]
    labels = [vocabulary.label(i) for i in range(len(vocabulary))]
    side = max(4.0, 0.6 * len(labels))
    figure = Figure(figsize=(side, side + 0.4), layout="constrained")
    axes = figure.add_subplot()
    shades = pairs.double().sqrt().numpy()  # the square root tells small numbers from none
    axes.imshow(shades, cmap="Blues")
    dark = 0.55 * shades.max()
    for i, first in enumerate(labels):
        for j, second in enumerate(labels):
            color = "white" if shades[i, j] > dark else style.TEXT
            axes.text(j, i, first + second, ha="center", va="bottom", color=color, fontsize=10, parse_math=False)
            axes.text(j, i, texts[i][j], ha="center", va="top", color=color, fontsize=9)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(range(len(labels)), labels, parse_math=False)
    axes.tick_params(length=0, labeltop=True)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set(title=title, xlabel=f"next {vocabulary.level}", ylabel=str(vocabulary.level))
    return figure
