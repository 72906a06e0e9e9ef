"""Models that read a document token by token, and predict after every token in one pass."""

from abc import abstractmethod

import torch
from torch import Tensor

from makemore.data.spans import PADDING
from makemore.models.base import LanguageModel, evaluating

# What a model remembers of the ids read so far: tensors with a row for each document.
State = tuple[Tensor, ...]


class SequenceModel(LanguageModel):
    """A model of the next token after every token. It defines `read`, from which the rest follows.

    Its minibatches hold whole documents, `data.batch_size` of them, each with a target at every position. A context of
    `block_size` ids is read without the boundaries that only fill it, so that both give the same logits.
    """

    by_document = True

    @abstractmethod
    def read(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Reads on from a state, or from the start of documents.

        Takes ids (B, T), T up to `block_size`; gives the logits of the token after each, (B, T, vocabulary), and the
        state after the last. No logits may depend on later ids, or on other rows.
        """

    def forward(self, contexts: Tensor) -> Tensor:
        """Logits of the next token. (B, block_size) -> (B, vocabulary)"""
        ids, lengths = self.align(contexts)
        logits, _ = self.read(ids)  # (B, T, vocabulary)
        return last(logits, lengths)

    def align(self, contexts: Tensor) -> tuple[Tensor, Tensor]:
        """Contexts (B, block_size) shifted to the left, so that each begins with its first id to read. (B, T), (B,)

        Also how many ids of each are to be read, its boundary included.
        """
        lengths = ((contexts != 0).sum(1) + 1).clamp(max=self.block_size)  # (B,)
        places = torch.arange(int(lengths.max()), device=contexts.device) + (self.block_size - lengths).unsqueeze(1)
        return contexts.gather(1, places.clamp(max=self.block_size - 1)), lengths

    def score(self, contexts: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, vocabulary) and targets (N,) of windows, or of the N tokens of spans (B, T)."""
        if targets.dim() == 1:
            return super().score(contexts, targets)
        inside = targets != PADDING  # (B, T)
        longest = int(inside.sum(1).max())
        logits, _ = self.read(contexts[:, :longest])
        return logits[inside[:, :longest]], targets[inside]

    def activations(self, contexts: Tensor) -> dict[str, Tensor]:
        """The outputs of tanh layers after the last id, by name. (B, width) each"""
        _, lengths = self.align(contexts)
        return {name: last(each, lengths) for name, each in super().activations(contexts).items()}

    def operations(self, rows: int) -> int:
        """Multiplications and additions in a training step on documents that fill the context."""
        return self.block_size * super().operations(rows)

    def operations_at_once(self, rows: int) -> int:
        """Those of one product, a matrix's share: there are many, one after the other."""
        return self.operations(rows) // sum(parameter.dim() > 1 for parameter in self.parameters())


def last(values: Tensor, lengths: Tensor) -> Tensor:
    """The value at each row's last id. (B, T, width), (B,) -> (B, width)"""
    return values[torch.arange(len(values), device=values.device), lengths - 1]


class Reader:
    """The logits of contexts that grow by a token from call to call, without reading again what was read before.

    All rows of a call must hold equally many ids.
    """

    def __init__(self, model: SequenceModel) -> None:
        self.model = model
        self._state: State | None = None
        self._read = 0  # ids, by every row

    def logits(self, contexts: Tensor) -> Tensor:
        """What the model's `forward` gives in eval mode, from and to the CPU. (B, block_size) -> (B, vocabulary)"""
        length = int((contexts[0] != 0).sum()) + 1
        contexts = contexts.to(self.model.device)
        with evaluating(self.model):
            if length > self.model.block_size:  # the oldest token is forgotten, which a state cannot do
                logits: Tensor = self.model(contexts)
                return logits.cpu()
            each, self._state = self.model.read(contexts[:, self._read - length :], self._state)
            self._read = length
        return each[:, -1].cpu()

    def keep(self, rows: Tensor) -> None:
        """Forgets the rows that have ended. (B,) whether each goes on"""
        if self._state is not None:
            self._state = tuple(part[rows.to(part.device)] for part in self._state)
