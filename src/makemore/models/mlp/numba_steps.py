"""The formulas of `mlp.formulas` as loops in machine code, compiled by Numba, for networks of the lecture's size.

The matrix products of one step of the lecture's run take 10 to 20 µs on a current core. PyTorch takes as long again
just to start the step's twenty operations. Here a whole chunk of steps is one call.

A processor multiplies and adds four to sixteen neighbouring numbers at once. So `hidden`, the longest dimension, is the
inner loop of every product, and W2 is stored as its transpose. Then two kinds of product are enough, `add_product` and
`inner_products`. They work on seven terms, or on two rows and four columns, at a time, to use each loaded number more
than once, and on blocks of rows that stay in the cache while they pass through a large matrix.

The first layer goes pair by pair (`first_layer.py`), with tables of the tokens that occur in the minibatch, and
examples with equal contexts are one row (`formulas.py`): of the lecture's 32, 28 differ, with 40 different pairs.

Sums in float32 need care. A minibatch is processed in pieces of PIECE examples; each gradient is summed over a piece,
and only that sum is added to the sums of other pieces or to the parameters. Added example by example, much would be
lost to rounding: one example's part of an update is often smaller than half a unit in the last place of a weight.

Names are those of `mlp.formulas`: h, z, then dz, dh, da, and of `mlp.first_layer`: T, dT. All arrays are contiguous
unless noted otherwise.
"""

import contextlib
import functools
import logging
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
# Rows that a thread should have at least: the tables of the first layer are as long for a few rows as for many.
ROWS_PER_THREAD = 128


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

    distinct: Integers  # (PIECE,) an example for each distinct context
    which: Integers  # (PIECE,) the row of each example's context among these
    repeats: Integers  # (PIECE,) how many examples have each
    slots: Integers  # (2 * PIECE,) for finding equal contexts: a row, or -1
    x: Integers  # (PIECE, block_size) the distinct contexts
    numbers: Integers  # (vocabulary,) a token's row in the tables below, or -1
    kinds: Integers  # (block_size,) how many different tokens x has at each position
    tokens: Integers  # (block_size, PIECE) the tokens at each position of x
    rows: Integers  # (block_size, PIECE) the row of each context's token there
    Cx: Floats  # (PIECE, emb_dim) C at these tokens
    T: Floats  # (PIECE, hidden) their part of the first layer at one position, and what comes back to it
    back: Floats  # (PIECE, emb_dim) dT[c] W1_c', at these tokens
    h: Floats  # (PIECE, hidden)
    hm: Floats  # (PIECE, hidden) h times the dropout mask
    dz: Floats  # (PIECE, vocabulary)
    da: Floats  # (PIECE, hidden)
    dc: Floats  # (vocabulary, emb_dim) a piece's dC
    sums: Floats  # (BLOCK, hidden) of `add_sums`
    sum: Floats  # (the larger of hidden and vocabulary,) of `add_rows`


@jit
def add_product(out: Floats, a: Floats, b: Floats) -> None:
    """Adds a b to out, for out (R, H), a (R, N) with any strides, and b (N, H)."""
    rows, terms = a.shape
    zero = a.dtype.type(0)
    for first in range(0, rows, BLOCK):
        for start in range(0, terms if terms >= 7 else 0, 7):
            # The last seven terms reach back, and what they repeat is multiplied by zero.
            k = min(start, terms - 7)
            b0, b1, b2, b3, b4, b5, b6 = b[k], b[k + 1], b[k + 2], b[k + 3], b[k + 4], b[k + 5], b[k + 6]
            for i in range(first, min(first + BLOCK, rows)):
                row = out[i]
                a0 = a[i, k] if k >= start else zero
                a1 = a[i, k + 1] if k + 1 >= start else zero
                a2 = a[i, k + 2] if k + 2 >= start else zero
                a3 = a[i, k + 3] if k + 3 >= start else zero
                a4 = a[i, k + 4] if k + 4 >= start else zero
                a5 = a[i, k + 5] if k + 5 >= start else zero
                a6 = a[i, k + 6]
                for j in range(len(row)):
                    s = a0 * b0[j] + a1 * b1[j] + a2 * b2[j] + a3 * b3[j]
                    row[j] += s + a4 * b4[j] + a5 * b5[j] + a6 * b6[j]
    if terms < 7:
        for i in range(rows):
            row = out[i]
            for k in range(terms):
                b0, a0 = b[k], a[i, k]
                for j in range(len(row)):
                    row[j] += a0 * b0[j]


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
        for start in range(0, columns if columns >= 4 else 0, 4):
            # The last four columns reach back, and some are computed twice.
            k = min(start, columns - 4)
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
    if columns < 4:
        for i in range(rows):
            a0 = a[i]
            for k in range(columns):
                b0, s00 = b[k], zero
                for j in range(len(a0)):
                    s00 += a0[j] * b0[j]
                out[i, k] = s00


