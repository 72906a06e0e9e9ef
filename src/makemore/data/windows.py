"""A stream of token ids, and in it the windows that a model learns from: every token after the tokens before it.

The target of example i is the token at place i + 1 of the stream, which begins with a boundary (0); its context is the
`block_size` ids before that. A boundary ends each document, and nothing before one can be seen: there, and before the
stream, contexts hold boundaries.
With block size 3

    emma, ava  ->  . e m m a . a v a .
    targets          ^ ^ ^ ^ ^ ^ ^ ^ ^        contexts  ...  ..e  .em  emm  mma  ...  ..a  .av  ava
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from makemore.data.vocabulary import Vocabulary

PIECE = 2**22  # targets that are counted together


@dataclass(frozen=True)
class Windows:
    """The examples of one split."""

    stream: Tensor  # (1 + N,) a boundary, and the N targets, in the smallest integer type that holds them
    block_size: int  # how many ids a context has

    @classmethod
    def from_documents(cls, documents: Sequence[str], vocabulary: Vocabulary, block_size: int) -> "Windows":
        """Every example of the documents, in their order: time and memory linear in the text."""
        return cls(torch.from_numpy(np.insert(vocabulary.encode(documents), 0, 0)), block_size)

    @classmethod
    def from_text(cls, text: str, vocabulary: Vocabulary, block_size: int) -> "Windows":
        """Every example of a running text, without boundaries in it."""
        return cls(torch.from_numpy(np.insert(vocabulary.encode_text(text), 0, 0)), block_size)

    def __len__(self) -> int:
        """How many examples there are: one for each token and one for each document's end."""
        return len(self.stream) - 1

    def to(self, device: torch.device | str) -> "Windows":
        return Windows(self.stream.to(device), self.block_size)

    def count_targets(self, vocabulary: int) -> Tensor:
        """How often each token, or the boundary, is the target of an example. (vocabulary,) int64"""
        counts = torch.zeros(vocabulary, dtype=torch.int64)
        for piece in torch.split(self.stream[1:], PIECE):
            counts += torch.bincount(piece.cpu().long(), minlength=vocabulary)
        return counts

    def gather(self, examples: Tensor) -> tuple[Tensor, Tensor]:
        """The contexts (..., block_size) and targets (...) of examples (...), int64 on the windows' device."""
        at = examples.to(self.stream.device).long() + 1  # (...)
        contexts = torch.stack([*self.before(at)][::-1], dim=-1).long()  # (..., block_size)
        return contexts, self.stream[at].long()

    def before(self, at: Tensor) -> Iterator[Tensor]:
        """The columns of the contexts of the targets at these places (...), the most recent token first. (...) each"""
        inside: Tensor | bool = True
        for back in range(1, self.block_size + 1):
            # Before the stream stands what begins it, a boundary.
            tokens = self.stream[(at - back).clamp_(min=0)] * inside  # (...)
            yield tokens
            inside = tokens != 0
