"""Dense layers: matrix products by BLAS, or, where ReLU and dropout left enough zeros, by a kernel that skips them.

All three products of a dense layer have a factor that is mostly zero in training (about 3 of 4 numbers behind ReLU and
dropout): y = x·Wᵀ has x, dx = dy·W and dW = dyᵀ·x have dy. `sparse_product` is made for that factor on the left.
"""

from __future__ import annotations

import math

import numpy as np

from scratchnet.compiled import compiled
from scratchnet.kernels.cpu import memory, parallel
from scratchnet.kernels.cpu.memory import scratch
from scratchnet.kernels.cpu.transpose import copy_transposed
from scratchnet.kernels.cpu.vectors import element, fma, lanes_of, prefetch, row, splat, store, vectors_in

DENSITY = 0.4  # up to which share of non-zeros the sparse product is the faster one,
DENSITY_OF_FEW = 0.6  # and for batches of up to FEW, which BLAS is slow for: it puts the whole of a large b in order
FEW = 256
LEAST = 25_000_000  # products from which it pays
SIDES = 32, 32, 512  # and rows, inner, columns
ROW = vectors_in(384)  # bytes: 6 registers of AVX-512's 32, 12 of AVX2's 16, 24 of NEON's 32
DEPTH = 80  # rows of the right factor worked on at a time: with a row of vectors each, 30 KB, in the first-level cache
HEIGHT = 1024  # rows of the result worked on at a time: they fit the second-level cache
SLAB = 8  # blocks of DEPTH × ROW that are copied in one go, at most
AHEAD = 4  # how many rows before it is copied the memory is asked for one
COLUMNS = 1250  # of a BLAS product per piece


def dense_forward(x, weight, bias):
    """See `reference.dense_forward`."""
    y = product(x, weight.T)
    if bias is not None:
        y += bias
    return y


def dense_backward_weight(x, dy):
    """See `reference.dense_backward_weight`."""
    return product(dy.T, x), dy.sum(axis=0)


def dense_backward_input(dy, weight):
    """See `reference.dense_backward_input`."""
    return product(dy, weight)


def _leave(out, rows, columns):
    """Nothing more is done with a part of a product."""


