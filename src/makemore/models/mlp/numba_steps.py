"""The formulas of `mlp.formulas` as loops in machine code, compiled by Numba, for networks of the lecture's size.

The matrix products of one step of the lecture's run take 10 to 20 µs on a current core. PyTorch takes as long again
just to start the step's twenty operations. Here a whole chunk of steps is one call.

A processor multiplies and adds four to sixteen neighbouring numbers at once. So `hidden`, the longest dimension, is
that of the vectors (`vectors.py`) in every product, and W2 is stored as its transpose. Then two kinds of product are
enough, `multiply` and `inner_products`. They keep eight or sixteen vectors of sums, in registers where there are as
many, and use each number that they load two or four times. Logits are stored as columns, so that softmax handles
neighbouring examples at once.

The first layer goes pair by pair (`first_layer.py`), with tables of the tokens that occur in the minibatch, and
examples with equal contexts are one row (`formulas.py`): of the lecture's 32, 28 differ, with 40 different pairs.

Sums in float32 need care. A minibatch is processed in pieces of PIECE examples; each gradient is summed over TERMS of
them, and only that sum is added to the sums of others or to the parameters. Added example by example, much would be
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
from makemore.models.mlp import vectors
from makemore.models.mlp.vectors import LANES, load, store, total, without_first, zeros

Floats = NDArray[np.floating]
Integers = NDArray[np.int64]
Function = TypeVar("Function", bound=Callable[..., object])

log = logging.getLogger(__name__)

# More than there are compiled functions below.
ATTEMPTS = 40

# Floating-point arithmetic as written, except that a * b + c may be rounded once instead of twice.
EXACT = {"contract"}
# Also sums in any order, which vectorizes them. NaN is kept: it tells that training has diverged.
REORDERED = {"contract", "reassoc", "arcp", "nsz"}
# Examples in a piece of a minibatch: at 200 hidden units their activations fit in a second-level cache.
PIECE = 256
# Of a sum in `multiply`: a panel of so many rows fits in a first-level cache.
TERMS = 128
# Parameters up to which a copy for each call of `Network.descend` is worth its time. By size alone, because sums over
# longer rows are rounded differently: the same steps must give the same bits, however many share a call.
MOST_COPIED = 2**16
# Rows that a thread should have at least: the tables of the first layer are as long for a few rows as for many.
ROWS_PER_THREAD = 128


def jit(function: Function, fastmath: set[str] = REORDERED) -> Function:
    """Compiles a function at its first call, and caches the result on disk for the next process."""
    # Counting who refers to an array (NRT) takes as long as a product, and these functions make none.
    compiler: Callable[..., Any] = functools.partial(
        numba.njit, fastmath=fastmath, error_model="numpy", nogil=True, _nrt=False
    )
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
    numbers: Integers  # (vocabulary,) -1, for `number_pairs`
    starts: Integers  # (block_size + 1,) of `number_pairs`, the pairs of positions and tokens there in x
    tokens: Integers  # (pairs,) the pairs' tokens
    rows: Integers  # (block_size, PIECE) the number of each context's pair
    Cx: Floats  # (pairs, emb_dim) C at the pairs' tokens
    T: Floats  # (pairs, hidden) their part of the first layer, and what comes back to it
    back: Floats  # (pairs, emb_dim) dT[c] W1_c', at these tokens
    h: Floats  # (PIECE, hidden)
    hm: Floats  # (PIECE, hidden) h times the dropout mask
    dz: Floats  # (vocabulary * PIECE,) of z and dz, transposed
    most: Floats  # (PIECE,) of `cross_entropy`
    sums: Floats  # (PIECE,) of `cross_entropy`
    da: Floats  # (PIECE, hidden)
    dc: Floats  # (vocabulary, emb_dim) a piece's dC
    panel: Floats  # (TERMS, 2 LANES) of `multiply`
    db1: Floats  # (hidden,) a piece's db1


@jit
def multiply(out: Floats, a: Floats, b: Floats, add: bool, panel: Floats) -> None:
    """Writes a b to out, or adds it, for out (R, H), a (R, N) with any strides, and b (N, H).

    Sums of TERMS are finished before they are added. Four rows at a time meet two vectors of columns, which lie in
    `panel` (TERMS, 2 LANES) for all rows: in b they may be so far apart that they displace one another in the cache.
    """
    rows, columns = out.shape
    if columns < 2 * LANES:
        multiply_small(out, a, b, add)
        return
    for first in range(0, len(b), TERMS):
        terms = min(TERMS, len(b) - first)
        for start in range(0, columns, 2 * LANES):
            # The last two vectors reach back. What they repeat is zero if it is added.
            j = min(start, columns - 2 * LANES)
            repeated = start - j if add else 0
            for k in range(terms):
                store(panel, k, 0, without_first(load(b, first + k, j), repeated))
                store(panel, k, LANES, without_first(load(b, first + k, j + LANES), repeated - LANES))
            for i in range(0, rows, 4):
                i1, i2, i3 = next_rows(i, rows)
                s00 = s01 = s10 = s11 = s20 = s21 = s30 = s31 = zeros(out)
                for k in range(terms):
                    b0, b1 = load(panel, k, 0), load(panel, k, LANES)
                    a0, a1, a2, a3 = a[i, first + k], a[i1, first + k], a[i2, first + k], a[i3, first + k]
                    s00 += a0 * b0
                    s01 += a0 * b1
                    s10 += a1 * b0
                    s11 += a1 * b1
                    s20 += a2 * b0
                    s21 += a2 * b1
                    s30 += a3 * b0
                    s31 += a3 * b1
                put(out, i, j, s00, add)
                put(out, i, j + LANES, s01, add)
                if i1 > i:
                    put(out, i1, j, s10, add)
                    put(out, i1, j + LANES, s11, add)
                if i2 > i1:
                    put(out, i2, j, s20, add)
                    put(out, i2, j + LANES, s21, add)
                if i3 > i2:
                    put(out, i3, j, s30, add)
                    put(out, i3, j + LANES, s31, add)
        add = True


@jit
def put(out: Floats, i: int, j: int, v: Any, add: bool) -> None:
    """Writes a vector to a row, or adds it."""
    store(out, i, j, load(out, i, j) + v if add else v)


@jit
def next_rows(i: int, rows: int) -> tuple[int, int, int]:
    """The three rows after row i; in their places the last one where there are fewer."""
    return min(i + 1, rows - 1), min(i + 2, rows - 1), min(i + 3, rows - 1)


@jit
def multiply_small(out: Floats, a: Floats, b: Floats, add: bool) -> None:
    """`multiply` for fewer columns than two vectors have."""
    for i in range(len(out)):
        for j in range(out.shape[1]):
            s = a.dtype.type(0)
            for k in range(len(b)):
                s += a[i, k] * b[k, j]
            out[i, j] = out[i, j] + s if add else s


@jit
def add_elements(out: Floats, a: Floats) -> None:
    """Adds a to out, element by element, of the same shape (N, D)."""
    for i in range(len(out)):
        for j in range(out.shape[1]):
            out[i, j] += a[i, j]


@jit
def multiply_elements(out: Floats, a: Floats, b: Floats) -> None:
    """Writes the products of the elements of a and b to out, of the same shape (N, D)."""
    for i in range(len(out)):
        for j in range(out.shape[1]):
            out[i, j] = a[i, j] * b[i, j]


@jit
def inner_products(out: Floats, a: Floats, b: Floats) -> None:
    """Writes a b' to out, for out (R, N), a (R, H) and b (N, H), four rows of a and of b at a time."""
    rows, columns = out.shape
    length = a.shape[1]
    if length < LANES:
        multiply_small(out, a, b.T, False)
        return
    for i in range(0, rows, 4):
        i1, i2, i3 = next_rows(i, rows)
        for k in range(0, columns, 4):
            k1, k2, k3 = next_rows(k, columns)
            s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = zeros(out)
            s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = zeros(out)
            for j in range(0, length, LANES):
                # The last vector reaches back, and what it repeats is zero.
                start = min(j, length - LANES)
                a0, a1 = without_first(load(a, i, start), j - start), without_first(load(a, i1, start), j - start)
                a2, a3 = without_first(load(a, i2, start), j - start), without_first(load(a, i3, start), j - start)
                b0, b1, b2, b3 = load(b, k, start), load(b, k1, start), load(b, k2, start), load(b, k3, start)
                s00 += a0 * b0
                s01 += a0 * b1
                s02 += a0 * b2
                s03 += a0 * b3
                s10 += a1 * b0
                s11 += a1 * b1
                s12 += a1 * b2
                s13 += a1 * b3
                s20 += a2 * b0
                s21 += a2 * b1
                s22 += a2 * b2
                s23 += a2 * b3
                s30 += a3 * b0
                s31 += a3 * b1
                s32 += a3 * b2
                s33 += a3 * b3
            out[i, k], out[i, k1], out[i, k2], out[i, k3] = total(s00), total(s01), total(s02), total(s03)
            out[i1, k], out[i1, k1], out[i1, k2], out[i1, k3] = total(s10), total(s11), total(s12), total(s13)
            out[i2, k], out[i2, k1], out[i2, k2], out[i2, k3] = total(s20), total(s21), total(s22), total(s23)
            out[i3, k], out[i3, k1], out[i3, k2], out[i3, k3] = total(s30), total(s31), total(s32), total(s33)


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
def exponentiate(z: Floats, most: Floats, sums: Floats) -> None:
    """Replaces z (N, U) by e^(z - most), with the largest of each column in most (U,), and writes the new sums (U,)."""
    for u in range(len(most)):
        most[u] = z[0, u]
        sums[u] = 0
    for v in range(1, len(z)):
        for u in range(len(most)):
            most[u] = max(most[u], z[v, u])
    for v in range(len(z)):
        row = z[v]
        for u in range(len(row)):
            row[u] = exp(np.float32(row[u] - most[u])) if z.itemsize == 4 else np.exp(row[u] - most[u])
        for u in range(len(row)):
            sums[u] += row[u]


