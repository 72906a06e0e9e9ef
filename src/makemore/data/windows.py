"""Documents become one token stream, and the places in it that a model learns to predict.

An example is no more than the position of its target; its context is the `block_size` ids before that. `block_size`
boundaries stand before each document, and the first of them closes the document before. With block size 3

    emma, ava  ->  . . . e m m a . . . a v a .
    targets              ^ ^ ^ ^ ^     ^ ^ ^ ^
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from makemore.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class Windows:
    """The examples of one split."""

    stream: Tensor  # (T,) ids, in the smallest integer type that holds them
    positions: Tensor  # (N,) where in the stream each example's target stands
    block_size: int  # how many ids a context has

    @classmethod
    def from_documents(cls, documents: Sequence[str], vocabulary: Vocabulary, block_size: int) -> "Windows":
        """Every example of the documents, in their order: time and memory linear in the text."""
        ids = vocabulary.encode(documents)  # (N,) a boundary after each document
        length = len(ids) + block_size + (block_size - 1) * len(documents)
        index: type[np.signedinteger[Any]] = np.int32 if length < 2**31 else np.int64
        ends = ids == 0
        # How far each id moves to the right: the opening boundaries, and block_size - 1 more for each document before.
        positions: np.ndarray[tuple[int], np.dtype[Any]] = np.cumsum(ends, dtype=index)  # (N,)
        positions -= ends  # documents that ended before
        positions *= block_size - 1
        positions += np.arange(block_size, block_size + len(ids), dtype=index)
        stream = np.zeros(length, dtype=vocabulary.dtype)
        stream[positions] = ids
        return cls(torch.from_numpy(stream), torch.from_numpy(positions), block_size)

    def __len__(self) -> int:
        """How many examples there are: one a character and one a document's end."""
        return len(self.positions)

    def to(self, device: torch.device | str) -> "Windows":
        return Windows(self.stream.to(device), self.positions.to(device), self.block_size)

    def gather(self, examples: Tensor) -> tuple[Tensor, Tensor]:
        """The contexts (..., block_size) and targets (...) of examples (...), int64 on the windows' device."""
        at = self.positions[examples.to(self.positions.device)].long()  # (...)
        before = torch.arange(-self.block_size, 0, device=at.device)  # (block_size,)
        contexts = self.stream[at.unsqueeze(-1) + before].long()  # (..., block_size)
        return contexts, self.stream[at].long()