@functools.partial(jit, fastmath=EXACT)
def exp(x: np.float32) -> np.float32:
    """The exponential of a float32 x <= 0, with a relative error below 3e-7. Below -87, x counts as -87.

    x = k ln 2 + r with |r| <= ln 2 / 2. The power of two is written into the exponent's bits, and the Taylor series of
    e^r ends after r^6. (Calls of a library's exp would not be vectorized.)
    """
    x = np.float32(-87) if x < np.float32(-87) else x  # written this way round to keep NaN
    k = np.floor(x * np.float32(1.442695041) + np.float32(0.5))
    r = x - k * np.float32(0.693359375) + k * np.float32(2.12194440e-4)  # ln 2 in two parts: k times the first is exact
    series = np.float32(1 / 720)
    for factorial in (120, 24, 6, 2, 1):
        series = series * r + np.float32(1 / factorial)
    power = np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(np.float32)
    e: np.float32 = power + power * (series * r)
    return e


@functools.partial(jit, fastmath=EXACT)
def rational_tanh(x: np.float32) -> np.float32:
    """The hyperbolic tangent of a float32, with a relative error below 5e-7.

    x P(x^2) / Q(x^2), with the coefficients that make the largest relative error for |x| < 9.1 smallest (2.3e-8 before
    rounding), found by least squares with weights. Beyond 9.1, tanh x rounds to 1.
    """
    x = np.float32(9.1) if x > np.float32(9.1) else x  # written this way round to keep NaN
    x = np.float32(-9.1) if x < np.float32(-9.1) else x
    y = x * x
    p = np.float32(1.3177413e-08)
    for coefficient in (2.0481104e-05, 0.0034878060, 0.13374471, 0.99999998):
        p = p * y + np.float32(coefficient)
    q = np.float32(7.7040002e-07)
    for coefficient in (0.00032729119, 0.025847369, 0.46707785, 1.0):
        q = q * y + np.float32(coefficient)
    h = x * p / q
    h = np.float32(1) if h > np.float32(1) else h
    return np.float32(-1) if h < np.float32(-1) else h


@jit
def tanh(x: Floats) -> None:
    """The hyperbolic tangent in place, for x (N, H)."""
    for i in range(len(x)):
        row = x[i]
        for j in range(len(row)):
            row[j] = rational_tanh(np.float32(row[j])) if x.itemsize == 4 else np.tanh(row[j])


@jit
def cross_entropy(z: Floats, which: Integers, targets: Integers, q: Floats, scale: float, repeats: Integers) -> float:
    """Returns the summed loss of examples whose logits are the rows `which` (B,) of z (U, vocabulary).

    In the place of z it writes `scale` times the sum of softmax(z) - 1_y over each row's examples. If there are
    distributions q (B, vocabulary), they replace 1_y; the loss is that of the targets in either case. `repeats` (U,)
    is overwritten.
    """
    total = 0.0
    repeats.fill(0)
    for i in range(len(which)):
        repeats[which[i]] += 1
        total -= z[which[i], targets[i]]
    for u in range(len(z)):
        row = z[u]
        largest = row.max()
        total += repeats[u] * largest
        for j in range(len(row)):
            row[j] -= largest
    flat = z.reshape(-1)  # in one loop, because the remainder of each row would not fill a vector
    for k in range(len(flat)):
        flat[k] = exp(np.float32(flat[k])) if z.itemsize == 4 else np.exp(flat[k])
    for u in range(len(z)):
        row = z[u]
        s = row.sum()
        total += repeats[u] * np.log(s)
        factor = scale * repeats[u] / s
        for j in range(len(row)):
            row[j] *= factor
    for i in range(len(which)):
        if len(q) > 0:
            for j in range(z.shape[1]):
                z[which[i], j] -= scale * q[i, j]
        else:
            z[which[i], targets[i]] -= scale
    return total


