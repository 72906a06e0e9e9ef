"""The formulas of `mlp.formulas` as loops in machine code, compiled by Numba, for networks of the lecture's size.

The matrix products of one step of the lecture's run take 10 to 20 µs on a current core. PyTorch takes as long again
just to start the step's twenty operations. Here a whole chunk of steps is one call.

A processor multiplies and adds four to sixteen neighbouring numbers at once. So `hidden`, the longest dimension, is the
inner loop of every product, and W2 is stored as its transpose. Then two kinds of product are enough, `add_product` and
`inner_products`. Both work on two rows and four terms at a time, to use each loaded number more than once, and on
blocks of rows that stay in the cache while they pass through a large matrix.

Sums in float32 need care. A minibatch is processed in pieces of PIECE examples; each gradient is summed over a piece,
and only that sum is added to the sums of other pieces or to the parameters. Added example by example, much would be
lost to rounding: one example's part of an update is often smaller than half a unit in the last place of a weight.

Names are those of `mlp.formulas`: e, h, z, then dz, dh, da, de. All arrays are contiguous unless noted otherwise.
"""

import contextlib
import functools
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from makemore.models.mlp import formulas as mlp

Floats = NDArray[np.floating]
Integers = NDArray[np.int64]
Function = TypeVar("Function", bound=Callable[..., object])

log = logging.getLogger(__name__)

# More than there are compiled functions below.
ATTEMPTS = 30

# Floating-point arithmetic as written, except that a * b + c may be rounded once instead of twice.
EXACT = {"contract"}
# Also sums in any order, which vectorizes them. NaN is kept: it tells that training has diverged.
REORDERED = {"contract", "reassoc", "arcp", "nsz"}
# Rows in a block: 25 KB at 200 hidden units.
BLOCK = 32
# Examples in a piece of a minibatch: at 200 hidden units their activations fit in a second-level cache.
PIECE = 256


def jit(function: Function, fastmath: set[str] = REORDERED) -> Function:
    """Compiles a function at its first call, and caches the result on disk for the next process."""
    compiler: Callable[..., Any] = functools.partial(numba.njit, fastmath=fastmath, error_model="numpy", nogil=True)
    try:
        return compiler(function, cache=True)  # type: ignore[no-any-return]
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return compiler(function)  # type: ignore[no-any-return]


class Arrays(NamedTuple):
    """Parameters or gradients, as the compiled functions take them."""

    C: Floats  # (vocabulary, emb_dim)
    W1: Floats  # (block_size * emb_dim, hidden)
    b1: Floats  # (hidden,)
    W2t: Floats  # (vocabulary, hidden), the transpose of W2
    b2: Floats  # (vocabulary,)


class Work(NamedTuple):
    """Memory for one piece of a minibatch, overwritten by every piece."""

    e: Floats  # (PIECE, block_size * emb_dim)
    h: Floats  # (PIECE, hidden)
    hm: Floats  # (PIECE, hidden) h times the dropout mask
    dz: Floats  # (PIECE, vocabulary)
    da: Floats  # (PIECE, hidden)
    de: Floats  # (PIECE, block_size * emb_dim)
    dc: Floats  # (vocabulary, emb_dim)
    sums: Floats  # (BLOCK, hidden)


@jit
def add_product(out: Floats, a: Floats, b: Floats) -> None:
    """Adds a b to out, for out (R, H), a (R, N) with any strides, and b (N, H)."""
    rows, terms = a.shape
    for first in range(0, rows, BLOCK):
        last = min(first + BLOCK, rows)
        for k in range(0, terms - 3, 4):
            b0, b1, b2, b3 = b[k], b[k + 1], b[k + 2], b[k + 3]
            for i in range(first, last - 1, 2):
                out0, out1 = out[i], out[i + 1]
                a00, a01, a02, a03 = a[i, k], a[i, k + 1], a[i, k + 2], a[i, k + 3]
                a10, a11, a12, a13 = a[i + 1, k], a[i + 1, k + 1], a[i + 1, k + 2], a[i + 1, k + 3]
                for j in range(len(out0)):
                    out0[j] += a00 * b0[j] + a01 * b1[j] + a02 * b2[j] + a03 * b3[j]
                    out1[j] += a10 * b0[j] + a11 * b1[j] + a12 * b2[j] + a13 * b3[j]
        for k in range(terms - terms % 4, terms):
            b0 = b[k]
            for i in range(first, last - 1, 2):
                out0, out1, a00, a10 = out[i], out[i + 1], a[i, k], a[i + 1, k]
                for j in range(len(out0)):
                    out0[j] += a00 * b0[j]
                    out1[j] += a10 * b0[j]
    if rows % 2:
        out0 = out[rows - 1]
        for k in range(terms):
            b0, a00 = b[k], a[rows - 1, k]
            for j in range(len(out0)):
                out0[j] += a00 * b0[j]


