"""Distillation (Hinton et al. 2015): a network is trained partly on a teacher's predictions.

The teacher is an n-gram model with modified Kneser-Ney smoothing of the training split, with the network's own context.
What it knows about rare contexts keeps a wide network from memorizing them.
"""

from torch import Tensor

from makemore.data.windows import Windows
from makemore.models.ngram import counts
from makemore.models.ngram.config import Smoothing


class Teacher:
    """Makes the distributions that a network learns in place of single tokens: (1 - share) 1_y + share q."""

    def __init__(self, train: Windows, vocabulary: int, share: float) -> None:
        self.share = share
        self._counts = counts.fit(train, vocabulary, Smoothing.kneser_ney)

    def mix(self, contexts: Tensor, targets: Tensor) -> Tensor:
        """The targets with the teacher's opinion. (B, block_size), (B,) -> (B, vocabulary) float32"""
        if self._counts.keys.device != contexts.device:
            self._counts = counts.Model(*(part.to(contexts.device) for part in self._counts))
        opinion = counts.probabilities(self._counts, contexts).float()  # (B, vocabulary)
        return mix_targets(targets, opinion, self.share)


def mix_targets(targets: Tensor, teacher: Tensor, share: float) -> Tensor:
    """(1 - share) 1_y + share q for targets y (B,) and a teacher's distributions q (B, vocabulary)."""
    mixed = teacher * share  # (B, vocabulary)
    return mixed.scatter_add_(1, targets.unsqueeze(1), mixed.new_full((len(targets), 1), 1 - share))
