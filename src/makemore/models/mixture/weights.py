"""The mixture of models: p(w | h) = sum_m weight_m p_m(w | h), with weights that are positive and sum to 1.

The weights are those under which held-out text is likeliest, found by expectation-maximization (Dempster, Laird and
Rubin 1977; for language models Jelinek and Mercer 1980): each example is shared out among the members by how likely
each made it, and a member's new weight is its share of all examples. No step lowers the likelihood.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

# Steps of expectation-maximization at most; it ends when no weight moves by more than the tolerance.
STEPS = 1000
TOLERANCE = 1e-6


class Member(NamedTuple):
    """A model of a mixture.

    Attributes:
        logits: contexts (B, block_size) -> (B, vocabulary).
        block_size: ids in its context, the last ones of a longer context.
    """

    logits: Callable[[Tensor], Tensor]
    block_size: int


def log_probabilities(members: Sequence[Member], contexts: Tensor) -> Tensor:
    """What each member says. (B, block_size) -> (members, B, vocabulary)"""
    return torch.stack([member.logits(contexts[:, -member.block_size :]).log_softmax(1) for member in members])


def logits(members: Sequence[Member], weights: Tensor, contexts: Tensor) -> Tensor:
    """Log-probabilities of the next token. (B, block_size) -> (B, vocabulary)

    Args:
        members: the models.
        weights: (members,) that sum to 1.
        contexts: int64 ids, as many as the longest context of a member.
    """
    mixed = log_probabilities(members, contexts) + weights.log().view(-1, 1, 1)  # (members, B, vocabulary)
    return mixed.logsumexp(0)


def fitted_weights(log_p: Tensor) -> Tensor:
    """The weights under which examples are likeliest.

    Args:
        log_p: (members, examples) each member's log-probability of each example's target.

    Returns:
        (members,) float64 that sum to 1.
    """
    log_p = log_p.double()
    # What no member thinks possible says nothing about them.
    log_p = log_p[:, log_p.isfinite().any(0)]
    if log_p.shape[1] == 0:
        return torch.full((len(log_p),), 1 / len(log_p), dtype=torch.float64)
    weights = torch.full((len(log_p),), 1 / len(log_p), dtype=torch.float64)  # (members,)
    for _ in range(STEPS):
        shares = (log_p + weights.log().unsqueeze(1)).softmax(0)  # (members, examples)
        new = shares.mean(1)
        moved = (new - weights).abs().max()
        weights = new
        if moved < TOLERANCE:
            break
    return weights