@jit
def cross_entropy(
    z: Floats,
    which: Integers,
    targets: Integers,
    q: Floats,
    scale: float,
    repeats: Integers,
    most: Floats,
    sums: Floats,
) -> float:
    """Returns the summed loss of examples whose logits are the columns `which` (B,) of z (vocabulary, U).

    In the place of z it writes `scale` times the sum of softmax(z) - 1_y over each column's examples. If there are
    distributions q (B, vocabulary), they replace 1_y; the loss is that of the targets in either case. `repeats`, `most`
    and `sums` (U,) are overwritten.
    """
    loss = 0.0
    repeats.fill(0)
    for i in range(len(which)):
        repeats[which[i]] += 1
        loss -= z[targets[i], which[i]]
    exponentiate(z, most, sums)
    for u in range(len(sums)):
        loss += repeats[u] * (most[u] + np.log(sums[u]))
        sums[u] = scale * repeats[u] / sums[u]  # what makes e^(z - most) the wanted part of softmax(z)
    for v in range(len(z)):
        for u in range(len(sums)):
            z[v, u] *= sums[u]
    for i in range(len(which)):
        if len(q) > 0:
            for v in range(len(z)):
                z[v, which[i]] -= scale * q[i, v]
        else:
            z[targets[i], which[i]] -= scale
    return loss


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
def number_pairs(contexts: Integers, numbers: Integers, tokens: Integers, rows: Integers, starts: Integers) -> None:
    """Numbers the distinct pairs of a position and a token there, position by position, of contexts (U, block_size).

    Writes the pairs' tokens to `tokens`, to `starts` (block_size + 1,) the number of each position's first pair, and at
    the end how many there are, and to `rows` (block_size, U or more) the number of each context's pair. `numbers`
    (vocabulary,) holds -1 before and after.
    """
    count = 0
    for c in range(contexts.shape[1]):
        starts[c] = count
        for i in range(len(contexts)):
            token = contexts[i, c]
            if numbers[token] < 0:
                numbers[token] = count
                tokens[count] = token
                count += 1
            rows[c, i] = numbers[token]
        for k in range(starts[c], count):
            numbers[tokens[k]] = -1
    starts[contexts.shape[1]] = count


