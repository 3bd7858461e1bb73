"""Launchers of elementwise.cu and dropout.cu: ReLU, tanh, absolute value, dropout, each beside its gradient."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from scratchnet.kernels.cuda import device
from scratchnet.kernels.cuda.arrays import elementwise, empty_like, in_one_order, int64


def relu_forward(x):
    """y = max(x, 0)"""
    return _map("relu_forward", x)


def relu_backward(dy, y):
    """dx = dy where y > 0, else 0"""
    return _map("relu_backward", dy, y)


def tanh_forward(x):
    """y = tanh(x)"""
    return _map("tanh_forward", x)


def tanh_backward(dy, y):
    """dx = dy · (1 − y²)"""
    return _map("tanh_backward", dy, y)


def abs_forward(x):
    """y = |x|"""
    return _map("abs_forward", x)


def abs_backward(dy, x):
    """dx = dy · sign(x)"""
    return _map("abs_backward", dy, x)


def dropout_forward(x, p, seed, offset):
    """y = x / (1 − p) where kept, else 0; on dy, the gradient. The mask is `reference.dropout_mask`, unstored."""
    gpu = device.current()
    x = gpu.xp.ascontiguousarray(x)  # the mask goes by C order
    y = gpu.empty(x.shape, x.dtype)
    if x.size:
        threshold, scale = dropout_numbers(p, x.dtype)
        args = x, y, int64(x.size), threshold, scale, word(seed), word(offset)
        elementwise_groups("dropout.cu", "dropout", x.dtype, x.size, *args)
    return y


@lru_cache(maxsize=64)
def dropout_numbers(p, dtype):
    """(threshold that a kept element's word must reach, scale of what is kept)"""
    return np.uint64(round(p * 2**32)), np.dtype(dtype).type(1 / (1 - p))


def word(n):
    """A seed or an offset as the kernels take it: 64 bits without a sign."""
    return np.uint64(n % 2**64)


def elementwise_groups(file, kernel, dtype, n, *args):
    """Launch a kernel whose threads take four elements each, of n."""
    elementwise(file, kernel, dtype, -(-n // 4), *args)


def _map(kernel, *arrays):
    """One kernel of elementwise.cu over arrays of one shape."""
    arrays = in_one_order(*arrays)
    out = empty_like(arrays[0])
    elementwise("elementwise.cu", kernel, out.dtype, out.size, *arrays, out, int64(out.size))
    return out
