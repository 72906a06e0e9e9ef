"""How the table of counts grows with the context, and what it is worth.

A table for contexts of L tokens out of V has V^L rows: 27, 729, 19,683 and so on for characters. Fewer and fewer of
them are ever seen, so counts alone say less and less about a new text; this is why lecture 2 turns to a network.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch

from makemore import ngram
from makemore.module import rows_at_once
from makemore.schemas import Smoothing
from makemore.windows import Windows


class Row(NamedTuple):
    """The table for one length of context.

    Attributes:
        length: tokens in a context.
        possible: rows that the table has.
        seen: rows of which the training split has an example.
        impossible: share of dev examples that the counts alone hold to be impossible; if there are any, the mean dev
            loss without smoothing is infinite.
        unsmoothed: dev loss of the counts alone, over the examples that they hold to be possible.
        add_one: dev loss with one more of everything.
        kneser_ney: dev loss with modified Kneser-Ney smoothing. Losses are nats per token.
    """

    length: int
    possible: int
    seen: int
    impossible: float
    unsmoothed: float
    add_one: float
    kneser_ney: float


def rows(train: Windows, dev: Windows, vocabulary: int) -> Iterator[Row]:
    """The tables for contexts of 1 token up to the windows' block size."""
    for length in range(1, train.block_size + 1):
        # A shorter context is the end of a longer one, so the stream serves both.
        short = Windows(train.stream, train.positions, length)
        short_dev = Windows(dev.stream, dev.positions, length)
        losses = {
            smoothing: dev_losses(ngram.fit(short, vocabulary, smoothing), short_dev, vocabulary)
            for smoothing in Smoothing
        }
        possible = losses[Smoothing.none].isfinite()  # (examples,)
        seen, of = ngram.contexts_seen(ngram.fit(short, vocabulary, Smoothing.none))[-1]
        yield Row(
            length=length,
            possible=of,
            seen=seen,
            impossible=1 - float(possible.double().mean()),
            unsmoothed=float(losses[Smoothing.none][possible].mean()),
            add_one=float(losses[Smoothing.add_k].mean()),
            kneser_ney=float(losses[Smoothing.kneser_ney].mean()),
        )


def dev_losses(model: ngram.Model, windows: Windows, vocabulary: int) -> torch.Tensor:
    """The loss of every example, in nats: (examples,) float64."""
    at_once = rows_at_once(vocabulary, torch.device("cpu"))
    losses = []
    for examples in torch.arange(len(windows)).split(at_once):  # type: ignore[no-untyped-call]
        contexts, targets = windows.gather(examples)
        log_p = ngram.logits(model, contexts)  # (rows, vocabulary)
        losses.append(-log_p.gather(1, targets.unsqueeze(1)).squeeze(1).double())  # (rows,)
    return torch.cat(losses)


def as_text(table: list[Row]) -> str:
    """The table for a terminal."""
    head = f"{'context':>8}{'rows':>16}{'seen':>10}{'share':>9}   {'dev: +1':>8}{'Kneser-Ney':>12}   without smoothing"
    lines = [
        f"{row.length:8}{row.possible:16,}{row.seen:10,}{row.seen / row.possible:9.2%}   {row.add_one:8.4f}"
        f"{row.kneser_ney:12.4f}   {without_smoothing(row)}"
        for row in table
    ]
    return "\n".join([head, *lines])


def without_smoothing(row: Row) -> str:
    """What the counts alone say about dev."""
    if row.impossible == 0:
        return f"{row.unsmoothed:.4f}"
    return f"infinite: {row.impossible:.2%} of dev held to be impossible, the rest {row.unsmoothed:.4f}"
