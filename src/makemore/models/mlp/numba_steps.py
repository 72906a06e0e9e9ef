"""The formulas of `mlp.formulas` as loops in machine code, compiled by Numba: for networks of the lecture's size.

The products of one step of the lecture's run are 2.2 million multiplications and additions, 10 to 20 µs for a core of
today. To start PyTorch's twenty operations for them takes as long again, and its products are made for larger matrices.
Here a whole chunk of steps is one call.

A processor adds and multiplies four to sixteen neighbours at once, so every product is written with `hidden`, the
longest dimension, as the inner one, and W2 is kept as its transpose. Then two forms of product are enough,
`add_product` and `inner_products`. Both work on two rows and four terms at a time, so that what is loaded is used more
than once, and on blocks of rows that stay in the cache while a large matrix passes by.

Names are those of `mlp.formulas`: e, h, z, then dz, dh, da, de. All arrays are contiguous unless said otherwise.
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

# One for each function below, and one more.
ATTEMPTS = 20

# How far floating point may be rearranged. As written, but that a product and a sum may be rounded once:
EXACT = {"contract"}
# and sums in any order, so that they can be taken many at a time. What is not a number stays so: training ends by it.
REORDERED = {"contract", "reassoc", "arcp", "nsz"}
# Rows of a block: 25 KB at 200 hidden units.
BLOCK = 32


def jit(function: Function, fastmath: set[str] = REORDERED) -> Function:
    """Compiles a function at its first call, and keeps the result on disk for the next process."""
    compiler: Callable[..., Any] = functools.partial(numba.njit, fastmath=fastmath, error_model="numpy", nogil=True)
    try:
        return compiler(function, cache=True)  # type: ignore[no-any-return]
    except RuntimeError:  # nowhere to keep it: neither the package's folder nor the user's can be written
        return compiler(function)  # type: ignore[no-any-return]


class Arrays(NamedTuple):
    """Parameters, or gradients, as the compiled functions take them.

    Attributes:
        C: (vocabulary, emb_dim).
        W1: (block_size * emb_dim, hidden).
        b1: (hidden,).
        W2t: (vocabulary, hidden), the transpose of W2.
        b2: (vocabulary,).
    """

    C: Floats
    W1: Floats
    b1: Floats
    W2t: Floats
    b2: Floats


class Work(NamedTuple):
    """What the steps of one minibatch size write over again.

    Attributes:
        e: (B, block_size * emb_dim).
        h: (B, hidden).
        hm: (B, hidden) h times the dropout mask.
        dz: (B, vocabulary).
        da: (B, hidden).
        de: (B, block_size * emb_dim).
    """

    e: Floats
    h: Floats
    hm: Floats
    dz: Floats
    da: Floats
    de: Floats


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
def inner_products(out: Floats, a: Floats, b: Floats) -> None:
    """Writes a b' to out, for out (R, N), a (R, H) and b (N, H)."""
    rows, columns = out.shape
    zero = a.dtype.type(0)
    for first in range(0, rows, BLOCK):
        last = min(first + BLOCK, rows)
        for k in range(0, columns - 3, 4):
            b0, b1, b2, b3 = b[k], b[k + 1], b[k + 2], b[k + 3]
            for i in range(first, last, 2):
                # Of an odd number of rows the last is taken twice.
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
    """Returns the mean loss of logits z (B, vocabulary), and writes scale * (softmax(z) - 1_y) in their place.

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
    return total / len(z)


@jit
def look_up(e: Floats, C: Floats, contexts: Integers) -> None:
    """The rows of C (vocabulary, emb_dim) that contexts (B, block_size) name, side by side in e."""
    emb_dim = C.shape[1]
    for i in range(len(contexts)):
        for c in range(contexts.shape[1]):
            row = C[contexts[i, c]]
            for d in range(emb_dim):
                e[i, c * emb_dim + d] = row[d]


@jit
def add_up(C: Floats, de: Floats, contexts: Integers) -> None:
    """The transpose of looking up: adds de to the rows of C that contexts name."""
    emb_dim = C.shape[1]
    for i in range(len(contexts)):
        for c in range(contexts.shape[1]):
            row = C[contexts[i, c]]
            for d in range(emb_dim):
                row[d] += de[i, c * emb_dim + d]


@jit
def add_to_rows(out: Floats, row: Floats) -> None:
    """Adds a row (N,) to each of out (B, N)."""
    for i in range(len(out)):
        for j in range(len(row)):
            out[i, j] += row[j]


@jit
def add_rows(out: Floats, rows: Floats) -> None:
    """Adds the sum of rows (B, N) to out (N,)."""
    for i in range(len(rows)):
        for j in range(len(out)):
            out[j] += rows[i, j]


@jit
def multiply(out: Floats, a: Floats, b: Floats) -> None:
    """Writes a * b to out, element by element, each (B, H)."""
    for i in range(len(out)):
        for j in range(out.shape[1]):
            out[i, j] = a[i, j] * b[i, j]


@jit
def through_tanh(da: Floats, h: Floats) -> None:
    """Multiplies da by 1 - h^2, element by element, each (B, H)."""
    for i in range(len(da)):
        for j in range(da.shape[1]):
            da[i, j] -= da[i, j] * h[i, j] * h[i, j]


@jit
def step(
    p: Arrays, contexts: Integers, targets: Integers, q: Floats, mask: Floats, scale: float, out: Arrays, work: Work
) -> float:
    """Adds `scale` times the gradients of one minibatch to `out`.

    With scale 1 and zeros in `out` these are the gradients. With scale -rate and the parameters themselves as `out` it
    is a step of gradient descent: whatever reads a parameter comes before it is written.

    Args:
        p: the parameters.
        contexts: (B, block_size).
        targets: (B,).
        q: (B, vocabulary) distributions to learn in place of the targets, or (0, vocabulary) for none.
        mask: (B, hidden) dropout mask, or (0, hidden) for none.
        scale: what the gradients are multiplied by.
        out: what they are added to.
        work: to write over.

    Returns:
        The mean loss before the step.
    """
    e, h, hm, dz, da, de = work
    dropout = len(mask) > 0

    # Forward: e = C[x];  h = tanh(e W1 + b1);  z = (m h) W2 + b2, which dz holds at first.
    look_up(e, p.C, contexts)
    h[:] = 0
    add_product(h, e, p.W1)
    add_to_rows(h, p.b1)
    tanh(h)
    if dropout:
        multiply(hm, h, mask)
    else:
        hm = h
    inner_products(dz, hm, p.W2t)
    add_to_rows(dz, p.b2)
    # dz = scale (softmax(z) - 1_y) / B, and everything below is `scale` times its formula.
    loss = cross_entropy(dz, targets, q, scale / len(contexts))

    # Back: dh = m (dz W2');  da = dh (1 - h^2);  de = da W1'.
    da[:] = 0
    add_product(da, dz, p.W2t)
    if dropout:
        multiply(da, da, mask)
    through_tanh(da, h)
    inner_products(de, da, p.W1)

    # dW2 = (m h)' dz;  db2 = sum_B dz;  dW1 = e' da;  db1 = sum_B da;  dC = rows of de added up at their ids.
    add_product(out.W2t, dz.T, hm)
    add_rows(out.b2, dz)
    add_product(out.W1, e.T, da)
    add_rows(out.b1, da)
    add_up(out.C, de, contexts)
    return loss


@jit
def descend(p: Arrays, contexts: Integers, targets: Integers, rates: Floats, losses: Floats, work: Work) -> None:
    """Takes K steps of plain gradient descent.

    Args:
        p: the parameters, changed in place.
        contexts: (K, B, block_size).
        targets: (K, B).
        rates: (K,) the learning rate of each step, in float64.
        losses: (K,) where the mean loss before each step is written.
        work: to write over.
    """
    no_q, no_mask = work.dz[:0], work.hm[:0]
    for k in range(len(rates)):
        losses[k] = step(p, contexts[k], targets[k], no_q, no_mask, -rates[k], p, work)


class Network:
    """The parameters of one network, for the compiled functions.

    Args:
        p: the parameters, on the CPU; they are changed in place. W2 has the layout of `mlp.hidden_innermost`.
        gradients: where gradients are written, laid out as `p`.
    """

    def __init__(self, p: mlp.Parameters, gradients: mlp.Parameters) -> None:
        self._p = _arrays(p)
        self._gradients = _arrays(gradients)
        self._work: dict[int, Work] = {}

    def descend(self, contexts: Tensor, targets: Tensor, rates: list[float]) -> Tensor:
        """K steps of plain gradient descent on contexts (K, B, block_size) and targets (K, B): the K losses."""
        losses = np.empty(len(rates), self._p.b1.dtype)  # (K,)
        work = self._work_for(targets.shape[1])
        descend(self._p, contexts.numpy(), targets.numpy(), np.asarray(rates, np.float64), losses, work)
        return torch.from_numpy(losses)

    def loss_and_gradients(
        self, contexts: Tensor, targets: Tensor, mask: Tensor | None = None, soft: Tensor | None = None
    ) -> float:
        """The mean loss of one minibatch, as `mlp.loss_and_gradients`; writes the gradients."""
        work = self._work_for(len(contexts))
        for array in self._gradients:
            array.fill(0)
        keep = work.hm[:0] if mask is None else mask.numpy()
        q = work.dz[:0] if soft is None else soft.numpy()
        return step(self._p, contexts.numpy(), targets.numpy(), q, keep, 1.0, self._gradients, work)

    def _work_for(self, rows: int) -> Work:
        if rows not in self._work:
            (inputs, hidden), vocabulary = self._p.W1.shape, len(self._p.b2)
            widths = {"e": inputs, "h": hidden, "hm": hidden, "dz": vocabulary, "da": hidden, "de": inputs}
            self._work[rows] = Work(
                **{name: np.empty((rows, width), self._p.b1.dtype) for name, width in widths.items()}
            )
        return self._work[rows]


def _arrays(p: mlp.Parameters) -> Arrays:
    """The same memory, as the compiled functions take it."""
    return Arrays(p.C.numpy(), p.W1.numpy(), p.b1.numpy(), p.W2.t().numpy(), p.b2.numpy())


def kept_in() -> Path | None:
    """The folder in which the compiled functions are kept; None if there is none."""
    folder = getattr(getattr(step, "stats", None), "cache_path", None)
    return None if folder is None else Path(folder)


def is_ready() -> bool:
    """Whether the compiled functions seem to be on disk already."""
    folder = kept_in()
    return folder is not None and any(folder.glob("numba_steps.descend-*.nbi"))


def prepare() -> None:
    """Compiles for float32, or reads what was compiled before, by training the smallest network there is.

    Functions on disk that cannot be read are compiled anew; those that cannot be written are for this process alone.
    """
    for _ in range(ATTEMPTS):
        try:
            return train_the_smallest()
        except (OSError, EOFError, pickle.UnpicklingError, ValueError, KeyError) as error:
            # What was compiled stays so, each time one more: writing fails only after compiling.
            log.debug(f"compiled functions: {error!r}")
            forget()
    return train_the_smallest()


def forget() -> None:
    """Deletes the compiled functions from disk, as far as that is allowed."""
    folder = kept_in()
    for path in [] if folder is None else [*folder.glob("numba_steps.*.nbi"), *folder.glob("numba_steps.*.nbc")]:
        with contextlib.suppress(OSError):
            path.unlink()


def train_the_smallest() -> None:
    """Takes the two ways into the compiled functions once."""
    p, gradients = (mlp.hidden_innermost(mlp.Parameters(*map(torch.zeros, mlp.shapes(1, 1, 1, 1)))) for _ in range(2))
    network = Network(p, gradients)
    network.loss_and_gradients(torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))
    network.descend(torch.zeros(1, 1, 1, dtype=torch.int64), torch.zeros(1, 1, dtype=torch.int64), [0.0])