def product(a, b, behind=_leave):
    """a · b for matrices of any strides; the zeros of `a` are skipped where they are many.

    A zero that is skipped hides the NaN or infinity that it would have met. `behind(out, rows, columns)` is called for
    each part of the result while it is still in the cache; they are slices.
    """
    out = memory.empty((len(a), b.shape[1]), a.dtype)
    if _skips_zeros(a, b):
        sparse_product(a, b, out, behind)
        return out
    transposed = _is_transposed(b)

    @np.errstate(all="ignore")  # BLAS with Arm's SME raises flags for nothing
    def piece(i: int) -> None:
        part = slice(i * COLUMNS, (i + 1) * COLUMNS)
        if len(a) >= b.shape[1]:
            np.matmul(a[part], b, out=out[part])
            behind(out, part, slice(None))
            return
        out[:, part] = (b[:, part].T @ a.T).T if transposed else a @ b[:, part]
        behind(out, slice(None), part)

    parallel.run(piece, -(-max(len(a), b.shape[1]) // COLUMNS))
    return out


def sparse_product(a, b, out, behind=_leave):
    """out = a · b, in time proportional to the non-zeros of a.   a (M, K), b (K, N), out (M, N)

    a becomes, for each stretch of DEPTH columns, one list of non-zeros per row. Then, tile by tile of `out`, a row of
    vectors stays in registers while the kernel walks along such a list.
    """
    (m, k), n = a.shape, b.shape[1]
    width = len(ROW) * lanes_of(a.dtype)
    height = min(m, HEIGHT)
    transposed = _is_transposed(b)
    factor = np.ascontiguousarray(b.T if transposed else b).reshape(-1)
    # What is copied of b in one go goes along its memory: several stretches of a tile, or several tiles of a stretch.
    tiles = 1 if transposed else max(1, min(SLAB, HEIGHT // height))
    depths, across = -(-k // DEPTH), -(-n // (tiles * width))
    index, value = (memory.empty((depths, m * DEPTH), kind) for kind in (np.int32, a.dtype))
    firsts = np.empty((depths, m + 1), np.int64)

    def compress(d: int) -> None:
        block = np.ascontiguousarray(a[:, d * DEPTH : (d + 1) * DEPTH])
        _compress(block, width, index[d], value[d], firsts[d])

    def piece(i: int) -> None:
        top, left = i // across * height, i % across * tiles * width
        part = slice(top, min(m, top + height))
        sums = scratch("sums", (tiles, part.stop - top, width), a.dtype)
        blocks = scratch("blocks", (SLAB if transposed else tiles, DEPTH, width), a.dtype)
        lists = index, value, firsts[:, top : part.stop + 1]
        _add_up(*lists, factor, (k, n), transposed, left, blocks, sums, np.zeros(width, a.dtype), ROW)
        for tile, first in zip(sums, range(left, n, width)):
            out[part, first : first + width] = tile[:, : n - first]
        behind(out, part, slice(left, min(n, left + tiles * width)))

    parallel.run(compress, depths)
    parallel.run(piece, -(-m // height) * across)


def _is_transposed(b) -> bool:
    """Whether b's columns lie in memory, as in x·Wᵀ."""
    return b.strides[0] < b.strides[1]


def _skips_zeros(a, b) -> bool:
    """Whether `sparse_product` is the faster one."""
    sides = *a.shape, b.shape[1]
    if math.prod(sides) < LEAST or any(side < least for side, least in zip(sides, SIDES)):
        return False
    return _density(a) <= (DENSITY_OF_FEW if min(a.shape) <= FEW else DENSITY)


def _density(a) -> float:
    """The share of non-zeros, from 16 rows or a few more."""
    sample = a[:: max(1, len(a) // 16)]
    return np.count_nonzero(sample) / sample.size


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


def _add_up(index, value, firsts, factor, shape, transposed, left, blocks, sums, none, like):
    """sums = a few tiles of a · b: for each stretch of DEPTH rows of b, the lists' values times the rows of a block."""
    slab, depth, width = blocks.shape
    tiles, height = sums.shape[:2]
    inner, columns = shape
    stretches = slab // tiles
    for first in range(0, len(firsts), stretches):
        begin, size = first * depth, min(stretches * depth, inner - first * depth)
        if transposed:
            copy_transposed(factor, inner, begin, size, left, min(width, columns - left), blocks.reshape(-1), width)
        else:
            _copy(factor, columns, begin, size, left, blocks, like)
        for tile in range(min(tiles, -(-(columns - left) // width))):
            out = sums[tile].reshape(-1)
            for d in range(first, min(first + stretches, len(firsts))):
                rows = blocks[tile + d - first].reshape(-1)
                places, values = index[d], value[d]
                for i in range(height):
                    total = row(none, 0, like) if d == 0 else row(out, i * width, like)
                    for t in range(firsts[d, i], firsts[d, i + 1]):
                        total = fma(splat(element(values, t)), row(rows, element(places, t), like), total)
                    store(out, i * width, total)


def _copy(factor, columns, first, size, left, blocks, like):
    """blocks[tile, k, j] = b[first + k, left + tile · width + j], as far as b goes."""
    tiles, depth, width = blocks.shape
    out = blocks.reshape(-1)
    for k in range(size):
        for tile in range(tiles):
            begin = left + tile * width
            source, to = (first + k) * columns + begin, (tile * depth + k) * width
            _prefetch_row(factor, source + AHEAD * columns, width)
            if begin + width <= columns:
                store(out, to, row(factor, source, like))
            else:
                for j in range(columns - begin):
                    out[to + j] = factor[source + j]


def _prefetch_row(factor, first, width):
    for j in range(0, width, memory.LINE // factor.itemsize):
        prefetch(factor, first + j)


_prefetch_row = compiled(_prefetch_row)
_copy = compiled(_copy)
_compress = compiled(_compress)
_add_up = compiled(_add_up)
