"""Batch normalisation, with ReLU and max-pool behind it in the same pass; and global average pooling.

Maps lie channels last, as convolutions leave them, and are worked on a few samples at a time, which stay in the cache.
Sums run in float64, one partial sum for each piece of a fixed size, so that none depends on how many threads there are.
"""

from __future__ import annotations

import math

import numpy as np

from scratchnet.compiled import compiled
from scratchnet.kernels.cpu import memory, parallel
from scratchnet.kernels.cpu.conv_forward import pool_maps, pool_shape, pool_window
from scratchnet.kernels.cpu.memory import scratch
from scratchnet.kernels.cpu.vectors import lanes_of

PIECE = 1 << 15  # numbers per piece of work, or a sample


def batchnorm_statistics(x):
    """See `reference.batchnorm_statistics`.

    Sums of x and x², both about the channel's first value: as that is one of the values whose variance this is, what is
    left of the squares is no smaller than they are divided by the count, and float64 has digits to spare.
    """
    maps = _maps(x)
    first = maps[0, 0].astype(np.float64)
    away, squares = _sums_of(maps, lambda part, sums: _moments(maps[part], first, sums)) / (x.size // x.shape[1])
    return tuple(a.astype(x.dtype) for a in (first + away, np.maximum(squares - away * away, 0)))


def batchnorm_forward(x, weight, bias, mean, var, eps):
    """See `reference.batchnorm_forward`."""
    return norm_block_forward(_image(x), weight, bias, mean, var, eps, "none", None)[0].reshape(x.shape)


def batchnorm_backward(dy, x, weight, mean, var, eps, from_batch, need_dx, need_dweight):
    """See `reference.batchnorm_backward`."""
    found = _image(dy), None, _image(x), weight, mean, var, eps, from_batch, need_dx, need_dweight
    dx, dweight, dbias = norm_block_backward(*found)
    return None if dx is None else dx.reshape(x.shape), dweight, dbias


def norm_block_forward(x, weight, bias, mean, var, eps, activation, pool):
    """See `reference.norm_block_forward`. Without a pool, the backward pass needs y alone, so `saved` is y."""
    maps, relu = _maps(x), activation == "relu"
    n, positions, channels = maps.shape
    size = pool_shape(x.shape[2:], pool)
    y = memory.empty((n, *size, channels), x.dtype)
    argmax = memory.empty(y.shape if pool else (0, *y.shape[1:]), np.int32)
    rows = y.reshape(n, math.prod(size), channels)
    constants = mean, weight / np.sqrt(var + x.dtype.type(eps)), bias
    width = -(-channels // lanes_of(x.dtype)) * lanes_of(x.dtype)
    window = pool_window(x.shape[3], pool, relu)

    def piece(i: int, part: slice) -> None:
        if pool is None:
            _normalise(maps[part], *constants, relu, rows[part])
            return
        here = scratch("map", (len(maps[part]), positions, width), x.dtype)
        _normalise(maps[part], *constants, False, here)
        pool_maps(here.reshape(-1, width), positions, window, y[part], argmax[part])

    _in_pieces(maps, piece)
    y, argmax = y.transpose(0, 3, 1, 2), argmax.transpose(0, 3, 1, 2)
    return y, argmax if pool else (y if relu else None)


def norm_block_backward(dy, saved, x, weight, mean, var, eps, from_batch, need_dx, need_dweight):
    """See `reference.norm_block_backward`."""
    maps, count = _maps(x), x.size // x.shape[1]
    dy, saved = _maps(dy), None if saved is None else _maps(saved)

    def before(part: slice) -> np.ndarray:
        """dy before pool and ReLU."""
        if saved is None:
            return dy[part]
        gradient = scratch("gradient", maps[part].shape, x.dtype)
        (_through_relu if saved.dtype.kind == "f" else _spread)(dy[part], saved[part], gradient)
        return gradient

    dx, sums, inverse = None, np.zeros((2, x.shape[1])), 1 / np.sqrt(var.astype(np.float64) + x.dtype.type(eps))
    if need_dweight or from_batch:
        sums = _sums_of(maps, lambda part, sums: _products(before(part), maps[part], mean, sums))
        sums[1] *= inverse
    if need_dx:
        dx = memory.empty((len(x), *x.shape[2:], x.shape[1]), x.dtype)
        rows = dx.reshape(maps.shape)
        plain, slope = (sums[0] / count, inverse * sums[1] / count) if from_batch else np.zeros_like(sums)
        constants = [a.astype(x.dtype) for a in (mean, weight * inverse, plain, slope)]
        _in_pieces(maps, lambda i, part: _input(before(part), maps[part], *constants, rows[part]))
        dx = dx.transpose(0, 3, 1, 2)
    return (dx, *sums[::-1].astype(x.dtype)) if need_dweight else (dx, None, None)


def global_avgpool2d_forward(x):
    """See `reference.global_avgpool2d_forward`."""
    maps, sums = _maps(x), np.empty(x.shape[:2])
    _in_pieces(maps, lambda i, part: _sum(maps[part], sums[part]))
    return (sums / maps.shape[1]).astype(x.dtype)


def global_avgpool2d_backward(dy, size):
    """See `reference.global_avgpool2d_backward`."""
    dx = memory.empty((len(dy), *size, dy.shape[1]), dy.dtype)
    dx[...] = (dy * dy.dtype.type(1 / (size[0] * size[1])))[:, None, None]
    return dx.transpose(0, 3, 1, 2)


def _image(x):
    """x (N, C, …) as (N, C, H, W)."""
    return x[(..., *[None] * (4 - x.ndim))]


def _maps(x):
    """x (N, C, …) as (N, positions, C), contiguous: no copy where the channels lie last."""
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)).reshape(len(x), math.prod(x.shape[2:]), x.shape[1])