@jit
def find_distinct(contexts: Integers, distinct: Integers, which: Integers, slots: Integers) -> int:
    """Finds the distinct contexts among some (B, block_size), and returns how many there are, U.

    Writes the first example of each to `distinct` (U,), and to `which` (B,) the number of each example's context. Free
    `slots` hold -1; their number is a power of two.
    """
    count = 0
    slots.fill(-1)
    for i in range(len(contexts)):
        key = np.uint64(0)
        for c in range(contexts.shape[1]):
            key = (key ^ np.uint64(contexts[i, c])) * np.uint64(0x9E3779B97F4A7C15)  # mixes all into the upper bits
        slot = np.int64(key >> np.uint64(32)) & (len(slots) - 1)
        while slots[slot] >= 0 and not equal(contexts[distinct[slots[slot]]], contexts[i]):
            slot = (slot + 1) & (len(slots) - 1)
        if slots[slot] < 0:
            slots[slot] = count
            distinct[count] = i
            count += 1
        which[i] = slots[slot]
    return count


@jit
def equal(a: Integers, b: Integers) -> bool:
    """Whether two contexts are the same."""
    for c in range(len(a)):  # noqa: SIM110 (compiled, a loop is as fast and allocates nothing)
        if a[c] != b[c]:
            return False
    return True


@jit
def number_tokens(column: Integers, numbers: Integers, tokens: Integers, rows: Integers) -> int:
    """Numbers the distinct tokens of a column (U,) of contexts, and returns how many there are.

    Writes them to `tokens`, and the number of each context's token to `rows` (U,). `numbers` (vocabulary,) holds -1
    before and after.
    """
    count = 0
    for i in range(len(column)):
        token = column[i]
        if numbers[token] < 0:
            numbers[token] = count
            tokens[count] = token
            count += 1
        rows[i] = numbers[token]
    for k in range(count):
        numbers[tokens[k]] = -1
    return count


@jit
def look_up(out: Floats | Integers, table: Floats | Integers, rows: Integers) -> None:
    """Writes the rows (N,) of a table (R, D) to out (N, D)."""
    for i in range(len(rows)):
        row = table[rows[i]]
        for d in range(len(row)):
            out[i, d] = row[d]


@jit
def add_looked_up(out: Floats, table: Floats, rows: Integers) -> None:
    """Adds the rows (N,) of a table (R, H) to out (N, H)."""
    for i in range(len(rows)):
        row = table[rows[i]]
        for j in range(len(row)):
            out[i, j] += row[j]


@jit
def add_up(table: Floats, a: Floats, rows: Integers) -> None:
    """The transpose of `look_up`: adds a (N, D) to the rows (N,) of a table (R, D)."""
    for i in range(len(rows)):
        row = table[rows[i]]
        for d in range(len(row)):
            row[d] += a[i, d]


@jit
def clear_rows(table: Floats, rows: Integers) -> None:
    """Sets rows (N,) of a table (R, D) to zero."""
    for row in rows:
        table[row] = 0


@jit
def move_rows(out: Floats, table: Floats, rows: Integers) -> None:
    """Adds rows (N,) of a table to those of out, both (R, D), and leaves zeros, so that each row counts once."""
    for row in rows:
        for d in range(table.shape[1]):
            out[row, d] += table[row, d]
            table[row, d] = 0


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
def add_rows(out: Floats, rows: Floats, total: Floats) -> None:
    """Adds the sum of rows (B, N) to out (N,), finishing the sum in `total` (N,) before it adds that to out."""
    total.fill(0)
    for i in range(len(rows)):
        for j in range(len(total)):
            total[j] += rows[i, j]
    add_flat(out, total)


@jit
def through_tanh(da: Floats, h: Floats) -> None:
    """Multiplies da by 1 - h^2, element by element, each (B, H)."""
    for i in range(len(da)):
        for j in range(da.shape[1]):
            da[i, j] -= da[i, j] * h[i, j] * h[i, j]


