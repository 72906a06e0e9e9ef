"""embedding.gif: how the tokens move to their places in the embedding table, from the first weights to the last."""

import io
import math
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as L
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from makemore import files
from makemore.data.vocabulary import Vocabulary
from makemore.inference import tsne
from makemore.inference.projection import MOST_LABELS, Placement, lay_out, move_apart
from makemore.views import style
from makemore.views.show import View, folder
from makemore.views.tokens import choose_diameter, mark_tokens

FRAMES = 60  # at most, in a run
FRAME, PAUSE = 100, 3000  # milliseconds that a frame is shown, and the last one
FOLLOWING = 60  # steps of t-SNE from one frame to the next
SIDE = 340  # of the space between the outermost tokens, in points, in a figure of 5.4 by 5.8 inches

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


def follow_back(tables: Tables) -> dict[int, Placement]:
    """Where to draw the tokens at each step: in the end where `embedding.png` has them.

    A map by t-SNE begins from that of the step after it, so that tokens move little from frame to frame.
    """
    latest, *earlier = sorted(tables, reverse=True)
    layout = lay_out(tables[latest].double())
    layouts = {latest: layout}
    for step in earlier:
        C = tables[step].double()
        mapped = layout.axes is None
        layout = layout._replace(places=tsne.move_places(C, layout.places, FOLLOWING)) if mapped else lay_out(C)
        layouts[step] = layout
    return layouts


@style.styled
def film(tables: Tables, vocabulary: Vocabulary) -> bytes:
    """A GIF with a frame for each of the tables; each fills its frame, because tables grow, and maps have no scale."""
    layouts = follow_back(tables)
    apart = 0.95 * choose_diameter(vocabulary) / SIDE
    figure = Figure(figsize=(5.4, 5.8), layout="constrained")
    axes = figure.add_subplot()
    dots, labels = mark_tokens(axes, vocabulary, layouts[max(layouts)].places)
    axes.set(xticks=[], yticks=[])
    style.add_legend(figure, axes)
    frames = []
    for step, layout in sorted(layouts.items()):
        places = move_apart(layout.places, apart)  # (vocabulary, 2)
        for kind, ids in dots:
            kind.set_offsets(places[ids])
        for label, place in zip(labels, places.tolist(), strict=True):
            label.set_position(place)
        least, most = places.min(0).values, places.max(0).values
        margin = 0.06 * (most - least).clamp(min=1e-12)
        (left, bottom), (right, top) = (least - margin).tolist(), (most + margin).tolist()
        axes.set(xlim=(left, right), ylim=(bottom, top))
        by = "" if layout.axes else ", by t-SNE"
        axes.set_title(f"embedding C after {step:,} steps{by}")
        frames.append(Image.open(io.BytesIO(style.render(figure))).convert("RGB"))
    file = io.BytesIO()
    durations = [FRAME] * (len(frames) - 1) + [PAUSE]
    frames[0].save(file, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return file.getvalue()
