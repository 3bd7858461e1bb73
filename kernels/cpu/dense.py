"""Dense layers: matrix products by BLAS, or, where ReLU and dropout left enough zeros, by a kernel that skips them.

All three products of a dense layer have a factor that is mostly zero in training (about 3 of 4 numbers behind ReLU and
dropout): y = x·Wᵀ has x, dx = dy·W and dW = dyᵀ·x have dy. `sparse_product` is made for that factor on the left.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from scratchnet.kernels.cpu import parallel
from scratchnet.kernels.cpu.parallel import scratch
from scratchnet.kernels.cpu.vectors import fma, lanes_of, row, splat, store

DENSITY = 0.4  # up to which share of non-zeros the sparse product is the faster one
LEAST = 512  # rows, inner and columns from which it pays
DEPTH = 80  # rows of the right factor worked on at a time: with 8 vectors each, they fit the first-level cache
HEIGHT = 1024  # rows of the result worked on at a time: they fit the second-level cache
EIGHT = (0,) * 8  # vectors in a row
COLUMNS = 640  # of a BLAS product per piece


def dense_forward(x, weight, bias):
    """See `reference.dense_forward`."""
    y = product(x, weight.T)
    if bias is not None:
        y += bias
    return y


def dense_backward_weight(x, dy, out=None):
    """See `reference.dense_backward_weight`; `out` may give the room for dweight."""
    return product(dy.T, x, out), column_sums(dy)


def dense_backward_input(dy, weight):
    """See `reference.dense_backward_input`."""
    return product(dy, weight)


def product(a, b, out=None):
    """a · b for matrices of any strides; the zeros of `a` are skipped where they are many."""
    if out is None:
        out = parallel.empty((len(a), b.shape[1]), a.dtype)
    if min(*a.shape, b.shape[1]) >= LEAST and _density(a) <= DENSITY:
        sparse_product(a, b, out)
        return out

    def piece(i: int) -> None:
        columns = slice(i * COLUMNS, (i + 1) * COLUMNS)
        if len(a) >= b.shape[1]:
            np.matmul(a[columns], b, out=out[columns])
        else:
            out[:, columns] = a @ b[:, columns]

    parallel.run(piece, -(-max(len(a), b.shape[1]) // COLUMNS))
    return out


def sparse_product(a, b, out):
    """out = a · b, in time proportional to the non-zeros of a.   a (M, K), b (K, N), out (M, N)

    a becomes, for each stretch of DEPTH columns, one list of non-zeros per row. Then, tile by tile of `out`, a row of
    8 vectors stays in registers while the kernel walks along such a list.
    """
    m, k = a.shape
    n = b.shape[1]
    width = len(EIGHT) * lanes_of(a.dtype)
    depths = -(-k // DEPTH)
    room = m * DEPTH
    index, value = np.empty((depths, room), np.int32), np.empty((depths, room), a.dtype)
    firsts = np.empty((depths, m + 1), np.int64)

    def compress(d: int) -> None:
        block = np.ascontiguousarray(a[:, d * DEPTH : (d + 1) * DEPTH])
        _compress(block, width, index[d], value[d], firsts[d])

    def tile(i: int) -> None:
        vertical, across = divmod(i, -(-n // width))
        top, left = vertical * HEIGHT, across * width
        height, right = min(HEIGHT, m - top), min(width, n - left)
        sums, block = scratch("sums", (height, width), a.dtype), scratch("block", (DEPTH, width), a.dtype)
        sums[:], block[:] = 0, 0
        for d in range(depths):
            rows = b[d * DEPTH : (d + 1) * DEPTH, left : left + right]
            block[: len(rows), :right] = rows
            _add_rows(index[d], value[d], firsts[d, top : top + height + 1], block, sums)
        out[top : top + height, left : left + right] = sums[:, :right]

    parallel.run(compress, depths)
    parallel.run(tile, -(-m // HEIGHT) * -(-n // width))


def _density(a) -> float:
    """The share of non-zeros, from every 16th row."""
    sample = a[:: max(1, len(a) // 64)]
    return np.count_nonzero(sample) / sample.size


def column_sums(dy):
    """Σ_n dy: the bias's gradient."""
    return dy.sum(axis=0)


def _compress(block, width, index, value, firsts):
    """Row by row the non-zeros of `block`, and where what they multiply starts in a flat (DEPTH, width) array."""
    count = 0
    for i in range(block.shape[0]):
        firsts[i] = count
        for k in range(block.shape[1]):
            index[count] = k * width
            value[count] = block[i, k]
            count += block[i, k] != 0
    firsts[block.shape[0]] = count


def _add_rows(index, value, firsts, block, sums):
    """sums[i] += Σ value · block[index] over the i-th list."""
    rows, out = block.reshape(-1), sums.reshape(-1)
    for i in range(len(firsts) - 1):
        total = row(out, i * sums.shape[1], EIGHT)
        for t in range(firsts[i], firsts[i + 1]):
            total = fma(splat(value[t]), row(rows, np.intp(index[t]), EIGHT), total)
        store(out, i * sums.shape[1], total)


_compress = njit(nogil=True, cache=True)(_compress)
_add_rows = njit(nogil=True, cache=True)(_add_rows)
