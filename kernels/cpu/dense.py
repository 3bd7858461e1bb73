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
LEAST = 512  # inner, columns and, where b's columns lie in memory, rows from which it pays
FEW = 64  # rows from which it pays where b's rows lie in memory
EIGHT = (0,) * 8  # vectors in a row
DEPTH = 80  # rows of the right factor worked on at a time: with a row of vectors each, they fit the first-level cache
HEIGHT = 1024  # rows of the result worked on at a time: they fit the second-level cache
TILES = 10  # rows of EIGHT side by side in a piece, at most
COLUMNS = 1250  # of a BLAS product per piece


def dense_forward(x, weight, bias):
    """See `reference.dense_forward`."""
    y = product(x, weight.T)
    if bias is not None:
        y += bias
    return y


def dense_backward_weight(x, dy):
    """See `reference.dense_backward_weight`."""
    return product(dy.T, x), column_sums(dy)


def dense_backward_input(dy, weight):
    """See `reference.dense_backward_input`."""
    return product(dy, weight)


def product(a, b):
    """a · b for matrices of any strides; the zeros of `a` are skipped where they are many.

    A zero that is skipped hides the NaN or infinity that it would have met.
    """
    out = parallel.empty((len(a), b.shape[1]), a.dtype)
    turned = _turned(b)
    if min(b.shape) >= LEAST and len(a) >= (LEAST if turned else FEW) and _density(a) <= DENSITY:
        sparse_product(a, b, out)
        return out

    def piece(i: int) -> None:
        part = slice(i * COLUMNS, (i + 1) * COLUMNS)
        if len(a) >= b.shape[1]:
            np.matmul(a[part], b, out=out[part])
        elif turned:
            out[:, part] = (b[:, part].T @ a.T).T
        else:
            out[:, part] = a @ b[:, part]

    parallel.run(piece, -(-max(len(a), b.shape[1]) // COLUMNS))
    return out


def sparse_product(a, b, out):
    """out = a · b, in time proportional to the non-zeros of a.   a (M, K), b (K, N), out (M, N)

    a becomes, for each stretch of DEPTH columns, one list of non-zeros per row. Then, tile by tile of `out`, a row of
    8 vectors stays in registers while the kernel walks along such a list.
    """
    (m, k), n = a.shape, b.shape[1]
    width = len(EIGHT) * lanes_of(a.dtype)
    height = min(m, HEIGHT)
    tiles = max(1, min(TILES, HEIGHT // height))  # side by side: what is read of b in one go is longer
    depths, across = -(-k // DEPTH), -(-n // (tiles * width))
    index, value = np.empty((depths, m * DEPTH), np.int32), np.empty((depths, m * DEPTH), a.dtype)
    firsts = np.empty((depths, m + 1), np.int64)
    turned = _turned(b)
    factor = np.ascontiguousarray(b.T if turned else b)

    def compress(d: int) -> None:
        block = np.ascontiguousarray(a[:, d * DEPTH : (d + 1) * DEPTH])
        _compress(block, width, index[d], value[d], firsts[d])

    def piece(i: int) -> None:
        top, left = i // across * height, i % across * tiles * width
        bottom = min(m, top + height)
        sums = scratch("sums", (tiles, bottom - top, width), a.dtype)
        blocks = scratch("blocks", (tiles, DEPTH, width), a.dtype)
        _add_up(index, value, firsts[:, top : bottom + 1], factor, turned, left, blocks, sums)
        for tile, first in zip(sums, range(left, n, width)):
            out[top:bottom, first : first + width] = tile[:, : n - first]

    parallel.run(compress, depths)
    parallel.run(piece, -(-m // height) * across)


def _turned(b) -> bool:
    """Whether b's columns lie in memory, as in x·Wᵀ."""
    return b.strides[0] < b.strides[1]


def _density(a) -> float:
    """The share of non-zeros, from 64 rows or a few more."""
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


def _add_up(index, value, firsts, factor, turned, left, blocks, sums):
    """sums = a few tiles of a · b: for each stretch of DEPTH rows of b, the lists' values times the rows of a block."""
    blocks[:] = 0
    sums[:] = 0
    tiles, depth, width = blocks.shape
    inner, columns = factor.shape
    if turned:
        inner, columns = columns, inner
    for d in range(len(firsts)):
        first = d * depth
        _copy(factor, turned, first, min(depth, inner - first), left, columns, blocks)
        for tile in range(tiles):
            rows, out = blocks[tile].reshape(-1), sums[tile].reshape(-1)
            for i in range(sums.shape[1]):
                total = row(out, i * width, EIGHT)
                for t in range(firsts[d, i], firsts[d, i + 1]):
                    total = fma(splat(value[d, t]), row(rows, np.intp(index[d, t]), EIGHT), total)
                store(out, i * width, total)


def _copy(factor, turned, first, size, left, columns, blocks):
    """blocks[tile, k, j] = b[first + k, left + tile · width + j], as far as b goes."""
    tiles, depth, width = blocks.shape
    if turned:
        for j in range(min(columns - left, tiles * width)):
            block = blocks[j // width]
            for k in range(size):
                block[k, j % width] = factor[left + j, first + k]
    else:
        for k in range(size):
            for tile in range(tiles):
                begin = left + tile * width
                out = blocks[tile, k]
                for j in range(min(width, columns - begin)):
                    out[j] = factor[first + k, begin + j]


_copy = njit(nogil=True, cache=True)(_copy)
_compress = njit(nogil=True, cache=True)(_compress)
_add_up = njit(nogil=True, cache=True)(_add_up)