@jit
def look_up(out: Floats | Integers, table: Floats | Integers, rows: Integers) -> None:
    """Writes the rows (N,) of a table (R, D) to out (N, D)."""
    for i in range(len(rows)):
        row = table[rows[i]]
        for d in range(len(row)):
            out[i, d] = row[d]


@jit
def sum_looked_up(out: Floats, table: Floats, rows: Integers, positions: int) -> None:
    """Writes to each row of out (N, H) the sum of those rows of a table that `rows` (positions, N or more) names."""
    length = out.shape[1]
    for i in range(len(out)):
        if length < LANES:
            for j in range(length):
                out[i, j] = 0
                for c in range(positions):
                    out[i, j] += table[rows[c, i], j]
        else:
            for start in range(0, length, LANES):
                j = min(start, length - LANES)
                s = load(table, rows[0, i], j)
                for c in range(1, positions):
                    s += load(table, rows[c, i], j)
                store(out, i, j, s)


@jit
def sum_rows(table: Floats, a: Floats, rows: Integers, start: int) -> None:
    """Writes to each row of a table from `start` on the sum of the rows of a (N, D) that belong there.

    Their numbers `rows` (N or more,) are in the order of their first use, as of `number_pairs`.
    """
    for i in range(len(a)):
        row = table[rows[i]]
        if rows[i] == start:
            start += 1
            for d in range(len(row)):
                row[d] = a[i, d]
        else:
            for d in range(len(row)):
                row[d] += a[i, d]


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
def add_to_columns(out: Floats, column: Floats) -> None:
    """Adds a column (N,) to each of out (N, B)."""
    for i in range(len(out)):
        for j in range(out.shape[1]):
            out[i, j] += column[i]


