"""Dropout; and a dense layer with bias and ReLU added to each part of its product while that is in the cache."""

from __future__ import annotations

import numpy as np

from scratchnet.compiled import compiled
from scratchnet.kernels.cpu import memory, parallel
from scratchnet.kernels.cpu.dense import dense_backward_input, dense_backward_weight, product
from scratchnet.kernels.philox import MULTIPLIER, ROUNDS, WEYL

PIECE = 1 << 14  # numbers per piece of work, which fit the first-level cache; a multiple of Philox's 4


def dropout_forward(x, p, seed, offset):
    """See `reference.dropout_forward`."""
    y = memory.empty(x.shape, x.dtype)
    y[...] = x
    flat, mask = y.reshape(-1), _mask(p, seed, offset, x.dtype)
    _in_pieces(y.size, lambda begin, end: _drop(begin, flat[begin:end], *mask))
    return y


def dense_block_forward(x, weight, bias, p, seed, offset):
    """See `reference.dense_block_forward`: the product, bias and ReLU behind each part of it, then dropout."""
    bias = np.zeros(len(weight), x.dtype) if bias is None else np.ascontiguousarray(bias)

    def behind(out, rows, columns):
        top, bottom, _ = rows.indices(out.shape[0])
        _bias_relu(out.reshape(-1), out.shape[1], top, bottom, columns.start or 0, bias[columns])

    y = product(x, weight.T, behind)
    if p > 0:
        flat, mask = y.reshape(-1), _mask(p, seed, offset, y.dtype)
        _in_pieces(y.size, lambda begin, end: _drop(begin, flat[begin:end], *mask))
    return y


def dense_block_backward(dy, y, x, weight, p, need_dx, need_dweight):
    """See `reference.dense_block_backward`."""
    dz = memory.empty(y.shape, y.dtype)
    scale = y.dtype.type(1 / (1 - p))
    flat_dy, flat_y, flat_dz = np.ascontiguousarray(dy).reshape(-1), y.reshape(-1), dz.reshape(-1)
    _in_pieces(y.size, lambda b, e: _through_relu(flat_dy[b:e], flat_y[b:e], scale, flat_dz[b:e]))
    dx = dense_backward_input(dz, weight) if need_dx else None
    return (dx, *dense_backward_weight(x, dz)) if need_dweight else (dx, None, None)


def _mask(p, seed, offset, dtype):
    """What the compiled kernels need of a mask: its counter, its key, the threshold and the scale."""
    words = [(offset >> s) & 0xFFFFFFFF for s in (0, 32)] + [(seed >> s) & 0xFFFFFFFF for s in (0, 32)]
    return np.array([*words, round(p * 2**32)], np.uint64), dtype.type(1 / (1 - p))


def _in_pieces(size, piece):
    """piece(begin, end) over stretches of range(size), four at a time."""
    stretch = 4 * PIECE

    def stretches(i: int) -> None:
        for begin in range(i * stretch, min(size, (i + 1) * stretch), PIECE):
            piece(begin, min(size, begin + PIECE))

    parallel.run(stretches, -(-size // stretch))


def _philox(block, key):
    """Four random words for one counter: `philox` of philox.py, one block at a time."""
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    c0, c1, c2, c3 = np.uint64(block) & low, np.uint64(block) >> shift, key[0], key[1]
    k0, k1 = key[2], key[3]
    for _ in range(ROUNDS):
        first, second = c0 * np.uint64(MULTIPLIER[0]), c2 * np.uint64(MULTIPLIER[1])
        c0, c1, c2, c3 = (second >> shift) ^ c1 ^ k0, second & low, (first >> shift) ^ c3 ^ k1, first & low
        k0, k1 = (k0 + np.uint64(WEYL[0])) & low, (k1 + np.uint64(WEYL[1])) & low
    return c0, c1, c2, c3


def _drop(begin, y, key, scale):
    """y ← scale · y where the word is at least the threshold, else 0; y starts at a multiple of 4, `begin`."""
    words = np.empty((len(y) + 3) // 4 * 4, np.uint64)
    for block in range(len(words) // 4):
        w0, w1, w2, w3 = _philox(begin // 4 + block, key)
        words[4 * block], words[4 * block + 1], words[4 * block + 2], words[4 * block + 3] = w0, w1, w2, w3
    zero, least = y.dtype.type(0), key[4]
    for i in range(len(y)):  # a loop of its own: it has no branch, and LLVM makes vector code of it
        y[i] = y[i] * scale if words[i] >= least else zero


def _bias_relu(y, across, top, bottom, left, bias):
    """y ← relu(y + bias), in place, for rows top to bottom and len(bias) columns from left; y has rows of `across`."""
    zero = y.dtype.type(0)
    for row in range(top, bottom):
        part = y[row * across + left :][: len(bias)]
        for i in range(len(part)):
            value = part[i] + bias[i]
            part[i] = zero if value <= zero else value


def _through_relu(dy, y, scale, dz):
    """dz = 0 where y ≤ 0, where ReLU or dropout cut it, else scale · dy."""
    zero = y.dtype.type(0)
    for i in range(len(y)):
        value = dy[i] * scale  # before the choice: no branch
        dz[i] = zero if y[i] <= zero else value


_philox = compiled(_philox)
_drop = compiled(_drop)
_bias_relu = compiled(_bias_relu)
_through_relu = compiled(_through_relu)