@jit
def add_sums(out: Floats, a: Floats, b: Floats, sums: Floats) -> None:
    """Adds a b to out like `add_product`, but finishes the sums in `sums` (BLOCK, H) before it adds them to out."""
    for first in range(0, len(out), BLOCK):
        rows = out[first : first + BLOCK]
        block = sums[: len(rows)]
        block.fill(0)
        add_product(block, a[first : first + BLOCK], b)
        add_flat(rows, block)


@jit
def add_flat(out: Floats, a: Floats) -> None:
    """Adds a to out, element by element, of the same shape."""
    flat, more = out.reshape(-1), a.reshape(-1)
    for i in range(len(flat)):
        flat[i] += more[i]


@jit
def inner_products(out: Floats, a: Floats, b: Floats) -> None:
    """Writes a b' to out, for out (R, N), a (R, H) and b (N, H)."""
    rows, columns = out.shape
    zero = a.dtype.type(0)
    for first in range(0, rows, BLOCK):
        last = min(first + BLOCK, rows)
        for k in range(0, columns - 3, 4):
            b0, b1, b2, b3 = b[k], b[k + 1], b[k + 2], b[k + 3]
            for i in range(first, last, 2):
                # If the number of rows is odd, the last row is computed twice.
                i1 = min(i + 1, last - 1)
                a0, a1 = a[i], a[i1]
                s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = zero
                for j in range(len(a0)):
                    s00 += a0[j] * b0[j]
                    s01 += a0[j] * b1[j]
                    s02 += a0[j] * b2[j]
                    s03 += a0[j] * b3[j]
                    s10 += a1[j] * b0[j]
                    s11 += a1[j] * b1[j]
                    s12 += a1[j] * b2[j]
                    s13 += a1[j] * b3[j]
                out[i, k], out[i, k + 1], out[i, k + 2], out[i, k + 3] = s00, s01, s02, s03
                out[i1, k], out[i1, k + 1], out[i1, k + 2], out[i1, k + 3] = s10, s11, s12, s13
        for k in range(columns - columns % 4, columns):
            b0 = b[k]
            for i in range(first, last):
                a0 = a[i]
                s00 = zero
                for j in range(len(a0)):
                    s00 += a0[j] * b0[j]
                out[i, k] = s00


@functools.partial(jit, fastmath=EXACT)
def split_exp(x: np.float32) -> tuple[np.float32, np.float32]:
    """Splits e^x for a float32 x <= 0 into 2^k and e^r - 1, so that e^x = 2^k e^r. Below -87, x counts as -87.

    x = k ln 2 + r with |r| <= ln 2 / 2. The power of two is written into the exponent's bits, and the Taylor series of
    e^r - 1 ends after r^6, with a relative error of 4e-7. (Calls of a library's exp would not be vectorized.)
    """
    x = np.float32(-87) if x < np.float32(-87) else x  # written this way round to keep NaN
    k = np.floor(x * np.float32(1.442695041) + np.float32(0.5))
    r = x - k * np.float32(0.693359375) + k * np.float32(2.12194440e-4)  # ln 2 in two parts: k times the first is exact
    series = np.float32(1 / 720)
    for factorial in (120, 24, 6, 2, 1):
        series = series * r + np.float32(1 / factorial)
    return np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(np.float32), series * r


@functools.partial(jit, fastmath=EXACT)
def exp(x: np.float32) -> np.float32:
    """The exponential of a float32 x <= 0, with a relative error below 3e-7."""
    power, rest = split_exp(x)
    return power + power * rest


@functools.partial(jit, fastmath=EXACT)
def one_minus_exp(x: np.float32) -> np.float32:
    """1 - e^x for a float32 x <= 0, with a relative error below 1e-6 also where e^x is close to 1."""
    power, rest = split_exp(x)
    return (np.float32(1) - power) - power * rest


@jit
def tanh(x: Floats) -> None:
    """The hyperbolic tangent in place, for x (N, H): tanh |x| = u / (2 - u) with u = 1 - exp(-2 |x|)."""
    for i in range(len(x)):
        row = x[i]
        if x.itemsize == 4:
            for j in range(len(row)):
                u = one_minus_exp(np.float32(-2 * abs(row[j])))
                row[j] = np.copysign(u / (np.float32(2) - u), row[j])
        else:
            for j in range(len(row)):
                row[j] = np.tanh(row[j])


