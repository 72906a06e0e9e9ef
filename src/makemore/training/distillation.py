"""Distillation (Hinton et al. 2015): a network is trained partly on a teacher's predictions.

The teacher is an n-gram model with modified Kneser-Ney smoothing of the training split, with the network's own context.
What it knows about rare contexts keeps a wide network from memorizing them.
"""

import math

import torch
from torch import Tensor

from makemore.data.spans import to_windows
from makemore.data.windows import Windows
from makemore.models.ngram import counts
from makemore.models.ngram.config import Smoothing

# Probabilities that are kept for the next time a context comes up: 256 MiB of float32.
OPINIONS_BUDGET = 2**26


class Teacher:
    """Makes the distributions that a network learns in place of single tokens: (1 - share) 1_y + share q."""

    def __init__(self, train: Windows, vocabulary: int, share: float) -> None:
        self.share = share
        self._block_size = train.block_size
        self._trie = counts.fit(train, vocabulary, Smoothing.kneser_ney)
        size = len(self._trie.backoff), vocabulary  # all contexts, of any length
        # What was asked for so far, the rest not a number; None where it would not fit.
        self._opinions = torch.full(size, torch.nan) if math.prod(size) <= OPINIONS_BUDGET else None

    def mix(self, contexts: Tensor, targets: Tensor) -> Tensor:
        """The targets with the teacher's opinion. (B, block_size), (B,) -> (B, vocabulary) float32

        For documents, both are (B, T), and the result is for their N tokens: (N, vocabulary).
        """
        if targets.dim() == 2:
            contexts, targets = to_windows(contexts, targets, self._block_size)
        if self._trie.keys.device != contexts.device:
            self._trie = counts.Trie(*(part.to(contexts.device) for part in self._trie))
            self._opinions = None if self._opinions is None else self._opinions.to(contexts.device)
        return mix_targets(targets, self._opinion(contexts), self.share)

    def _opinion(self, contexts: Tensor) -> Tensor:
        """The teacher's distributions after training contexts. (B, block_size) -> (B, vocabulary) float32"""
        if self._opinions is None:
            return counts.probabilities(self._trie, contexts).float()
        nodes = counts.lookup(self._trie, contexts)[:, -1]  # (B,) no node is -1: the teacher has seen all contexts
        new = self._opinions[nodes, 0].isnan()
        self._opinions[nodes[new]] = counts.probabilities(self._trie, contexts[new]).float()
        return self._opinions[nodes]


def mix_targets(targets: Tensor, teacher: Tensor, share: float) -> Tensor:
    """(1 - share) 1_y + share q for targets y (B,) and a teacher's distributions q (B, vocabulary)."""
    mixed = teacher * share  # (B, vocabulary)
    return mixed.scatter_add_(1, targets.unsqueeze(1), mixed.new_full((len(targets), 1), 1 - share))