@jit
def add_first_layer(p: Arrays, da: Floats, out: Arrays, work: Work) -> None:
    """Adds dC = sum_c dT[c] W1_c' and dW1_c = C' dT[c] to `out`, for da (n, hidden) and the pairs in `work`."""
    block_size, emb_dim = len(work.kinds), p.C.shape[1]
    # Where few tokens occur, as of many words, the other rows of C have no gradient and are left alone.
    few = work.kinds.sum() < len(p.C)
    if few:
        for c in range(block_size):
            clear_rows(work.dc, work.tokens[c, : work.kinds[c]])
    else:
        work.dc.fill(0)
    for c in range(block_size):
        tokens = work.tokens[c, : work.kinds[c]]
        Cx, back, dT = work.Cx[: len(tokens)], work.back[: len(tokens)], work.T[: len(tokens)]
        dT.fill(0)
        add_up(dT, da, work.rows[c, : len(da)])
        W1 = slice(c * emb_dim, (c + 1) * emb_dim)
        inner_products(back, dT, p.W1[W1])
        add_up(work.dc, back, tokens)
        look_up(Cx, p.C, tokens)
        add_sums(out.W1[W1], Cx.T, dT, work.sums)
    if few:
        for c in range(block_size):
            move_rows(out.C, work.dc, work.tokens[c, : work.kinds[c]])
    else:
        add_flat(out.C, work.dc)


@jit
def add_gradients(
    p: Arrays, contexts: Integers, targets: Integers, q: Floats, mask: Floats, scale: float, out: Arrays, work: Work
) -> float:
    """Adds `scale` times the gradients of one minibatch to `out`, piece by piece, and returns the mean loss.

    The distributions q (B, vocabulary) to learn instead of the targets (B,), and the dropout mask (B, hidden), have no
    rows if there are none. If B <= PIECE, `out` may be `p` itself: each parameter, and of W1 the rows of each position,
    is written after it was last read. So the order of the calls matters, and dC waits in `work.dc`.
    """
    rows, loss = len(targets), 0.0
    block_size, emb_dim = contexts.shape[1], p.C.shape[1]
    for first in range(0, rows, PIECE):
        piece = slice(first, min(first + PIECE, rows))
        examples = contexts[piece]
        which, m = work.which[: len(examples)], mask[piece]
        dropout = len(m) > 0

        # Examples with the same context are one row from here on, unless each has its own dropout.
        if dropout:
            n, x = len(examples), examples
            for i in range(n):
                which[i] = i
        else:
            n = find_distinct(examples, work.distinct, which, work.slots)
            x = work.x[:n]
            look_up(x, examples, work.distinct[:n])
        h, hm, dz, da = work.h[:n], work.hm[:n], work.dz[:n], work.da[:n]

        # Forward: h = tanh(sum_c T[c, x_c] + b1);  z = (m h) W2 + b2, in the memory of dz.
        repeat(h, p.b1)
        for c in range(block_size):
            work.kinds[c] = number_tokens(x[:, c], work.numbers, work.tokens[c], work.rows[c])
            tokens = work.tokens[c, : work.kinds[c]]
            Cx, T = work.Cx[: len(tokens)], work.T[: len(tokens)]
            look_up(Cx, p.C, tokens)
            T.fill(0)
            add_product(T, Cx, p.W1[c * emb_dim : (c + 1) * emb_dim])
            add_looked_up(h, T, work.rows[c, :n])
        tanh(h)
        if dropout:
            np.multiply(h, m, hm)
        else:
            hm = h
        inner_products(dz, hm, p.W2t)
        add_to_rows(dz, p.b2)
        # dz = scale (softmax(z) - 1_y) / B, which makes everything below `scale` times its formula.
        loss += cross_entropy(dz, which, targets[piece], q[piece], scale / rows, work.repeats[:n])

        # Backward: dh = m (dz W2');  da = dh (1 - h^2).
        da.fill(0)
        add_product(da, dz, p.W2t)
        if dropout:
            da *= m
        through_tanh(da, h)

        # dW2 = (m h)' dz;  db2 = sum_B dz;  db1 = sum_B da;  dT[c] = rows of da added up at their pairs.
        add_sums(out.W2t, dz.T, hm, work.sums)
        add_rows(out.b2, dz, work.sum[: dz.shape[1]])
        add_rows(out.b1, da, work.sum[: da.shape[1]])
        add_first_layer(p, da, out, work)
    return loss / rows