@jit
def cross_entropy(z: Floats, targets: Integers, q: Floats, scale: float) -> float:
    """Returns the summed loss of logits z (B, vocabulary), and writes scale * (softmax(z) - 1_y) in their place.

    If there are distributions q (B, vocabulary), they replace 1_y; the loss is that of the targets in either case.
    """
    total = 0.0
    for i in range(len(z)):
        row = z[i]
        largest = row.max()
        of_target = row[targets[i]] - largest
        for j in range(len(row)):
            row[j] = exp(np.float32(row[j] - largest)) if z.itemsize == 4 else np.exp(row[j] - largest)
        s = row.sum()
        total += np.log(s) - of_target
        if len(q) > 0:
            for j in range(len(row)):
                row[j] = scale * (row[j] / s - q[i, j])
        else:
            for j in range(len(row)):
                row[j] *= scale / s
            row[targets[i]] -= scale
    return total


@jit
def look_up(e: Floats, C: Floats, contexts: Integers) -> None:
    """Writes the rows of C (vocabulary, emb_dim) for contexts (B, block_size) to e, side by side."""
    emb_dim = C.shape[1]
    for i in range(len(contexts)):
        for c in range(contexts.shape[1]):
            row = C[contexts[i, c]]
            for d in range(emb_dim):
                e[i, c * emb_dim + d] = row[d]


@jit
def add_up(C: Floats, de: Floats, contexts: Integers) -> None:
    """The transpose of `look_up`: adds de to the rows of C for contexts."""
    emb_dim = C.shape[1]
    for i in range(len(contexts)):
        for c in range(contexts.shape[1]):
            row = C[contexts[i, c]]
            for d in range(emb_dim):
                row[d] += de[i, c * emb_dim + d]


@jit
def repeat(out: Floats, row: Floats) -> None:
    """Writes a row (N,) to each row of out (B, N)."""
    for i in range(len(out)):
        for j in range(len(row)):
            out[i, j] = row[j]


@jit
def add_to_rows(out: Floats, row: Floats) -> None:
    """Adds a row (N,) to each of out (B, N)."""
    for i in range(len(out)):
        for j in range(len(row)):
            out[i, j] += row[j]


@jit
def add_rows(out: Floats, rows: Floats) -> None:
    """Adds the sum of rows (B, N) to out (N,), finishing the sum in the first row before it adds that to out."""
    for i in range(1, len(rows)):
        for j in range(len(out)):
            rows[0, j] += rows[i, j]
    add_flat(out, rows[0])


@jit
def through_tanh(da: Floats, h: Floats) -> None:
    """Multiplies da by 1 - h^2, element by element, each (B, H)."""
    for i in range(len(da)):
        for j in range(da.shape[1]):
            da[i, j] -= da[i, j] * h[i, j] * h[i, j]


@jit
def add_gradients(
    p: Arrays, contexts: Integers, targets: Integers, q: Floats, mask: Floats, scale: float, out: Arrays, work: Work
) -> float:
    """Adds `scale` times the gradients of one minibatch to `out`, piece by piece, and returns the mean loss.

    The distributions q (B, vocabulary) to learn instead of the targets (B,), and the dropout mask (B, hidden), have no
    rows if there are none. If B <= PIECE, `out` may be `p` itself: a piece reads all before it writes any.
    """
    rows, loss = len(targets), 0.0
    for first in range(0, rows, PIECE):
        piece = slice(first, min(first + PIECE, rows))
        x = contexts[piece]
        n = len(x)
        e, h, hm, dz, da, de = work.e[:n], work.h[:n], work.hm[:n], work.dz[:n], work.da[:n], work.de[:n]
        m = mask[piece]
        dropout = len(m) > 0

        # Forward: e = C[x];  h = tanh(e W1 + b1);  z = (m h) W2 + b2, in the memory of dz.
        look_up(e, p.C, x)
        repeat(h, p.b1)
        add_product(h, e, p.W1)
        tanh(h)
        if dropout:
            np.multiply(h, m, hm)
        else:
            hm = h
        inner_products(dz, hm, p.W2t)
        add_to_rows(dz, p.b2)
        # dz = scale (softmax(z) - 1_y) / B, which makes everything below `scale` times its formula.
        loss += cross_entropy(dz, targets[piece], q[piece], scale / rows)

        # Backward: dh = m (dz W2');  da = dh (1 - h^2);  de = da W1'.
        da.fill(0)
        add_product(da, dz, p.W2t)
        if dropout:
            da *= m
        through_tanh(da, h)
        inner_products(de, da, p.W1)

        # dW2 = (m h)' dz;  db2 = sum_B dz;  dW1 = e' da;  db1 = sum_B da;  dC = rows of de added up at their ids.
        add_sums(out.W2t, dz.T, hm, work.sums)
        add_rows(out.b2, dz)
        add_sums(out.W1, e.T, da, work.sums)
        add_rows(out.b1, da)
        work.dc.fill(0)
        add_up(work.dc, de, x)
        add_flat(out.C, work.dc)
    return loss / rows


