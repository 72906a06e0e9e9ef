"""Which form of a step is fastest at which size: the crossovers behind `trainer=auto`.

    python -m benchmarks.forms

times one call of `loss_and_gradients` compiled and in closed form, each on one thread and on all cores, and with
products in bfloat16 where the processor has them, along three axes: hidden units for the lecture's minibatches and for
those of `experiment=best`, and the vocabulary for a network of words. Contexts are those of the bundled names; words
are drawn with Zipf's frequencies. Draws docs/forms.png, with a ring round what `auto` picks, and writes
results/forms.json.
"""

import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks import measuring
from makemore import machine
from makemore.data import corpus
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows
from makemore.models.mlp.config import Config, Gradients, Init
from makemore.models.mlp.model import Model
from makemore.training import execution
from makemore.views import style

ROOT = measuring.ROOT
ROUNDS = 5
SECONDS = 0.4  # of calls in a round, at least


class Axis(NamedTuple):
    """A panel: what is varied, its values, and the other sizes."""

    title: str
    varied: str
    values: tuple[int, ...]
    sizes: dict[str, int]


AXES = [
    Axis(
        "the lecture's minibatches of 32",
        "hidden",
        (50, 100, 200, 400, 800, 1600, 3200, 6400),
        {"vocabulary": 27, "block_size": 3, "emb_dim": 10, "rows": 32},
    ),
    Axis(
        "minibatches of 512, block 8, emb 64",
        "hidden",
        (64, 128, 256, 512, 1024, 2048, 4096),
        {"vocabulary": 27, "block_size": 8, "emb_dim": 64, "rows": 512},
    ),
    Axis(
        "words: hidden 100, block 5, emb 60, 256",
        "vocabulary",
        (100, 300, 1000, 3000, 9000, 18_000),
        {"hidden": 100, "block_size": 5, "emb_dim": 60, "rows": 256},
    ),
]
LABELS = {
    "compiled": "compiled, 1 thread",
    "compiled, threads": "compiled, {} threads",
    "closed": "closed form, 1 thread",
    "closed, threads": "closed form, {} threads",
    "bf16": "bfloat16 products, 1 thread",
}


def examples(vocabulary: int, block_size: int, rows: int) -> tuple[Tensor, Tensor]:
    """Contexts (rows, block_size) and targets (rows,)."""
    generator = torch.Generator().manual_seed(0)
    if vocabulary == 27:
        names = corpus.read(corpus.BUNDLED)
        windows = Windows.from_documents(names, Vocabulary.from_documents(names), block_size)
        return windows.gather(torch.randint(len(windows), (rows,), generator=generator))
    frequencies = 1 / torch.arange(1, vocabulary + 1)
    drawn = torch.multinomial(frequencies, rows * (block_size + 1), replacement=True, generator=generator)
    drawn = drawn.view(rows, -1)
    return drawn[:, :-1], drawn[:, -1]


def build(form: Gradients, hidden: int, vocabulary: int, block_size: int, emb_dim: int) -> Model:
    """A network with initial weights, which computes its steps in this form."""
    model = Model(Config("mlp", emb_dim, hidden, Init.kaiming, 0.0, form), vocabulary, block_size)
    model.initialize(torch.Generator().manual_seed(0))
    return model


def pace(model: Model, contexts: Tensor, targets: Tensor) -> float:
    """Milliseconds of a call: the median in a round."""
    times: list[float] = []
    until = time.perf_counter() + SECONDS
    model.loss_and_gradients(contexts, targets)
    while len(times) < 3 or time.perf_counter() < until:
        times.append(measuring.seconds(lambda: model.loss_and_gradients(contexts, targets)))
    return statistics.median(times) * 1e3


def measure(sizes: dict[str, int], cores: int) -> dict[str, float]:
    """Milliseconds of each form: the median of rounds, in each of which they take turns."""
    rows = sizes["rows"]
    shape = {name: size for name, size in sizes.items() if name != "rows"}
    contexts, targets = examples(shape["vocabulary"], shape["block_size"], rows)
    plans = {"compiled": (Gradients.compiled, 1), "closed": (Gradients.closed_form, 1)}
    if cores > 1:
        plans |= {"compiled, threads": (Gradients.compiled, cores), "closed, threads": (Gradients.closed_form, cores)}
    if execution.has_bfloat16(on_gpu=False):
        plans["bf16"] = (Gradients.closed_form, 1)
    times: dict[str, list[float]] = {name: [] for name in plans}
    for name, (form, threads) in ROUNDS * list(plans.items()):
        torch.set_num_threads(threads)
        model = build(form, **shape)
        model.product_dtype = torch.bfloat16 if name == "bf16" else None
        model.choose_form(rows, on_gpu=False, threads=threads)
        times[name].append(pace(model, contexts, targets))
    return {name: statistics.median(each) for name, each in times.items()}


def picked(sizes: dict[str, int], cores: int) -> str:
    """Which of the forms `auto` picks."""
    shape = {name: size for name, size in sizes.items() if name != "rows"}
    model = build(Gradients.auto, **shape)
    threads = execution.choose_threads(model.operations(sizes["rows"]), cores)
    form = model.choose_form(sizes["rows"], on_gpu=False, threads=threads)
    return ("compiled" if "compiled" in form else "closed") + (", threads" if threads > 1 else "")


@style.styled
def draw(table: dict[str, list[dict[str, Any]]], cores: int, path: Path) -> None:
    """A panel an axis: milliseconds of each form against the size."""
    figure = Figure(figsize=(15, 5.4), layout="constrained")
    for axes, axis in zip(figure.subplots(1, len(AXES)), AXES, strict=True):
        rows = table[axis.title]
        for name, label in LABELS.items():
            points = [(row[axis.varied], row["ms"][name]) for row in rows if name in row["ms"]]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", markersize=4, label=label.format(cores))
        chosen = [(row[axis.varied], row["ms"][row["picked"]]) for row in rows]
        axes.plot(
            *zip(*chosen, strict=True), "o", markersize=12, fillstyle="none", color=style.TEXT, label="what auto picks"
        )
        style.set_logarithmic(axes, "x")
        style.set_logarithmic(axes, "y")
        axes.set_title(axis.title)
        axes.set_xlabel("hidden units" if axis.varied == "hidden" else axis.varied)
        axes.set_xticks(axis.values[::2], [f"{value:,}" for value in axis.values[::2]])
    figure.axes[0].set_ylabel("one step, ms")
    style.add_legend(figure, figure.axes[0])
    style.save(figure, path)


def main() -> None:
    """Prints a line a point; writes results/forms.json and docs/forms.png."""
    cores = machine.most_threads()
    table: dict[str, list[dict[str, Any]]] = {}
    for axis in AXES:
        print(axis.title)
        for value in axis.values:
            sizes = axis.sizes | {axis.varied: value}
            times, auto = measure(sizes, cores), picked(sizes, cores)
            table.setdefault(axis.title, []).append({axis.varied: value, "ms": times, "picked": auto})
            line = "   ".join(f"{name} {ms:9.3f} ms" for name, ms in times.items())
            print(f"  {axis.varied} {value:>7,}   {line}   auto: {auto}", flush=True)
    print(measuring.machine())
    measuring.keep("forms", {"cores": cores, "axes": table})
    draw(table, cores, ROOT / "docs" / "forms.png")
    print("written: benchmarks/results/forms.json, docs/forms.png")


if __name__ == "__main__":
    main()
