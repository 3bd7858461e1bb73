"""Launchers of batchnorm.cu: batch normalisation, global average pooling. Maps lie as (N, H, W, C), as all do here."""

from __future__ import annotations

import math

import numpy as np

from scratchnet.kernels.cuda import device, pooling
from scratchnet.kernels.cuda.activations import relu_backward, relu_forward
from scratchnet.kernels.cuda.arrays import BLOCK, channels_last, elementwise, empty_channels_last, int64, real_name
from scratchnet.kernels.cuda.conv_shape import NO_PADDING

PARTS = 64  # partial sums of a channel: fixed, so that the order of a sum never depends on the GPU


def batchnorm_statistics(x):
    """mean[c] and var[c] (dividing by the count) over samples and positions, summed in float64.   x (N, C, …)"""
    maps, rows, channels = _maps(x)
    mean = _sums("batchnorm_moments", x.dtype, rows, channels, (maps, None), 1, rows)
    var = _sums("batchnorm_moments", x.dtype, rows, channels, (maps, mean), 1, rows)
    return mean[0].astype(x.dtype), var[0].astype(x.dtype)


def batchnorm_forward(x, weight, bias, mean, var, eps):
    """y = weight[c] · x̂ + bias[c],  x̂ = (x − mean[c]) / √(var[c] + eps).   x (N, C, …)"""
    maps, rows, channels = _maps(x)
    y = empty_channels_last(maps.shape, x.dtype)
    args = maps, weight, bias, mean, var, y, int64(rows), int64(channels), x.dtype.type(eps)
    elementwise("batchnorm.cu", "batchnorm_forward", x.dtype, x.size, *args)
    return y.reshape(x.shape)


def batchnorm_backward(dy, x, weight, mean, var, eps, from_batch, need_dx, need_dweight):
    """See `reference.batchnorm_backward`.   → dx, dweight, dbias, None where not needed"""
    gpu = device.current()
    (dy_maps, rows, channels), (x_maps, _, _) = _maps(dy), _maps(x)
    eps, sums, dx = x.dtype.type(eps), None, None
    dweight, dbias = gpu.empty((channels,), x.dtype), gpu.empty((channels,), x.dtype)
    if from_batch or need_dweight:
        sums = _sums("batchnorm_gradients", x.dtype, rows, channels, (dy_maps, x_maps, mean), 2, 1)
        args = sums, var, dweight, dbias, int64(channels), eps
        elementwise("batchnorm.cu", "batchnorm_parameters", x.dtype, channels, *args)
    if need_dx:
        dx = empty_channels_last(x_maps.shape, x.dtype)
        args = dy_maps, x_maps, weight, mean, var, sums if from_batch else None, dx, int64(rows), int64(channels), eps
        elementwise("batchnorm.cu", "batchnorm_input", x.dtype, x.size, *args)
        dx = dx.reshape(x.shape)
    return (dx, dweight, dbias) if need_dweight else (dx, None, None)


def norm_block_forward(x, weight, bias, mean, var, eps, activation, pool):
    """Batch normalisation, ReLU, max-pool, one after the other → y, and what `norm_block_backward` needs."""
    y = batchnorm_forward(x, weight, bias, mean, var, eps)
    if pool is None:
        y = relu_forward(y) if activation == "relu" else y
        return y, y if activation == "relu" else None
    y, argmax = pooling.maxpool2d_forward(y, *pool, NO_PADDING, False)
    if activation == "relu":
        pooling.cut(y, argmax)
    return y, argmax


def norm_block_backward(dy, saved, x, weight, mean, var, eps, from_batch, need_dx, need_dweight):
    """See `reference.norm_block_backward`."""
    if saved is not None and saved.dtype.kind == "f":
        dy = relu_backward(*map(channels_last, (dy, saved)))
    elif saved is not None:
        dy = pooling.maxpool2d_backward(dy, saved, x.shape[2:])
    return batchnorm_backward(dy, x, weight, mean, var, eps, from_batch, need_dx, need_dweight)


def global_avgpool2d_forward(x):
    """y[n, c] = mean over the map of x[n, c].   x (N, C, H, W) → y (N, C)"""
    maps, _, channels = _maps(x)
    y = device.current().empty(x.shape[:2], x.dtype)
    args = maps, y, int64(len(x)), int64(math.prod(x.shape[2:])), int64(channels)
    elementwise("batchnorm.cu", "global_avgpool_forward", x.dtype, y.size, *args)
    return y


def global_avgpool2d_backward(dy, size):
    """dx[n, c, i, j] = dy[n, c] / (H · W).   → (N, C, H, W)"""
    dy, positions = device.current().xp.ascontiguousarray(dy), size[0] * size[1]
    dx = empty_channels_last((*dy.shape, *size), dy.dtype)
    args = dy, dx, int64(len(dy)), int64(positions), int64(dy.shape[1]), dy.dtype.type(1 / positions)
    elementwise("batchnorm.cu", "global_avgpool_backward", dy.dtype, dx.size, *args)
    return dx


def _maps(x):
    """x (N, C, …) as maps (N, C, H, W) that lie channels last; the rows of all samples; the channels."""
    n, channels = x.shape[:2]
    shape = (n, channels, *([1] * (4 - x.ndim)), *x.shape[2:])
    maps = device.current().xp.ascontiguousarray(x.reshape(shape).transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    return maps, x.size // channels, channels


def _sums(kernel, dtype, rows, channels, arrays, groups, count):
    """What `kernel` adds up, divided by `count`: (groups, channels), float64."""
    gpu = device.current()
    partial, sums = gpu.empty((groups, PARTS, channels), np.float64), gpu.empty((groups, channels), np.float64)
    args = *arrays, partial, int64(rows), int64(channels), int64(PARTS)
    gpu.launch("batchnorm.cu", kernel, -(-channels // 32) * PARTS, BLOCK, args, {"REAL": real_name(dtype)})
    args = partial, sums, int64(groups), int64(channels), int64(PARTS), np.float64(count)
    elementwise("batchnorm.cu", "add_parts", dtype, sums.size, *args)
    return sums
