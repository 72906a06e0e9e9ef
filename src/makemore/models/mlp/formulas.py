r"""The mathematics of the network: initial weights, logits, loss and gradients, as functions of (C, W1, b1, W2, b2).

The network of Bengio et al., "A Neural Probabilistic Language Model" (JMLR 3, 2003), at the sizes of lecture 2. With x
the contexts (B, block_size) and y the targets (B,):

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

With direct connections from the input to the output (equation 1 of the paper: y = b + W x + U tanh(d + H x)), e stands
beside h in the last product. W2 has the rows of the paper's U first and those of its W below them:

    z = [h e] W2 + b2               W2 (hidden + block_size * emb_dim, vocabulary)
    dW2 = [h e]' dz,  [dh de] = dz W2',  and de gains da W1'

To learn a distribution q (B, vocabulary) instead of one token, as in distillation (Hinton et al. 2015), q replaces 1_y
in dz. These are the gradients of the cross-entropy to q; the loss that is reported stays the one above.

With (inverted) dropout (Srivastava et al. 2014), h is multiplied by a mask m of zeros and 1 / (1 - rate): z uses m h,
so dW2 = (m h)' dz, and dh gains a factor m. Nothing else changes.

Examples with equal contexts have equal rows of e, h and z. Without dropout, the distinct contexts are computed once: a
row of dz is then the sum of its examples' rows. Of 512 examples of names with three characters of context, 320 differ.
The products that contain e are in `first_layer.py`.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from makemore.models.mlp import first_layer
from makemore.models.mlp.config import Init
from makemore.models.mlp.first_layer import multiply


class Parameters(NamedTuple):
    """The network's parameters under the lecture's names."""

    C: Tensor  # (vocabulary, emb_dim) the embedding table
    W1: Tensor  # (block_size * emb_dim, hidden)
    b1: Tensor  # (hidden,)
    W2: Tensor  # (hidden, vocabulary), with direct connections (hidden + block_size * emb_dim, vocabulary)
    b2: Tensor  # (vocabulary,)

    @property
    def direct(self) -> bool:
        """Whether there are direct connections."""
        return len(self.W2) > len(self.b1)


def shapes(vocabulary: int, block_size: int, emb_dim: int, hidden: int, direct: bool = False) -> list[tuple[int, ...]]:
    """The shapes of C, W1, b1, W2, b2."""
    inputs = block_size * emb_dim
    features = hidden + inputs if direct else hidden
    return [(vocabulary, emb_dim), (inputs, hidden), (hidden,), (features, vocabulary), (vocabulary,)]


def initial(
    vocabulary: int,
    block_size: int,
    emb_dim: int,
    hidden: int,
    init: Init,
    generator: torch.Generator,
    direct: bool = False,
) -> Parameters:
    """Draws the weights before training from one generator, in the order C, W1, b1, W2, b2.

    `normal`, as in lecture 2, draws every entry from the standard normal distribution. `kaiming`, as in lecture 3,
    scales W1 by 5/3 over the root of its fan-in (He et al. 2015, with the gain for tanh), which keeps tanh from
    saturating, scales W2 by 0.01, which makes all characters equally likely at first, and sets the biases to zero.
    """
    sizes = shapes(vocabulary, block_size, emb_dim, hidden, direct)
    C, W1, b1, W2, b2 = (torch.randn(shape, generator=generator) for shape in sizes)
    if init is Init.kaiming:
        W1 = W1 * (5 / 3) / math.sqrt(block_size * emb_dim)
        b1, W2, b2 = torch.zeros_like(b1), W2 * 0.01, torch.zeros_like(b2)
    return Parameters(C, W1, b1, W2, b2)


def recency_scale(recency: float, block_size: int, emb_dim: int) -> Tensor:
    """What W1's rows are multiplied by: `recency` to the power of the distance, with a mean square of 1.

    (block_size * emb_dim, 1), from the oldest position to the most recent. A prior of the order of what n-gram models
    know: the further back a token stands, the less it changes.
    """
    # In Python's numbers, because arithmetic on the meta device first imports torch._dynamo, which takes a second.
    powers = [recency**distance for distance in range(block_size - 1, -1, -1)]
    size = math.sqrt(sum(power**2 for power in powers) / block_size)
    return torch.tensor([[power / size] for power in powers for _ in range(emb_dim)])


def hidden_innermost(p: Parameters) -> Parameters:
    """Returns the same values with W2 stored as its transpose, so that `hidden` is contiguous in all of them."""
    return p._replace(W2=p.W2.t().contiguous().t())


def hidden_layer(p: Parameters, contexts: Tensor) -> Tensor:
    """The activations h of the hidden layer. (..., block_size) -> (..., hidden)"""
    # In inference mode nothing records a gradient, so that `tanh` may work in place.
    if torch.is_inference_mode_enabled() and contexts.dim() == 2:
        return tanh(first_layer.forward(p.C, p.W1, p.b1, contexts))
    e = p.C[contexts].flatten(start_dim=-2)  # (..., block_size * emb_dim)
    return torch.tanh(e @ p.W1 + p.b1)


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
    h = h if mask is None else h * mask
    if p.direct:
        h = torch.cat([h, p.C[contexts].flatten(start_dim=-2)], dim=-1)  # (..., hidden + block_size * emb_dim)
    return h @ p.W2 + p.b2


def dropout_mask(rows: int, p: Parameters, rate: float) -> Tensor:
    """Draws a mask (rows, hidden): zero with probability `rate` in units of 2^-16, otherwise 1 / (1 - rate).

    Every random integer of 64 bits decides on four entries, which takes a sixth of the time of `bernoulli_`.
    """
    kept = max(1, round((1 - rate) * 2**16))  # of the values of 16 bits
    integers = torch.empty(math.ceil(rows * len(p.b1) / 4), dtype=torch.int64, device=p.b1.device)
    bits = integers.random_(-(2**63), None).view(torch.int16)[: rows * len(p.b1)].view(rows, -1)
    return (bits < kept - 2**15).to(p.b1.dtype).mul_(2**16 / kept)


def merge_equal(contexts: Tensor, vocabulary: int) -> tuple[Tensor, Tensor, Tensor]:
    """The distinct contexts among some, where they can be numbered in 64 bits; otherwise all count as distinct.

    Returns:
        (U, block_size) distinct contexts, (B,) which of them each is, and (U, 1) how often each occurs.
    """
    rows, block_size = contexts.shape
    device = contexts.device
    if vocabulary**block_size > torch.iinfo(torch.int64).max:
        return contexts, torch.arange(rows, device=device), torch.ones(rows, 1, dtype=torch.int64, device=device)
    digits = torch.tensor([vocabulary**place for place in range(block_size)], device=device)
    keys = (contexts * digits).sum(1)  # (B,)
    keys, which, repeats = torch.unique(keys, return_inverse=True, return_counts=True)
    return keys.unsqueeze(1) // digits % vocabulary, which, repeats.unsqueeze(1)


def loss_and_gradients(
    p: Parameters,
    contexts: Tensor,
    targets: Tensor,
    out: Parameters,
    mask: Tensor | None = None,
    soft: Tensor | None = None,
    product_dtype: torch.dtype | None = None,
) -> Tensor:
    """Writes the gradients by the formulas above to `out`, in half of autograd's time or less; returns the mean loss.

    Contexts are (B, block_size), targets (B,), the dropout mask (B, hidden), and `soft` (B, vocabulary) distributions
    to learn instead of the targets. Matrix products may be in a narrower type than everything else.
    """
    rows = len(targets)
    narrow = Parameters(*(parameter.to(product_dtype or parameter.dtype) for parameter in p))
    if mask is None and contexts.device.type == "cpu":
        x, which, repeats = merge_equal(contexts, len(p.C))  # (U, block_size), (B,), (U, 1)
    else:
        x, which, repeats = contexts, torch.arange(rows, device=contexts.device), None
    h = tanh(first_layer.forward(narrow.C, narrow.W1, p.b1, x))  # (U, hidden)
    hm = (h if mask is None else h * mask).to(narrow.W2.dtype)  # (U, hidden)
    if p.direct:
        hm = torch.cat([hm, narrow.C[x].flatten(1)], dim=1)  # (U, hidden + block_size * emb_dim)
    log_p = torch.mm(hm, narrow.W2).to(p.b2.dtype).add_(p.b2).log_softmax(dim=1)  # (U, vocabulary)
    mean_loss = log_p[which, targets].mean().neg()
    dz = log_p.exp_()  # (U, vocabulary)
    if repeats is not None:
        dz.mul_(repeats)
    if soft is None:
        dz.view(-1).index_add_(0, which * len(p.C) + targets, dz.new_full((rows,), -1.0))
    else:
        dz.index_add_(0, which, soft, alpha=-1)
    dz.div_(rows)
    torch.sum(dz, 0, out=out.b2)
    dz = dz.to(hm.dtype)
    multiply(hm.t(), dz, out.W2)
    dh, de = torch.mm(dz, narrow.W2.t()).to(h.dtype).tensor_split([h.shape[1]], dim=1)  # (U, hidden), (U, the rest)
    if mask is not None:
        dh.mul_(mask)
    da = dh.addcmul_(dh * h, h, value=-1)  # (U, hidden) dh - dh h^2
    torch.sum(da, 0, out=out.b1)
    first_layer.backward(narrow.C, narrow.W1, x, da, out.C, out.W1)
    if p.direct:
        out.C.index_add_(0, x.reshape(-1), de.reshape(x.numel(), -1))
    return mean_loss