def _in_pieces(maps, piece):
    """piece(i, slice of samples), on all threads."""
    samples = max(1, PIECE // max(1, math.prod(maps.shape[1:])))
    count = -(-len(maps) // samples)
    parallel.run(lambda i: piece(i, slice(i * samples, min(len(maps), (i + 1) * samples))), count)


def _sums_of(maps, add):
    """(2, C), float64: what `add` adds to its sums, over all pieces."""
    partial = np.zeros((len(maps), 2, maps.shape[2]))
    _in_pieces(maps, lambda i, part: add(part, partial[i]))
    return partial.sum(axis=0)


def _moments(x, first, sums):
    """sums[0] += Σ (x − first), sums[1] += Σ (x − first)², for each channel."""
    for s in range(x.shape[0]):
        for p in range(x.shape[1]):
            for c in range(x.shape[2]):
                away = np.float64(x[s, p, c]) - first[c]
                sums[0, c] += away
                sums[1, c] += away * away


def _normalise(x, mean, scale, bias, relu, y):
    """y has room for the channels of x, or more."""
    zero = x.dtype.type(0)
    for s in range(x.shape[0]):
        for p in range(x.shape[1]):
            for c in range(x.shape[2]):
                value = (x[s, p, c] - mean[c]) * scale[c] + bias[c]
                y[s, p, c] = zero if relu & (value <= 0) else value


def _through_relu(dy, y, gradient):
    """The gradient of a ReLU: 0 where y ≤ 0, else dy."""
    zero = dy.dtype.type(0)
    for s in range(dy.shape[0]):
        for p in range(dy.shape[1]):
            for c in range(dy.shape[2]):
                gradient[s, p, c] = zero if y[s, p, c] <= 0 else dy[s, p, c]


def _spread(dy, argmax, gradient):
    """Before a max-pool, and maybe a ReLU: dy at the place that won, if any."""
    gradient[:] = 0
    for s in range(dy.shape[0]):
        for q in range(dy.shape[1]):
            for c in range(dy.shape[2]):
                if argmax[s, q, c] >= 0:
                    gradient[s, argmax[s, q, c], c] += dy[s, q, c]


def _products(dy, x, mean, sums):
    """sums[0] += Σ dy, sums[1] += Σ dy · (x − mean), for each channel."""
    for s in range(x.shape[0]):
        for p in range(x.shape[1]):
            for c in range(x.shape[2]):
                gradient = np.float64(dy[s, p, c])
                sums[0, c] += gradient
                sums[1, c] += gradient * np.float64(x[s, p, c] - mean[c])


def _input(dy, x, mean, scale, plain, slope, dx):
    """dx = scale · (dy − plain − (x − mean) · slope)"""
    for s in range(x.shape[0]):
        for p in range(x.shape[1]):
            for c in range(x.shape[2]):
                dx[s, p, c] = scale[c] * (dy[s, p, c] - plain[c] - (x[s, p, c] - mean[c]) * slope[c])


def _sum(x, sums):
    """sums[s, c] = Σ over the positions of x[s, :, c]"""
    sums[:] = 0
    for s in range(x.shape[0]):
        for p in range(x.shape[1]):
            for c in range(x.shape[2]):
                sums[s, c] += np.float64(x[s, p, c])


_moments = compiled(_moments)
_normalise = compiled(_normalise)
_through_relu = compiled(_through_relu)
_spread = compiled(_spread)
_products = compiled(_products)
_input = compiled(_input)
_sum = compiled(_sum)