@jit
def add_columns(out: Floats, columns: Floats) -> None:
    """Adds the sum of columns (N, B) to out (N,)."""
    for i in range(len(out)):
        s = columns.dtype.type(0)
        for j in range(columns.shape[1]):
            s += columns[i, j]
        out[i] += s


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
    for j in range(len(total)):
        out[j] += total[j]


@jit
def through_tanh(da: Floats, h: Floats) -> None:
    """Multiplies da by 1 - h^2, element by element, each (B, H)."""
    for i in range(len(da)):
        for j in range(da.shape[1]):
            da[i, j] -= da[i, j] * h[i, j] * h[i, j]


@jit
def add_first_layer(p: Arrays, da: Floats, out: Arrays, work: Work) -> None:
    """Adds dC = sum_c dT[c] W1_c' and dW1_c = C' dT[c] to `out`, for da (n, hidden) and the pairs in `work`."""
    starts, emb_dim = work.starts, p.C.shape[1]
    pairs = starts[len(starts) - 1]
    # Where few tokens occur, as of many words, the other rows of C have no gradient and are left alone.
    few = pairs < len(p.C)
    if few:
        clear_rows(work.dc, work.tokens[:pairs])
    else:
        work.dc.fill(0)
    for c in range(len(starts) - 1):
        position = slice(starts[c], starts[c + 1])
        tokens, Cx, back, dT = work.tokens[position], work.Cx[position], work.back[position], work.T[position]
        sum_rows(work.T, da, work.rows[c], starts[c])
        W1 = slice(c * emb_dim, (c + 1) * emb_dim)
        inner_products(back, dT, p.W1[W1])
        add_up(work.dc, back, tokens)
        multiply(out.W1[W1], Cx.T, dT, True, work.panel)
    if few:
        move_rows(out.C, work.dc, work.tokens[:pairs])
    else:
        add_elements(out.C, work.dc)


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
        h, hm, da = work.h[:n], work.hm[:n], work.da[:n]
        dz = work.dz[: len(p.C) * n].reshape(len(p.C), n)

        # Forward: h = tanh(sum_c T[c, x_c] + b1);  z = (m h) W2 + b2, transposed, in the memory of dz.
        starts = work.starts
        number_pairs(x, work.numbers, work.tokens, work.rows, starts)
        look_up(work.Cx, p.C, work.tokens[: starts[block_size]])
        for c in range(block_size):
            position = slice(starts[c], starts[c + 1])
            W1 = p.W1[c * emb_dim : (c + 1) * emb_dim]
            multiply(work.T[position], work.Cx[position], W1, False, work.panel)
        add_to_rows(work.T[: starts[1]], p.b1)  # each context has one pair of the first position
        sum_looked_up(h, work.T, work.rows, block_size)
        tanh(h)
        if dropout:
            multiply_elements(hm, h, m)
        else:
            hm = h
        inner_products(dz, p.W2t, hm)
        add_to_columns(dz, p.b2)
        # dz = scale (softmax(z) - 1_y) / B, which makes everything below `scale` times its formula.
        repeats, most, sums = work.repeats[:n], work.most[:n], work.sums[:n]
        loss += cross_entropy(dz, which, targets[piece], q[piece], scale / rows, repeats, most, sums)

        # Backward: dh = m (dz W2');  da = dh (1 - h^2).
        multiply(da, dz.T, p.W2t, False, work.panel)
        if dropout:
            multiply_elements(da, da, m)
        through_tanh(da, h)

        # dW2 = (m h)' dz;  db2 = sum_B dz;  db1 = sum_B da;  dT[c] = rows of da added up at their pairs.
        multiply(out.W2t, dz, hm, True, work.panel)
        add_columns(out.b2, dz)
        add_rows(out.b1, da, work.db1)
        add_first_layer(p, da, out, work)
    return loss / rows


