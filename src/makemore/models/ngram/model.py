"""`model=ngram`: counts of n-grams with smoothing. The mathematics is in `counts.py`."""

from typing import Any

import torch
from torch import Tensor

from makemore.data.dataset import Dataset
from makemore.data.windows import Windows
from makemore.models.base import LanguageModel
from makemore.models.ngram import counts
from makemore.models.ngram.config import Config


class Model(LanguageModel):
    """Counts of n-grams, of order block_size + 1, as buffers under the names of `counts.Trie`."""

    cpu_only = "model=ngram is fitted on the processor; use trainer=cpu"

    def __init__(self, config: Config, vocabulary: int, block_size: int) -> None:
        super().__init__(config, vocabulary, block_size)
        for name in counts.Trie._fields:
            self.register_buffer(name, torch.empty(0))
        self.register_load_state_dict_pre_hook(self._take_sizes)  # type: ignore[no-untyped-call]

    @property
    def trie(self) -> counts.Trie:
        return counts.Trie(*(getattr(self, name) for name in counts.Trie._fields))

    def fit(self, data: Dataset) -> None:
        """Counts the training examples and smooths the counts."""
        c = self.config
        fitted = counts.fit(data.train, self.vocabulary, c.smoothing, k=c.k, discount=c.discount, dev=data.dev)
        for name, tensor in fitted._asdict().items():
            setattr(self, name, tensor)

    def losses(self, contexts: Tensor, targets: Tensor) -> Tensor:
        """The cross-entropy of each example, without the probabilities of other tokens. (B,) float64"""
        return counts.target_probabilities(self.trie, contexts, targets).log_().neg_()

    def forward(self, contexts: Tensor) -> Tensor:
        """Log-probabilities of the next token. (B, block_size) -> (B, vocabulary)"""
        return counts.logits(self.trie, contexts)

    def pairs(self, train: Windows) -> Tensor:
        """How often each pair of tokens occurs in the training split: (vocabulary, vocabulary) int64."""
        contexts, targets = train.gather(torch.arange(len(train)))
        places = contexts[:, -1] * self.vocabulary + targets  # (N,)
        return torch.bincount(places, minlength=self.vocabulary**2).view(self.vocabulary, self.vocabulary)

    def size(self) -> int:
        """How many free numbers the model has: the values of all pairs. The backoffs follow from these."""
        return len(self.trie.values)

    def _take_sizes(self, module: Any, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
        """Before loading: how many n-grams there are is known only from the state."""
        for name in counts.Trie._fields:
            setattr(self, name, torch.empty_like(state[prefix + name]))
