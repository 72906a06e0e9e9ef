r"""The first layer a = e W1 + b1 and its gradients, computed example by example or pair by pair, whichever takes less.

e is C[x] laid side by side, so e W1 is a sum over the positions c of the context, of the row of C for the token there
times the rows of W1 for that position:

    a_i = b1 + sum_c T[c, x_ic]     with  T[c] = C W1_c     (vocabulary, hidden)

There are only block_size * vocabulary pairs of a position and a token. Example by example, B rows of e are multiplied
by W1; pair by pair, C, which has as many rows as the vocabulary, is multiplied by each W1_c, and block_size rows of T
are added up for each example. Backwards the same pairs collect what the examples that contain them send back:

    dT[c, v] = sum of da_i over the examples i with x_ic = v
    dW1_c = C' dT[c]                dC = sum_c dT[c] W1_c'

Both forms compute the same function; only the order of sums differs. With minibatches of 512 and 27 characters, the
three large products of a step shrink to a twentieth.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# What adding one number to another costs in memory traffic, in multiplications and additions of a large product.
ADDITION = 4


def pairs_pay(rows: int, vocabulary: int, emb_dim: int) -> bool:
    """Whether the pairs take less than the examples: a step's work for each hidden unit and position of the context."""
    return 3 * vocabulary * emb_dim + 2 * ADDITION * rows < 3 * rows * emb_dim


def use_pairs(C: Tensor, contexts: Tensor) -> bool:
    """Whether to go pair by pair for contexts (B, block_size): not on a GPU, where it was never measured."""
    return contexts.device.type == "cpu" and pairs_pay(len(contexts), *C.shape)


def forward(C: Tensor, W1: Tensor, b1: Tensor, contexts: Tensor) -> Tensor:
    """The layer before tanh, in the type of b1, whatever that of C and W1. (B, block_size) -> (B, hidden)"""
    rows, block_size = contexts.shape
    if not use_pairs(C, contexts):
        e = C.index_select(0, contexts.reshape(-1)).view(rows, -1)  # (B, block_size * emb_dim)
        return torch.addmm(b1, e, W1) if W1.dtype is b1.dtype else (e @ W1).to(b1.dtype).add_(b1)
    T = torch.matmul(C, W1.view(block_size, C.shape[1], -1)).to(b1.dtype)  # (block_size, vocabulary, hidden)
    return F.embedding_bag(_pairs(C, contexts), T.flatten(0, 1), mode="sum").add_(b1)


def backward(C: Tensor, W1: Tensor, contexts: Tensor, da: Tensor, dC: Tensor, dW1: Tensor) -> None:
    """Writes the gradients for da (B, hidden) to dC and dW1. The products are in the type of C and W1."""
    rows, block_size = contexts.shape
    vocabulary, emb_dim = C.shape
    if not use_pairs(C, contexts):
        ids = contexts.reshape(-1)  # (B * block_size,)
        e = C.index_select(0, ids).view(rows, -1)  # (B, block_size * emb_dim)
        multiply(e.t(), da.to(C.dtype), dW1)
        de = (da.to(C.dtype) @ W1.t()).to(dC.dtype)  # (B, block_size * emb_dim)
        dC.zero_().index_add_(0, ids, de.view(len(ids), -1))
        return
    pairs = _pairs(C, contexts).view(-1)  # (B * block_size,)
    # The examples of each pair, one pair after another: a bag of rows of da for each.
    examples = pairs.argsort(stable=True) // block_size  # (B * block_size,)
    counts = torch.bincount(pairs, minlength=block_size * vocabulary)
    dT = F.embedding_bag(examples, da, counts.cumsum(0) - counts, mode="sum")  # (block_size * vocabulary, hidden)
    dT = dT.view(block_size, vocabulary, -1).to(C.dtype)
    W1_c = W1.view(block_size, emb_dim, -1)
    multiply(C.t(), dT, dW1.view(block_size, emb_dim, -1))
    dC.copy_(torch.bmm(dT, W1_c.transpose(1, 2)).to(dC.dtype).sum(0))


def multiply(a: Tensor, b: Tensor, out: Tensor) -> None:
    """Writes a b to `out`, which may have a wider type than a and b."""
    if out.dtype is a.dtype:
        torch.matmul(a, b, out=out)
    else:
        out.copy_(a @ b)


def _pairs(C: Tensor, contexts: Tensor) -> Tensor:
    """Numbers of the pairs of position and token in contexts (B, block_size), (B, block_size) int64."""
    return contexts + len(C) * torch.arange(contexts.shape[1])
