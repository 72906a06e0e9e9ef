"""The embedding table in TensorBoard at every evaluation: a small picture, which its slider moves, and the projector.

The projector reads tables of text from `projector/` in the run's folder; it colours and labels points by the columns of
`metadata.tsv`. Pictures are drawn by Pillow, in a fiftieth of the time of a figure.
"""

import io
import math
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from makemore.data.vocabulary import Vocabulary
from makemore.inference.projection import move_apart, project
from makemore.views.show import View, show_png, writers
from makemore.views.tokens import choose_color, name_kind

FOLDER, CONFIG, METADATA = "projector", "projector_config.pbtxt", "metadata.tsv"
MOST_NUMBERS = 20_000  # of a table that is shown at every evaluation; a larger one takes time and space
MOST_TOKENS = 60  # in a picture, the most frequent ones
SIDE, MARGIN, RADIUS, TITLE = 480, 30, 12, 20  # of a picture and of a token in it, in pixels


class Projector(View):
    kept = ("_steps", "_places")

    def __init__(self) -> None:
        self._steps: list[int] = []  # taken before each table
        self._places = torch.empty(0)  # of the tokens in the last picture, (tokens, 2)

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        for writer in writers(trainer):
            remove_tables(Path(writer.log_dir), self._steps)
        self._counts = pl_module.data.train.count_targets(len(pl_module.vocabulary))  # (vocabulary,)

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        C = pl_module.model.embedding()  # (vocabulary, dimensions)
        if C is None or C.numel() > MOST_NUMBERS or not writers(trainer) or not C.isfinite().all():
            return
        C = C.detach().cpu()
        self._write(trainer, pl_module, C)
        shown = self._counts.argsort(descending=True, stable=True)[:MOST_TOKENS]
        # By PCA, because a map by t-SNE would take as long as thousands of steps.
        projected = project(C[shown].double())
        self._places = follow(projected.places, self._places, turn=C.shape[1] > 2)  # two dimensions are their own axes
        labels = [pl_module.vocabulary.label(i) for i in shown.tolist()]
        colors = [choose_color(name_kind(pl_module.vocabulary, i)) for i in shown.tolist()]
        show_png(trainer, pl_module, "embedding_while_learning", draw(self._places, projected.title, labels, colors))

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        C = pl_module.model.embedding()
        if C is not None and pl_module.steps_taken not in self._steps and C.isfinite().all():
            self._write(trainer, pl_module, C.detach().cpu())

    def _write(self, trainer: L.Trainer, pl_module: Any, C: Tensor) -> None:
        self._steps.append(pl_module.steps_taken)
        for writer in writers(trainer):
            folder = Path(writer.log_dir)
            (folder / FOLDER).mkdir(exist_ok=True)
            table = io.StringIO()
            np.savetxt(table, C.numpy(), fmt="%.6g", delimiter="\t")
            (folder / FOLDER / name_table(pl_module.steps_taken)).write_text(table.getvalue())
            if len(self._steps) == 1:
                tokens = describe_tokens(pl_module.vocabulary, self._counts)
                (folder / FOLDER / METADATA).write_text(tokens, encoding="utf-8")
            (folder / CONFIG).write_text(describe_tables(self._steps))


def name_table(steps: int) -> str:
    return f"C-{steps}.tsv"


def remove_tables(folder: Path, steps: Collection[int]) -> None:
    """Removes the tables of all other steps: a resumed run has yet to take them."""
    kept = set(map(name_table, steps))
    for path in (folder / FOLDER).glob("C-*.tsv"):
        if path.name not in kept:
            path.unlink()


def describe_tables(steps: Collection[int]) -> str:
    """The projector's list of tables in protobuf's text format, the last table first, which it opens."""
    tables = [
        f'embeddings {{\n  tensor_name: "C after {step:,} steps"\n  tensor_path: "{FOLDER}/{name_table(step)}"\n'
        f'  metadata_path: "{FOLDER}/{METADATA}"\n}}\n'
        for step in sorted(steps, reverse=True)
    ]
    return "".join(tables)


def describe_tokens(vocabulary: Vocabulary, counts: Tensor) -> str:
    """A row for each token: its label, what kind it is, and how often it occurs in train. (vocabulary,) counts"""
    rows = [f"{vocabulary.label(i)}\t{name_kind(vocabulary, i)}\t{count}\n" for i, count in enumerate(counts.tolist())]
    return "".join(["token\tkind\tfrequency\n", *rows])


def follow(places: Tensor, before: Tensor, turn: bool) -> Tensor:
    """Places (tokens, 2), scaled to at most 1; turned to be as near as possible to those `before`, if there are any.

    The orthogonal Procrustes problem: https://en.wikipedia.org/wiki/Orthogonal_Procrustes_problem
    """
    centred = places - places.mean(0)
    centred = centred / centred.abs().max().clamp(min=1e-12)
    if turn and before.shape == centred.shape:
        u, _, vt = torch.linalg.svd(centred.T @ before)  # (2, 2) each
        centred = centred @ u @ vt
    return centred


def draw(places: Tensor, title: str, labels: list[str], colors: list[str]) -> bytes:
    """A PNG of tokens at their places (tokens, 2), which fill it, the first ones on top."""
    palette = {color: number for number, color in enumerate(["#ffffff", "#000000", *dict.fromkeys(colors)])}
    picture = Image.new("P", (SIDE, SIDE + TITLE), palette["#ffffff"])
    picture.putpalette(bytes.fromhex("".join(color[1:] for color in palette)))
    pen = ImageDraw.Draw(picture)
    pen.text((SIDE / 2, TITLE), title, font=load_font(13), anchor="mm", fill=palette["#000000"])
    places = move_apart(places, 2 * RADIUS / (SIDE - 2 * MARGIN))  # (tokens, 2)
    least, most = places.min(0).values, places.max(0).values
    pixels = MARGIN + (places - least) / (most - least).clamp(min=1e-12) * (SIDE - 2 * MARGIN)
    for (x, up), label, color in reversed(list(zip(pixels.tolist(), labels, colors, strict=True))):
        y = SIDE + TITLE - up
        pen.ellipse((x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS), fill=palette[color])
        size = RADIUS * 1.5 / math.sqrt(len(label))
        pen.text((x, y), label, font=load_font(size), anchor="mm", fill=palette["#000000"])
    png = io.BytesIO()
    picture.save(png, "PNG")
    return png.getvalue()


@cache
def load_font(size: float) -> ImageFont.FreeTypeFont:
    """Matplotlib's own font."""
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), size)
