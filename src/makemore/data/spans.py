"""The same examples as in `Windows`, by document: for models that predict after every token in one pass.

A span is a document, or a piece of `block_size` tokens of a longer one. Its token t is predicted from the tokens before
it in the span. With block size 4, "emma" with its end is two spans, and "ava" is one:

    emma, ava  ->  . e m m a . a v a .
    ids            . e m m    a 0 0 0    . a v a
    targets        e m m a    . - - -    a v a .

Shorter spans are filled up with zeros, and their targets with `PADDING`, shown as - here.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from makemore.data.windows import Windows

# Marks a position without a target: what `torch.nn.functional.cross_entropy` ignores by default.
PADDING = -100


@dataclass(frozen=True)
class Spans:
    """The spans of one split, in its order."""

    windows: Windows
    starts: Tensor  # (N,) int64 where in the stream each span's first id stands
    lengths: Tensor  # (N,) int64 ids

    @classmethod
    def from_windows(cls, windows: Windows) -> "Spans":
        """The spans of all documents, or of a running text."""
        stream, longest = windows.stream, windows.block_size
        last = torch.tensor([len(stream) - 1], device=stream.device)
        edges = torch.cat([(stream[:-1] == 0).nonzero().squeeze(1), last])  # (documents + 1,)
        sizes = edges.diff()  # (documents,) tokens
        pieces = (sizes + longest - 1) // longest  # (documents,)
        document = torch.repeat_interleave(pieces)  # (N,)
        offset = (torch.arange(len(document), device=stream.device) - (pieces.cumsum(0) - pieces)[document]) * longest
        return cls(windows, edges[document] + offset, (sizes[document] - offset).clamp(max=longest))

    @property
    def whole(self) -> bool:
        """Whether every span is a whole document, so that a token's context here is the same as in a window."""
        return bool((self.windows.stream[self.starts] == 0).all())

    def __len__(self) -> int:
        return len(self.starts)

    def to(self, device: torch.device | str) -> "Spans":
        return Spans(self.windows.to(device), self.starts.to(device), self.lengths.to(device))

    def gather(self, spans: Tensor) -> tuple[Tensor, Tensor]:
        """The ids and targets (..., T) of spans (...), int64 on the windows' device; T is the longest's length."""
        stream = self.windows.stream
        spans = spans.to(stream.device)
        starts, lengths = self.starts[spans].unsqueeze(-1), self.lengths[spans].unsqueeze(-1)  # (..., 1) each
        longest = int(lengths.max()) if lengths.numel() else 0
        place = torch.arange(longest, device=stream.device)  # (T,)
        inside = place < lengths  # (..., T)
        at = (starts + place).clamp(max=len(stream) - 2)
        return stream[at].long() * inside, stream[at + 1].long().masked_fill(~inside, PADDING)


def to_windows(ids: Tensor, targets: Tensor, block_size: int) -> tuple[Tensor, Tensor]:
    """Spans of whole documents, ids and targets (B, T), as windows of their N tokens: (N, block_size), (N,)."""
    before = torch.nn.functional.pad(ids, (block_size - 1, 0)).unfold(1, block_size, 1)  # (B, T, block_size)
    inside = targets != PADDING  # (B, T)
    return before[inside], targets[inside]
