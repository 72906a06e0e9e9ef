"""How the table of counts grows with the context, and what it is worth.

A table for contexts of L tokens out of V has V^L rows: 27, 729, 19,683 and so on for characters. Fewer and fewer of
them are ever seen, so counts alone say less and less about a new text; this is why lecture 2 turns to a network.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch

from makemore.config.schema import Smoothing
from makemore.data.windows import Windows
from makemore.models.ngram import counts as ngram
from makemore.training.module import rows_at_once


class Row(NamedTuple):
    """The table for one length of context.

    Attributes:
        length: tokens in a context.
        possible: rows that the table has.
        seen: rows of which the training split has an example.
        unknown: share of dev examples whose context was never seen, about which the counts alone say nothing.
        impossible: share of dev examples whose context was seen, but never with this target; if there are any, the
            mean dev loss without smoothing is infinite.
        unsmoothed: dev loss of the counts alone, over the other examples.
        add_one: dev loss with one more of everything.
        kneser_ney: dev loss with modified Kneser-Ney smoothing. Losses are nats per token.
    """

    length: int
    possible: int
    seen: int
    unknown: float
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
        models = {smoothing: ngram.fit(short, vocabulary, smoothing) for smoothing in Smoothing}
        losses = {smoothing: dev_losses(model, short_dev, vocabulary) for smoothing, model in models.items()}
        counts = models[Smoothing.none]
        contexts, _ = short_dev.gather(torch.arange(len(short_dev)))
        known = ngram.lookup(counts, contexts)[:, -1] >= 0  # (examples,)
        possible = known & losses[Smoothing.none].isfinite()  # (examples,)
        seen, of = ngram.contexts_seen(counts)[-1]
        yield Row(
            length=length,
            possible=of,
            seen=seen,
            unknown=1 - float(known.double().mean()),
            impossible=float((known & ~possible).double().mean()),
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
    """The table for a terminal: without smoothing, what of dev is unknown, impossible, and the loss of the rest."""
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
