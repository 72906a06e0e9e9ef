"""context_table.png: how the table of counts grows with the context, and what dev loss it gives.

A table for contexts of L tokens out of V has V^L rows: 27, 729, 19,683 and so on for characters. Fewer and fewer of
them are ever seen, so the counts say less and less about a new text; this is why lecture 2 turns to a network.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import lightning.pytorch as L
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from makemore import files
from makemore.config.schema import Level, TrainConfig
from makemore.data.windows import Windows
from makemore.errors import UserError
from makemore.models.base import rows_at_once
from makemore.models.ngram import counts as ngram
from makemore.models.ngram.config import Smoothing
from makemore.views import style
from makemore.views.show import folder, show

log = logging.getLogger(__name__)

LONGEST = 12  # almost no longer context is seen twice, and no figure could show how many there are
SMOOTHINGS = (Smoothing.none, Smoothing.add_k, Smoothing.kneser_ney)


class ContextTable(L.Callback):
    """Counts contexts of every length up to the block size: in the log, `context_table.json` and `.png`."""

    def check(self, config: TrainConfig) -> None:
        if config.data.block_size > LONGEST:
            given = f"data.block_size={config.data.block_size} is too long for callbacks.context_table"
            raise UserError(f"{given}, which counts contexts of every length: it must be at most {LONGEST}")

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        rows = count(pl_module.data.train, pl_module.data.dev, len(pl_module.vocabulary))
        table = list(tqdm(rows, "counting", total=pl_module.block_size, unit=" lengths", leave=False))
        log.info(f"\n{format_table(table)}")
        text = files.to_json([row._asdict() for row in table])
        files.write_text(folder(trainer) / "context_table.json", text + "\n")
        show(trainer, pl_module, "context_table", draw(table, pl_module.vocabulary.level))


class Row(NamedTuple):
    """The table for one length of context."""

    length: int  # tokens in a context
    possible: int  # rows of the table
    seen: int  # rows with a training example
    unknown: float  # share of dev examples whose context was never seen
    impossible: float  # share whose context was seen, but never with this target: without smoothing, infinite loss
    unsmoothed: float  # dev loss without smoothing over the others, in nats per token
    add_one: float  # dev loss with add-one smoothing
    kneser_ney: float  # dev loss with modified Kneser-Ney smoothing


def count(train: Windows, dev: Windows, vocabulary: int) -> Iterator[Row]:
    """Makes the tables for contexts of 1 token up to the windows' block size."""
    for length in range(1, train.block_size + 1):
        # A shorter context is the end of a longer one, so the stream serves both.
        short, short_dev = (Windows(windows.stream, length) for windows in (train, dev))
        models = {smoothing: ngram.fit(short, vocabulary, smoothing) for smoothing in SMOOTHINGS}
        losses = {smoothing: compute_losses(models[smoothing], short_dev, vocabulary) for smoothing in models}
        contexts, _ = short_dev.gather(torch.arange(len(short_dev)))
        known = ngram.lookup(models[Smoothing.none], contexts)[:, -1] >= 0  # (examples,)
        possible = known & losses[Smoothing.none].isfinite()  # (examples,)
        yield Row(
            length=length,
            possible=vocabulary**length,
            # Without smoothing only contexts of full length have targets.
            seen=int(models[Smoothing.none].starts.diff().count_nonzero()),
            unknown=float((~known).double().mean()),
            impossible=float((known & ~possible).double().mean()),
            unsmoothed=float(losses[Smoothing.none][possible].mean()),
            add_one=float(losses[Smoothing.add_k].mean()),
            kneser_ney=float(losses[Smoothing.kneser_ney].mean()),
        )


def compute_losses(trie: ngram.Trie, windows: Windows, vocabulary: int) -> Tensor:
    """The loss of every example, in nats: (examples,) float64."""
    losses = []
    for examples in torch.split(torch.arange(len(windows)), rows_at_once(vocabulary, torch.device("cpu"))):
        contexts, targets = windows.gather(examples)
        losses.append(F.nll_loss(ngram.logits(trie, contexts), targets, reduction="none").double())  # (rows,)
    return torch.cat(losses)


def format_table(table: Sequence[Row]) -> str:
    head = (
        f"{'context':>8}{'rows':>24}{'seen':>10}{'share':>10}   {'dev: +1':>8}{'Kneser-Ney':>12}   "
        "without smoothing: unknown, impossible, the rest"
    )
    lines = [
        f"{row.length:8}{row.possible:24,}{row.seen:10,}{row.seen / row.possible:10.2%}   {row.add_one:8.4f}"
        f"{row.kneser_ney:12.4f}   {row.unknown:26.2%}{row.impossible:12.2%}{row.unsmoothed:10.4f}"
        for row in table
    ]
    return "\n".join([head, *lines])


@style.styled
def draw(table: Sequence[Row], level: Level = Level.char) -> Figure:
    """Left, how many contexts there are and how many were seen; right, the dev losses."""
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    counts, losses = figure.subplots(1, 2)
    lengths = [row.length for row in table]
    for axes, name, line, color, label in (
        (counts, "possible", "o-", style.GREY, "rows of the table"),
        (counts, "seen", "o-", style.BLUE, "rows that were seen"),
        (losses, "add_one", "o-", style.ORANGE, "add-one smoothing"),
        (losses, "kneser_ney", "o-", style.BLUE, "Kneser-Ney"),
        (losses, "unsmoothed", "o--", style.GREY, "without smoothing (only pairs that were seen)"),
    ):
        axes.plot(lengths, [getattr(row, name) for row in table], line, color=color, label=label)
    for row in table:
        seen, allowed = 100 * row.seen / row.possible, 100 * (1 - row.unknown - row.impossible)
        # Below the points, on the side away from the lines.
        counts.annotate(f"{seen:.3g} %", (row.length, row.seen), (3, -15), textcoords="offset points", size=10)
        place = {"xytext": (-3, -15), "textcoords": "offset points", "ha": "right", "size": 10}
        losses.annotate(f"{allowed:.3g} %", (row.length, row.unsmoothed), **place)
    style.set_logarithmic(counts, "y")
    counts.yaxis.set_major_formatter("{x:,.0f}")
    counts.set_title("rows, and the share that was seen")
    counts.set_ylim(bottom=min(row.seen for row in table) / 5)
    losses.set(ylabel=f"dev loss (nats per {level})", title="dev loss, and the share of pairs that were seen")
    losses.set_ylim(bottom=min(row.unsmoothed for row in table) - 0.15)
    for axes in (counts, losses):
        axes.set(xlabel=f"{level}s in a context", xticks=lengths, xlim=(lengths[0] - 0.6, lengths[-1] + 0.7))
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14))
    return figure
