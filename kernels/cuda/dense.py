"""Dense layers: the products by cuBLAS, what stands around them by dense.cu."""

from __future__ import annotations

import numpy as np

from scratchnet.kernels.cuda import device
from scratchnet.kernels.cuda.activations import dropout_numbers, elementwise_groups, word
from scratchnet.kernels.cuda.arrays import elementwise, int64, real_name


def dense_forward(x, weight, bias):
    """y = x · weightᵀ + bias.   x (N, I), weight (O, I) → y (N, O)"""
    return _forward(x, weight, bias, 0)


def dense_backward_weight(x, dy):
    """dweight = dyᵀ · x;   dbias = Σ_n dy"""
    x, dy = _contiguous(x, dy)
    out = device.current().empty((dy.shape[1], x.shape[1]), x.dtype)
    return device.current().product(dy.T, x, out), _column_sum(dy)


def dense_backward_input(dy, weight):
    """dx = dy · weight"""
    dy, weight = _contiguous(dy, weight)
    gpu = device.current()
    return gpu.product(dy, weight, gpu.empty((dy.shape[0], weight.shape[1]), dy.dtype))


def dense_block_forward(x, weight, bias, p, seed, offset):
    """y = dropout(relu(x · weightᵀ + bias)), with one pass over the product."""
    return _forward(x, weight, bias, 1, p, seed, offset)


def dense_block_backward(dy, y, x, weight, p, need_dx, need_dweight):
    """dx, dweight, dbias of `dense_block_forward`; None where not needed. y tells the mask."""
    dy, y = _contiguous(dy, y)
    dz = device.current().empty(dy.shape, dy.dtype)
    scale = dropout_numbers(p, dy.dtype)[1]
    elementwise("dense.cu", "relu_dropout_backward", dy.dtype, dy.size, dy, y, dz, int64(dy.size), scale)
    dx = dense_backward_input(dz, weight) if need_dx else None
    return (dx, *dense_backward_weight(x, dz)) if need_dweight else (dx, None, None)


def _forward(x, weight, bias, relu, p=0.0, seed=0, offset=0):
    x, weight = _contiguous(x, weight)
    gpu = device.current()
    y = gpu.product(x, weight.T, gpu.empty((x.shape[0], weight.shape[0]), x.dtype))
    if y.size and (bias is not None or relu or p):
        bias = None if bias is None else _contiguous(bias)[0]
        threshold, scale = dropout_numbers(p, y.dtype)
        args = y, bias, int64(y.shape[0]), int64(y.shape[1]), np.int32(relu), threshold, scale, word(seed), word(offset)
        elementwise_groups("dense.cu", "bias_relu_dropout", y.dtype, y.size, *args)
    return y


def _column_sum(x):
    gpu = device.current()
    total = gpu.empty((x.shape[1],), x.dtype)
    if x.shape[1]:
        args = x, total, int64(x.shape[0]), int64(x.shape[1])
        gpu.launch("dense.cu", "column_sum", -(-x.shape[1] // 32), 256, args, {"REAL": real_name(x.dtype)})
    return total


def _contiguous(*arrays):
    return [device.current().xp.ascontiguousarray(a) for a in arrays]
