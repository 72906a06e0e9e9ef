"""Minibatches to train on, and batches that cover a split once."""

import math
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from makemore.data.spans import PADDING, Spans
from makemore.data.windows import Windows
from makemore.randomness import Use, make_generator

# Ids in one Lightning batch: 32 MiB of int64 contexts.
CHUNK_BUDGET = 2**22
# Examples in one evaluation batch: few batches, because Lightning takes a third of a millisecond for each.
EVALUATION_ROWS = 2**14


class Batch(NamedTuple):
    """Examples to compute with: windows, or spans, whose ids and targets are both (..., T)."""

    contexts: Tensor  # (..., block_size) int64 ids
    targets: Tensor  # (...) int64 ids

    def count_targets(self) -> int:
        return int((self.targets != PADDING).sum())


class Counts(Sized, Iterable[int], Protocol):
    """How many minibatches each training batch holds, in order, as `training.execution.Calls` says."""


@dataclass(eq=False)
class Minibatches:
    """Minibatches drawn from the training examples, K in each item: contexts (K, B, block_size), targets (K, B).

    Drawn from spans they are ids (K, B, T) and targets (K, B, T). For a model that takes S minibatches in a step, their
    rows follow each other: (K, S * B, block_size), (K, S * B). What is drawn depends on the seed alone, never on K, the
    device or the number of processes.
    """

    examples: Windows | Spans
    batch_size: int | None  # B; None takes every example in every step, in order
    # Draw each minibatch with replacement, as the lecture does. Otherwise examples come in shuffled epochs, one
    # permutation after another, and a minibatch may hold the end of one and the start of the next.
    replacement: bool
    counts: Counts  # K of each item
    seed: int
    per_step: int = 1  # S; each has shuffled epochs of its own
    rank: int = 0  # of `ranks` processes that share each minibatch: this one takes the rows rank, rank + ranks, ...
    ranks: int = 1

    def __post_init__(self) -> None:
        self._generator = make_generator(self.seed, Use.minibatches)
        self._order = torch.empty(self.per_step, 0, dtype=torch.int64)  # what is left of the current permutations

    def state_dict(self) -> dict[str, Tensor]:
        """Which minibatches come after those that were drawn."""
        return {"generator": self._generator.get_state(), "order": self._order.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self._generator.set_state(state["generator"])
        self._order = state["order"].view(self.per_step, -1)  # flat in states from before ensembles

    def __len__(self) -> int:
        """How many items there are; because it is known, Lightning fetches none ahead, and `state_dict` is exact."""
        return len(self.counts)

    def __iter__(self) -> Iterator[Batch]:
        for count in self.counts:
            drawn = self._draw(count).view(count, self.per_step, -1)[..., self.rank :: self.ranks]
            yield Batch(*self.examples.gather(drawn.flatten(1)))

    def _draw(self, count: int) -> Tensor:
        """The example numbers of the minibatches of the next `count` steps. (count, S * B)"""
        size = len(self.examples)
        if self.batch_size is None:
            return torch.arange(size).repeat(self.per_step).expand(count, -1)
        if self.replacement:
            return torch.randint(size, (count, self.per_step * self.batch_size), generator=self._generator)
        wanted = count * self.batch_size
        epochs = math.ceil(max(0, wanted - self._order.shape[1]) / size)
        order = torch.cat([self._order, *(self._epoch() for _ in range(epochs))], dim=1) if epochs else self._order
        self._order = order[:, wanted:]
        return order[:, :wanted].reshape(self.per_step, count, -1).transpose(0, 1).flatten(1)

    def _epoch(self) -> Tensor:
        """A permutation of the examples for each minibatch of a step. (S, examples)"""
        return torch.stack(
            [torch.randperm(len(self.examples), generator=self._generator) for _ in range(self.per_step)]
        )


class EvaluationBatches:
    """Every example of a split once, in order: contexts (B, block_size), targets (B,); or one process's share.

    For a model that takes documents, ids (B, T) and targets (B, T). But if some are longer than a context the examples
    are windows, so that the loss does not depend on where a document is cut.
    """

    def __init__(self, windows: Windows, rank: int = 0, ranks: int = 1, *, by_document: bool = False) -> None:
        spans = Spans.from_windows(windows) if by_document else None
        self.examples = spans if spans is not None and spans.whole else windows
        self.rank, self.ranks = rank, ranks
        # A document has up to `block_size` tokens, and a mixture shows each to some members in a window of its own.
        ids = windows.block_size if self.examples is windows else windows.block_size**2
        self.rows = max(1, min(EVALUATION_ROWS, CHUNK_BUDGET // ids))

    def __len__(self) -> int:
        return math.ceil(len(self.examples) / self.rows)

    def __iter__(self) -> Iterator[Batch]:
        for first in range(0, len(self.examples), self.rows):
            last = min(first + self.rows, len(self.examples))
            share = torch.arange(first, last)[self.rank :: self.ranks]  # (B,)
            yield Batch(*self.examples.gather(share))
