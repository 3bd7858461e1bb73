"""Max-pool by itself (behind a convolution it is part of one pass, see conv_forward.py)."""

from __future__ import annotations

import math

import numpy as np

from scratchnet.compiled import compiled
from scratchnet.kernels.cpu import parallel
from scratchnet.kernels.reference import pooled_length


def maxpool2d_forward(x, kernel_size, stride, padding, ceil_mode):
    """See `reference.maxpool2d_forward`."""
    n, c, height, width = x.shape
    rows = pooled_length(height, kernel_size[0], stride[0], padding[0], ceil_mode)
    columns = pooled_length(width, kernel_size[1], stride[1], padding[1], ceil_mode)
    maps = np.ascontiguousarray(x).reshape(n * c, height, width)
    y = np.empty((n * c, rows, columns), x.dtype)
    argmax = np.empty(y.shape, np.int32)
    window = np.array([*kernel_size, *stride, padding[0][0], padding[1][0]])

    def part(i: int) -> None:
        begin, end = parallel.part(i, n * c)
        _pool(maps[begin:end], window, y[begin:end], argmax[begin:end])

    parallel.run(part, parallel.PARTS)
    return y.reshape(n, c, rows, columns), argmax.reshape(n, c, rows, columns)


def maxpool2d_backward(dy, argmax, size):
    """See `reference.maxpool2d_backward`."""
    n, c = dy.shape[:2]
    dx = np.zeros((n * c, size[0] * size[1]), dy.dtype)
    values = math.prod(dy.shape[2:])
    dy, argmax = (np.ascontiguousarray(a).reshape(n * c, values) for a in (dy, argmax))

    def part(i: int) -> None:
        begin, end = parallel.part(i, n * c)
        _spread(dy[begin:end], argmax[begin:end], dx[begin:end])

    parallel.run(part, parallel.PARTS)
    return dx.reshape(n, c, *size)


def maxpool1d_forward(x, kernel_size, stride, padding, ceil_mode):
    """See `reference.maxpool1d_forward`."""
    y, argmax = maxpool2d_forward(x[:, :, None], (1, kernel_size), (1, stride), ((0, 0), padding), ceil_mode)
    return y[:, :, 0], argmax[:, :, 0]


def maxpool1d_backward(dy, argmax, length):
    """See `reference.maxpool1d_backward`."""
    return maxpool2d_backward(dy[:, :, None], argmax[:, :, None], (1, length))[:, :, 0]


def _pool(maps, window, y, argmax):
    kh, kw, sh, sw, top, left = window
    height, width = maps.shape[1:]
    for m in range(len(maps)):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                first_row, first_column = max(i * sh - top, 0), max(j * sw - left, 0)
                place = first_row * width + first_column
                best = maps[m, first_row, first_column]
                for a in range(first_row, min(i * sh - top + kh, height)):
                    for b in range(first_column, min(j * sw - left + kw, width)):
                        value = maps[m, a, b]
                        if value > best or (value != value and best == best):
                            best, place = value, a * width + b
                y[m, i, j], argmax[m, i, j] = best, place


def _spread(dy, argmax, dx):
    for m in range(len(dy)):
        for q in range(dy.shape[1]):
            dx[m, argmax[m, q]] += dy[m, q]


_pool = compiled(_pool)
_spread = compiled(_spread)
