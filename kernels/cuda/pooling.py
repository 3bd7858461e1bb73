"""Launchers of pool.cu: max-pool, its gradient, and ReLU behind it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from scratchnet.kernels.cuda import device
from scratchnet.kernels.cuda.arrays import elementwise, empty_channels_last, int64, steps
from scratchnet.kernels.reference import pooled_length


def maxpool1d_forward(x, kernel_size, stride, padding, ceil_mode):
    """y[n, c, t] = max_k x[n, c, t·stride + k − left]; `argmax` is where. The first of equals wins, NaN over all."""
    y, argmax = maxpool2d_forward(x[:, :, None], (1, kernel_size), (1, stride), ((0, 0), padding), ceil_mode)
    return y[:, :, 0], argmax[:, :, 0]


def maxpool1d_backward(dy, argmax, length):
    """dx[n, c, argmax[n, c, t]] += dy[n, c, t]"""
    return maxpool2d_backward(dy[:, :, None], argmax[:, :, None], (1, length))[:, :, 0]


def maxpool2d_forward(x, kernel_size, stride, padding, ceil_mode):
    """y[n, c, i, j] = max over a kh×kw window; `argmax` (int32) is its flat place h·W + w in x. Padding never wins."""
    n, channels, rows, columns = x.shape
    if rows * columns >= 2**31:
        raise ValueError(f"a map of {rows * columns} positions: argmax counts them in 32 bits")
    count = [pooled_length(x.shape[2 + i], kernel_size[i], stride[i], padding[i], ceil_mode) for i in range(2)]
    y = empty_channels_last((n, channels, *count), x.dtype)
    argmax = empty_channels_last(y.shape, np.int32)
    window = *kernel_size, *stride, padding[0][0], padding[1][0]
    elementwise("pool.cu", "maxpool_forward", x.dtype, y.size, x, _shape(x, y, argmax, window), y, argmax)
    return y, argmax


def maxpool2d_backward(dy, argmax, size):
    """dx[n, c, argmax[n, c, i, j]] += dy[n, c, i, j] where argmax is not negative."""
    dx = empty_channels_last((*dy.shape[:2], *size), dy.dtype)
    dx.transpose(0, 2, 3, 1).fill(0)
    n = dx.shape[0] * dx.shape[1] if dx.size else 0
    elementwise("pool.cu", "maxpool_backward", dy.dtype, n, dy, argmax, _shape(dx, dy, argmax), dx)
    return dx


def cut(y, argmax):
    """ReLU behind a pool, in place: y = 0 and argmax = −1 where y is not positive."""
    elementwise("pool.cu", "cut", y.dtype, y.size, y, argmax, int64(y.size))


def _shape(x, y, argmax, window=(0,) * 6):
    """`PoolShape` of pool.cu on the device; the gradient reads no window."""
    numbers = *x.shape, *steps(x), *y.shape[2:], *steps(y), *steps(argmax), *window
    return _upload(device.current(), numbers)


@lru_cache(maxsize=256)
def _upload(gpu, numbers):
    return gpu.upload(np.array(numbers, np.int64))
