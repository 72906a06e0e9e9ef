"""The neural bigram of lecture 1: one-hot input times W (vocabulary, vocabulary), which is looking up a row of W.

The only network whose best weights are known: with c(h, w) the counts of pairs, the loss is lowest where
softmax(W[h]) = c(h, .) / c(h), so gradient descent arrives where counting begins.
"""

import torch
from torch import Tensor


def initial(vocabulary: int, generator: torch.Generator) -> Tensor:
    """The lecture's weights before training: every entry from the standard normal distribution."""
    return torch.randn(vocabulary, vocabulary, generator=generator)


def logits(W: Tensor, contexts: Tensor) -> Tensor:
    """Unnormalized log-probabilities of the token after the last one. (..., block_size) -> (..., vocabulary)"""
    return W[contexts[..., -1]]


def gradient(W: Tensor, contexts: Tensor, targets: Tensor, out: Tensor) -> Tensor:
    """The mean loss of one minibatch, and its gradient: row h of `out` sums (softmax(W[h]) - 1_y) / B over B.

    Args:
        W: (vocabulary, vocabulary).
        contexts: (B, block_size) int64 ids.
        targets: (B,) int64 ids.
        out: where the gradient is written, shaped as W.
    """
    last = contexts[:, -1]
    log_p = W.index_select(0, last).log_softmax(dim=1)  # (B, vocabulary)
    y = targets.unsqueeze(1)  # (B, 1)
    loss = log_p.gather(1, y).mean().neg()
    dz = log_p.exp_()
    dz.scatter_add_(1, y, dz.new_full(y.shape, -1.0))
    out.zero_().index_add_(0, last, dz, alpha=1 / len(targets))
    return loss


def restored(state: dict[str, Tensor], vocabulary: int) -> Tensor:
    """The weights in a checkpoint's state.

    Raises:
        ValueError: they are not those of a bigram.
    """
    W = state.get("W")
    if set(state) != {"W"} or W is None or W.dtype != torch.float32 or W.shape != (vocabulary, vocabulary):
        raise ValueError("not the weights of a bigram")
    return W
