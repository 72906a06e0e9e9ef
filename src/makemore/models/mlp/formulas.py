r"""The mathematics of the network: initial weights, logits, loss and gradients, as functions of (C, W1, b1, W2, b2).

The network of Bengio et al., "A Neural Probabilistic Language Model" (JMLR 3, 2003), without the optional direct
connections, at the sizes of lecture 2. With x the contexts (B, block_size) and y the targets (B,):

    e = C[x] laid side by side      (B, block_size * emb_dim)
    h = tanh(e W1 + b1)             (B, hidden)
    z = h W2 + b2                   (B, vocabulary)
    loss = mean over B of  log sum_j exp z_j  -  z_y

The gradients in closed form, from the loss backwards (' means transposed, 1_y are the one-hot rows of y):

    dz  = (softmax(z) - 1_y) / B    the derivative of log-sum-exp is the softmax
    dW2 = h' dz,  db2 = sum_B dz
    dh  = dz W2'
    da  = dh * (1 - h^2)            a = e W1 + b1, and tanh' = 1 - tanh^2
    dW1 = e' da,  db1 = sum_B da
    de  = da W1'
    dC  = rows of de added up at their ids: the transpose of a lookup is a sum

To learn a distribution q (B, vocabulary) instead of one token, as in distillation (Hinton et al. 2015), q replaces 1_y
in dz. These are the gradients of the cross-entropy to q; the loss that is reported stays the one above.

With (inverted) dropout (Srivastava et al. 2014), h is multiplied by a mask m of zeros and 1 / (1 - rate): z uses m h,
so dW2 = (m h)' dz, and dh gains a factor m. Nothing else changes.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from makemore.models.mlp.config import Init


class Parameters(NamedTuple):
    """The network's parameters under the lecture's names."""

    C: Tensor  # (vocabulary, emb_dim) the embedding table
    W1: Tensor  # (block_size * emb_dim, hidden)
    b1: Tensor  # (hidden,)
    W2: Tensor  # (hidden, vocabulary)
    b2: Tensor  # (vocabulary,)


def shapes(vocabulary: int, block_size: int, emb_dim: int, hidden: int) -> list[tuple[int, ...]]:
    """The shapes of C, W1, b1, W2, b2."""
    return [(vocabulary, emb_dim), (block_size * emb_dim, hidden), (hidden,), (hidden, vocabulary), (vocabulary,)]


def initial(
    vocabulary: int, block_size: int, emb_dim: int, hidden: int, init: Init, generator: torch.Generator
) -> Parameters:
    """Draws the weights before training from one generator, in the order C, W1, b1, W2, b2.

    `normal`, as in lecture 2, draws every entry from the standard normal distribution. `kaiming`, as in lecture 3,
    scales W1 by 5/3 over the root of its fan-in (He et al. 2015, with the gain for tanh), which keeps tanh from
    saturating, scales W2 by 0.01, which makes all characters equally likely at first, and sets the biases to zero.
    """
    sizes = shapes(vocabulary, block_size, emb_dim, hidden)
    C, W1, b1, W2, b2 = (torch.randn(shape, generator=generator) for shape in sizes)
    if init is Init.kaiming:
        W1 = W1 * (5 / 3) / math.sqrt(block_size * emb_dim)
        b1, W2, b2 = torch.zeros_like(b1), W2 * 0.01, torch.zeros_like(b2)
    return Parameters(C, W1, b1, W2, b2)


def hidden_innermost(p: Parameters) -> Parameters:
    """Returns the same values with W2 stored as its transpose, so that `hidden` is contiguous in all of them."""
    return p._replace(W2=p.W2.t().contiguous().t())


def hidden_layer(p: Parameters, contexts: Tensor) -> Tensor:
    """The activations h of the hidden layer. (..., block_size) -> (..., hidden)"""
    e = p.C[contexts].flatten(start_dim=-2)  # (..., block_size * emb_dim)
    return tanh(torch.addmm(p.b1, e, p.W1)) if torch.is_inference_mode_enabled() else torch.tanh(e @ p.W1 + p.b1)


def tanh(a: Tensor) -> Tensor:
    """The hyperbolic tangent in place, for tensors that record no gradient; relative error below 1e-6 in float32.

    tanh a = -u / (2 + u) with u = exp(-2a) - 1, with |2a| limited to 40 to avoid overflow: there, tanh is 1. On a
    CPU this takes half the time of `torch.tanh` for 512 rows or more.
    """
    u = a.mul_(-2).clamp_(-40, 40).expm1_()
    return u.div_(-2 - u)


def logits(p: Parameters, contexts: Tensor, mask: Tensor | None = None) -> Tensor:
    """Unnormalized log-probabilities z of the next token, with the mask (..., hidden) of `dropout_mask` in training.

    (..., block_size) -> (..., vocabulary)
    """
    h = hidden_layer(p, contexts)  # (..., hidden)
    return (h if mask is None else h * mask) @ p.W2 + p.b2


def dropout_mask(rows: int, p: Parameters, rate: float) -> Tensor:
    """Draws a mask (rows, hidden): zero with probability `rate`, otherwise 1 / (1 - rate)."""
    return p.b1.new_empty(rows, len(p.b1)).bernoulli_(1 - rate).div_(1 - rate)


def loss_and_gradients(
    p: Parameters,
    contexts: Tensor,
    targets: Tensor,
    out: Parameters,
    mask: Tensor | None = None,
    soft: Tensor | None = None,
) -> Tensor:
    """Writes the gradients by the formulas above to `out`, in half of autograd's time, and returns the mean loss.

    Contexts are (B, block_size), targets (B,), the dropout mask (B, hidden), and `soft` (B, vocabulary) distributions
    to learn instead of the targets.
    """
    rows = len(targets)
    ids = contexts.reshape(-1)  # (B * block_size,)
    e = p.C.index_select(0, ids).view(rows, -1)  # (B, block_size * emb_dim)
    h = tanh(torch.addmm(p.b1, e, p.W1))  # (B, hidden)
    hm = h if mask is None else h * mask  # (B, hidden)
    log_p = torch.addmm(p.b2, hm, p.W2).log_softmax(dim=1)  # (B, vocabulary)
    y = targets.unsqueeze(1)  # (B, 1)
    mean_loss = log_p.gather(1, y).mean().neg()
    dz = log_p.exp_()  # (B, vocabulary)
    if soft is None:
        dz.scatter_add_(1, y, dz.new_full((rows, 1), -1.0)).div_(rows)
    else:
        dz.sub_(soft).div_(rows)
    torch.mm(hm.t(), dz, out=out.W2)
    torch.sum(dz, 0, out=out.b2)
    dh = dz @ p.W2.t()  # (B, hidden)
    if mask is not None:
        dh.mul_(mask)
    da = dh.addcmul_(dh * h, h, value=-1)  # (B, hidden) dh - dh h^2
    torch.mm(e.t(), da, out=out.W1)
    torch.sum(da, 0, out=out.b1)
    de = da @ p.W1.t()  # (B, block_size * emb_dim)
    out.C.zero_().index_add_(0, ids, de.view(len(ids), -1))
    return mean_loss