@jit
def descend(p: Arrays, contexts: Integers, targets: Integers, rates: Floats, losses: Floats, work: Work) -> None:
    """Takes K steps of plain gradient descent on minibatches of at most PIECE examples, as `Network.descend` does."""
    for k in range(len(rates)):
        losses[k] = add_gradients(p, contexts[k], targets[k], work.dz[:0], work.hm[:0], -rates[k], p, work)


class Network:
    """Trains a network in place, on the CPU. Parameters and gradients have the layout of `mlp.hidden_innermost`."""

    def __init__(self, p: mlp.Parameters, gradients: mlp.Parameters) -> None:
        self._p = _arrays(p)
        self._gradients = _arrays(gradients)
        (vocabulary, emb_dim), (inputs, hidden) = p.C.shape, p.W1.shape
        widths = {"e": inputs, "h": hidden, "hm": hidden, "dz": vocabulary, "da": hidden, "de": inputs}
        shapes = {name: (PIECE, width) for name, width in widths.items()}
        shapes |= {"dc": (vocabulary, emb_dim), "sums": (BLOCK, hidden)}
        # Allocated by PyTorch, which aligns memory for wide vectors: a step is a tenth faster than with NumPy's memory.
        self._work = Work(**{name: torch.empty(shape, dtype=p.b1.dtype).numpy() for name, shape in shapes.items()})

    def descend(self, contexts: Tensor, targets: Tensor, rates: list[float]) -> Tensor:
        """Takes K steps of plain gradient descent, and returns the mean loss before each, (K,)."""
        losses = np.empty(len(rates), self._p.b1.dtype)  # (K,)
        if targets.shape[1] <= PIECE:
            descend(self._p, contexts.numpy(), targets.numpy(), np.asarray(rates, np.float64), losses, self._work)
        else:
            for k, rate in enumerate(rates):
                losses[k] = self.loss_and_gradients(contexts[k], targets[k], scale=-rate)
                for parameter, change in zip(self._p, self._gradients, strict=True):
                    parameter[...] += change
        return torch.from_numpy(losses)

    def loss_and_gradients(
        self,
        contexts: Tensor,
        targets: Tensor,
        mask: Tensor | None = None,
        soft: Tensor | None = None,
        scale: float = 1.0,
    ) -> float:
        """Writes `scale` times the gradients of one minibatch, like `mlp.loss_and_gradients`, and returns its loss."""
        q = self._work.dz[:0] if soft is None else soft.numpy()
        keep = self._work.hm[:0] if mask is None else mask.numpy()
        for array in self._gradients:
            array.fill(0)
        return add_gradients(self._p, contexts.numpy(), targets.numpy(), q, keep, scale, self._gradients, self._work)


def _arrays(p: mlp.Parameters) -> Arrays:
    """The same memory, as the compiled functions take it."""
    return Arrays(p.C.numpy(), p.W1.numpy(), p.b1.numpy(), p.W2.t().numpy(), p.b2.numpy())


def prepare() -> None:
    """Compiles for float32, or loads the cache, by training the smallest possible network.

    Cached functions that cannot be read are compiled again; if they cannot be written, this process has them anyway.
    """
    cache = Path(descend.stats.cache_path or "/dev/null")  # type: ignore[attr-defined]  # None where nothing can be kept
    if not any(cache.glob("numba_steps.descend-*.nbi")):
        log.info("compiling the steps for this processor: a few seconds, once")
    p, gradients = (mlp.hidden_innermost(mlp.Parameters(*map(torch.zeros, mlp.shapes(1, 1, 1, 1)))) for _ in range(2))
    network, ids = Network(p, gradients), torch.zeros(1, 1, 1, dtype=torch.int64)
    for attempt in range(ATTEMPTS):
        try:
            network.loss_and_gradients(ids[0], ids[0, 0])
            network.descend(ids, ids[0], [0.0])
            return
        except (OSError, EOFError, pickle.UnpicklingError, ValueError, KeyError):
            # Writing fails only after compiling, so each attempt leaves at least one function more in memory.
            if attempt == ATTEMPTS - 1:
                raise
            for path in cache.glob("numba_steps.*.nb[ic]"):
                with contextlib.suppress(OSError):
                    path.unlink()
