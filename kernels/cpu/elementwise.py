"""What happens to each number by itself: activations, dropout, and the block that joins them behind a dense layer."""

from __future__ import annotations

import numpy as np
from numba import njit

from scratchnet.kernels.cpu import parallel
from scratchnet.kernels.cpu.dense import column_sums, dense_backward_input, product

PIECE = 1 << 16  # numbers per piece of work; a multiple of 4, so that Philox's blocks are never cut


def dropout_forward(x, p, seed, offset):
    """See `reference.dropout_forward`."""
    x = np.ascontiguousarray(x)
    y = np.empty_like(x)
    _in_pieces(_drop, x.size, x.reshape(-1), y.reshape(-1), *_mask(p, seed, offset, x.dtype))
    return y


def dense_block_forward(x, weight, bias, p, seed, offset):
    """See `reference.dense_block_forward`: the product, then one pass for bias, ReLU and dropout."""
    y = product(x, weight.T)
    bias = np.zeros(len(weight), y.dtype) if bias is None else bias
    _in_pieces(_bias_relu_drop, y.size, y.reshape(-1), bias, p > 0, *_mask(p, seed, offset, y.dtype))
    return y


def dense_block_backward(dy, y, x, weight, p, need_dx, need_dweight, out=None):
    """See `reference.dense_block_backward`; `out` may give the room for dweight."""
    dz = np.empty_like(y)
    scale = y.dtype.type(1 / (1 - p))
    _in_pieces(_where_positive, y.size, np.ascontiguousarray(dy).reshape(-1), y.reshape(-1), scale, dz.reshape(-1))
    dx = dense_backward_input(dz, weight) if need_dx else None
    if not need_dweight:
        return dx, None, None
    return dx, product(dz.T, x, out), column_sums(dz)


def _mask(p, seed, offset, dtype):
    """What the compiled kernels need of a mask: its counter, its key, the threshold and the scale."""
    words = [(offset >> s) & 0xFFFFFFFF for s in (0, 32)] + [(seed >> s) & 0xFFFFFFFF for s in (0, 32)]
    return np.array([*words, round(p * 2**32)], np.uint64), dtype.type(1 / (1 - p))


def _in_pieces(kernel, size, *args):
    """kernel(begin, end, *args) over stretches of range(size)."""
    parallel.run(lambda i: kernel(i * PIECE, min(size, (i + 1) * PIECE), *args), -(-size // PIECE))


def _philox(block, key):
    """Four random words for one counter: `reference.philox`, one block at a time."""
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    c0, c1, c2, c3 = np.uint64(block) & low, np.uint64(block) >> shift, key[0], key[1]
    k0, k1 = key[2], key[3]
    for _ in range(10):
        first, second = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (second >> shift) ^ c1 ^ k0, second & low, (first >> shift) ^ c3 ^ k1, first & low
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & low, (k1 + np.uint64(0xBB67AE85)) & low
    return c0, c1, c2, c3


def _drop(begin, end, x, y, key, scale):
    """y = scale · x where the word is at least the threshold, else 0."""
    for i in range(begin, end, 4):
        words = _philox(i // 4, key)
        for j in range(min(4, end - i)):
            y[i + j] = x[i + j] * scale if words[j] >= key[4] else x.dtype.type(0)


def _bias_relu_drop(begin, end, y, bias, drops, key, scale):
    """y ← dropout(relu(y + bias)), in place; bias repeats along y."""
    for i in range(begin, end):
        value = y[i] + bias[i % len(bias)]
        y[i] = y.dtype.type(0) if value <= 0 else value
    if drops:
        _drop(begin, end, y, y, key, scale)


def _where_positive(begin, end, dy, y, scale, dz):
    """dz = scale · dy where y > 0: where ReLU let it pass and dropout kept it."""
    for i in range(begin, end):
        dz[i] = dy[i] * scale if y[i] > 0 else y.dtype.type(0)


_philox = njit(nogil=True, cache=True)(_philox)
_drop = njit(nogil=True, cache=True)(_drop)
_bias_relu_drop = njit(nogil=True, cache=True)(_bias_relu_drop)
_where_positive = njit(nogil=True, cache=True)(_where_positive)