@jit
def descend(p: Arrays, contexts: Integers, targets: Integers, rates: Floats, losses: Floats, work: Work) -> None:
    """Takes K steps of plain gradient descent on minibatches of at most PIECE examples, as `Network.descend` does."""
    for k in range(len(rates)):
        losses[k] = add_gradients(p, contexts[k], targets[k], work.h[:0], work.h[:0], -rates[k], p, work)


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
            batches = contexts.numpy(), targets.numpy(), np.asarray(rates, np.float64)
            if sum(array.size for array in self._p) > MOST_COPIED:
                descend(self._p, *batches, losses, self._work[0])
                return torch.from_numpy(losses)
            wide, work = self._wide
            for array, own in zip(wide, self._p, strict=True):
                array[..., own.shape[-1] :] = 0
                array[..., : own.shape[-1]] = own
            descend(wide, *batches, losses, work)
            for array, own in zip(wide, self._p, strict=True):
                own[...] = array[..., : own.shape[-1]]
        else:
            for k, rate in enumerate(rates):
                losses[k] = self.loss_and_gradients(contexts[k], targets[k], scale=-rate)
                for parameter, change in zip(self._p, self._gradients[0], strict=True):
                    parameter[...] += change
        return torch.from_numpy(losses)

    @functools.cached_property
    def _wide(self) -> tuple[Arrays, Work]:
        """Memory for parameters with more hidden units, all zeros, whose rows begin where vectors do, and for steps."""
        (vocabulary, emb_dim), (inputs, hidden) = self._p.C.shape, self._p.W1.shape
        shapes = mlp.shapes(vocabulary, inputs // emb_dim, emb_dim, -(-hidden // LANES) * LANES)
        dtype = torch.from_numpy(self._p.b1).dtype
        p = mlp.hidden_innermost(mlp.Parameters(*(torch.empty(shape, dtype=dtype) for shape in shapes)))
        return _arrays(p), _allocate(p)

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
        q = self._work[0].h[:0] if soft is None else soft.numpy()
        keep = self._work[0].h[:0] if mask is None else mask.numpy()

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
    block_size = inputs // emb_dim
    pairs = block_size * min(vocabulary, PIECE)  # of positions and tokens that may occur in a piece
    floats = {
        "Cx": (pairs, emb_dim),
        "T": (pairs, hidden),
        "back": (pairs, emb_dim),
        "h": (PIECE, hidden),
        "hm": (PIECE, hidden),
        "dz": (vocabulary * PIECE,),
        "most": (PIECE,),
        "sums": (PIECE,),
        "da": (PIECE, hidden),
        "dc": (vocabulary, emb_dim),
        "panel": (TERMS, 2 * LANES),
        "db1": (hidden,),
    }
    integers = {
        "distinct": (PIECE,),
        "which": (PIECE,),
        "repeats": (PIECE,),
        "slots": (2 * PIECE,),
        "x": (PIECE, block_size),
        "numbers": (vocabulary,),
        "starts": (block_size + 1,),
        "tokens": (pairs,),
        "rows": (block_size, PIECE),
    }
    # By PyTorch, which aligns memory for wide vectors: a step is a tenth faster than with NumPy's memory.
    arrays = {name: torch.empty(shape, dtype=p.b1.dtype) for name, shape in floats.items()}
    arrays |= {name: torch.full(shape, -1) for name, shape in integers.items()}
    return Work(**{name: array.numpy() for name, array in arrays.items()})


def _arrays(p: mlp.Parameters) -> Arrays:
    """The same memory, as the compiled functions take it."""
    return Arrays(p.C.numpy(), p.W1.numpy(), p.b1.numpy(), p.W2.t().numpy(), p.b2.numpy())


def forget_older(cache: Path, source: Path) -> None:
    """Removes cached functions that are older than a file whose code they contain: Numba looks only at its own file."""
    for path in cache.glob("numba_steps.*.nb[ic]"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < source.stat().st_mtime:
                path.unlink()


def prepare() -> None:
    """Compiles for float32, or loads the cache, by training the smallest possible network.

    Cached functions that cannot be read are compiled again; if they cannot be written, this process has them anyway.
    """
    cache = Path(descend.stats.cache_path or "/dev/null")  # type: ignore[attr-defined]  # None where nothing can be kept
    forget_older(cache, Path(vectors.__file__))
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