@jit
def descend(p: Arrays, contexts: Integers, targets: Integers, rates: Floats, losses: Floats, work: Work) -> None:
    """Takes K steps of plain gradient descent on minibatches of at most PIECE examples, as `Network.descend` does."""
    for k in range(len(rates)):
        losses[k] = add_gradients(p, contexts[k], targets[k], work.dz[:0], work.hm[:0], -rates[k], p, work)


class Network:
    """Trains a network in place, on the CPU. Parameters and gradients have the layout of `mlp.hidden_innermost`."""

    def __init__(self, p: mlp.Parameters, gradients: mlp.Parameters, threads: int = 1) -> None:
        self._p = _arrays(p)
        self._threads = threads
        # The first thread sums straight into the gradients, each other one into arrays of its own.
        others = (mlp.Parameters(*map(torch.zeros_like, p)) for _ in range(threads - 1))
        self._gradients = [_arrays(gradients), *map(_arrays, others)]
        self._work = [_allocate(p) for _ in range(threads)]
        self._helpers = ThreadPoolExecutor(max(1, threads - 1))

    def descend(self, contexts: Tensor, targets: Tensor, rates: list[float]) -> Tensor:
        """Takes K steps of plain gradient descent, and returns the mean loss before each, (K,)."""
        losses = np.empty(len(rates), self._p.b1.dtype)  # (K,)
        rows = targets.shape[1]
        if rows <= PIECE and self._count_threads(rows) == 1:
            descend(self._p, contexts.numpy(), targets.numpy(), np.asarray(rates, np.float64), losses, self._work[0])
        else:
            for k, rate in enumerate(rates):
                losses[k] = self.loss_and_gradients(contexts[k], targets[k], scale=-rate)
                for parameter, change in zip(self._p, self._gradients[0], strict=True):
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
        """Writes `scale` times the gradients of one minibatch, like `mlp.loss_and_gradients`, and returns its loss.

        Several threads take equal shares of the rows.
        """
        rows = len(targets)
        threads = self._count_threads(rows)
        x, y = contexts.numpy(), targets.numpy()
        q = self._work[0].dz[:0] if soft is None else soft.numpy()
        keep = self._work[0].hm[:0] if mask is None else mask.numpy()

        def share(thread: int) -> float:
            part = slice(rows * thread // threads, rows * (thread + 1) // threads)
            out, work, weight = self._gradients[thread], self._work[thread], len(y[part]) / rows
            for array in out:
                array.fill(0)
            return weight * add_gradients(self._p, x[part], y[part], q[part], keep[part], weight * scale, out, work)

        helped = [self._helpers.submit(share, thread) for thread in range(1, threads)]
        loss = share(0) + sum(each.result() for each in helped)
        for other in self._gradients[1:threads]:
            for gradient, more in zip(self._gradients[0], other, strict=True):
                np.add(gradient, more, out=gradient)
        return loss

    def _count_threads(self, rows: int) -> int:
        return max(1, min(self._threads, rows // ROWS_PER_THREAD))


def _allocate(p: mlp.Parameters) -> Work:
    (vocabulary, emb_dim), (inputs, hidden) = p.C.shape, p.W1.shape
    # A table has a row for each token that occurs in a piece.
    kinds = min(vocabulary, PIECE)
    floats = {
        "Cx": (kinds, emb_dim),
        "T": (kinds, hidden),
        "back": (kinds, emb_dim),
        "h": (PIECE, hidden),
        "hm": (PIECE, hidden),
        "dz": (PIECE, vocabulary),
        "da": (PIECE, hidden),
        "dc": (vocabulary, emb_dim),
        "sums": (BLOCK, hidden),
        "sum": (max(hidden, vocabulary),),
    }
    block_size = inputs // emb_dim
    integers = {
        "distinct": (PIECE,),
        "which": (PIECE,),
        "repeats": (PIECE,),
        "slots": (2 * PIECE,),
        "x": (PIECE, block_size),
        "numbers": (vocabulary,),
        "kinds": (block_size,),
        "tokens": (block_size, PIECE),
        "rows": (block_size, PIECE),
    }
    # By PyTorch, which aligns memory for wide vectors: a step is a tenth faster than with NumPy's memory.
    arrays = {name: torch.empty(shape, dtype=p.b1.dtype) for name, shape in floats.items()}
    arrays |= {name: torch.full(shape, -1) for name, shape in integers.items()}
    return Work(**{name: array.numpy() for name, array in arrays.items()})


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
