"""embedding.gif: how the tokens move to their places in the embedding table, from the first weights to the last."""

import io
import math
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as L
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from makemore import files
from makemore.data.vocabulary import Vocabulary
from makemore.views import style, tsne
from makemore.views.show import View, folder
from makemore.views.tokens import MOST_LABELS, lay_out, mark_tokens

FRAMES = 60  # at most, in a run
FRAME, PAUSE = 100, 3000  # milliseconds that a frame is shown, and the last one
FOLLOWING = 60  # steps of t-SNE from one frame to the next

Tables = Mapping[int, Tensor]  # (vocabulary, emb_dim) by steps taken


class Film(View):
    """Keeps the table at up to `FRAMES` steps, which are closer together early on; draws the film at the end."""

    kept = ("_tables",)

    def __init__(self) -> None:
        self._tables: dict[int, Tensor] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        if not self._tables:
            self._keep(pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *_: Any) -> None:
        # The square roots of frames' steps are evenly spaced, because tokens move most at the beginning.
        if self._tables:
            latest, taken = (math.sqrt(step / pl_module.steps) for step in (max(self._tables), pl_module.steps_taken))
            if taken >= latest + 1 / FRAMES:
                self._keep(pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if self._tables:
            self._keep(pl_module)
        if len(self._tables) > 1:
            with files.replace(folder(trainer) / "embedding.gif") as beside:
                beside.write_bytes(film(self._tables, pl_module.vocabulary))

    def _keep(self, pl_module: Any) -> None:
        C = pl_module.model.embedding()  # (vocabulary, emb_dim)
        if C is not None and len(C) <= MOST_LABELS and C.isfinite().all():
            self._tables[pl_module.steps_taken] = C.detach().cpu().clone()


def follow(tables: Tables) -> dict[int, Tensor]:
    """Where to draw the tokens at each step, (vocabulary, 2): in the end where `embedding.png` has them.

    A map by t-SNE begins from that of the step after it, so that tokens move no further than their vectors did.
    """
    last = max(tables)
    layout = lay_out(tables[last].double())
    places = {last: layout.places}
    for step in sorted(tables, reverse=True)[1:]:
        C = tables[step].double()
        if layout.names is None:
            places[step] = tsne.descend(C, places[last], FOLLOWING)
        else:
            places[step] = lay_out(C).places
        last = step
    return places


@style.styled
def film(tables: Tables, vocabulary: Vocabulary) -> bytes:
    """A GIF with a frame for each of the tables."""
    places = follow(tables)
    figure = Figure(figsize=(5.4, 5.8), layout="constrained")
    axes = figure.add_subplot()
    dots, labels = mark_tokens(axes, vocabulary, places[max(places)])
    # Initial weights are far apart: if the axes showed them all, the tokens would end in a heap.
    everywhere = torch.cat([places[step] for step in sorted(places)[len(places) // 2 :]])  # (frames * vocabulary, 2)
    least, most = everywhere.min(0).values, everywhere.max(0).values
    margin = 0.05 * (most - least)
    (left, bottom), (right, top) = (least - margin).tolist(), (most + margin).tolist()
    axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
    style.add_legend(figure, axes)
    frames = []
    for step in sorted(places):
        for kind, ids in dots:
            kind.set_offsets(places[step][ids])
        for label, place in zip(labels, places[step].tolist(), strict=True):
            label.set_position(place)
        axes.set_title(f"embedding C after {step:,} steps")
        frames.append(Image.open(io.BytesIO(style.render(figure))).convert("RGB"))
    file = io.BytesIO()
    durations = [FRAME] * (len(frames) - 1) + [PAUSE]
    frames[0].save(file, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return file.getvalue()
