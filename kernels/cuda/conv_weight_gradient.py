"""Launcher of conv_weight_gradient.cu: dweight and dbias, from the whole map's gradient or from the pooled one."""

from __future__ import annotations

from scratchnet.kernels.cuda import device
from scratchnet.kernels.cuda.arrays import real_name, steps
from scratchnet.kernels.cuda.conv_shape import freeze
from scratchnet.kernels.cuda.conv_weight_gradient_plan import Gradient, plan_gradient


def weight_gradient(x, dy, argmax, kernel_size, stride, padding, pool):
    """From dy (and argmax), channels last: of the whole map, or behind `pool`."""
    gpu = device.current()
    dy_address = (gpu.address(dy) | (0 if argmax is None else gpu.address(argmax))) % 16
    geometry = freeze((kernel_size, stride, padding, pool))
    gradient = Gradient(x.shape, steps(x), gpu.address(x) % 16, dy.shape[1], dy_address, *geometry, argmax is not None)
    launch = plan_gradient(gpu, x.dtype, gradient, gpu.tensor_cores)
    shape, taps, place = launch.tables
    partial = gpu.empty((launch.shares, dy.shape[1], launch.depth), x.dtype)
    partial_bias = gpu.empty((launch.shares, dy.shape[1]), x.dtype)
    args = dy, argmax, taps, shape, x, partial, partial_bias, *launch.counts
    kernel = "conv_weight_gradient.cu", "conv_weight_gradient"
    gpu.launch(*kernel, launch.grid, launch.block, args, launch.defines, launch.shared)
    return _sum(gpu, partial, partial_bias, place, (x.shape[1], *kernel_size), launch.sum_counts)


def _sum(gpu, partial, partial_bias, place, kernel_shape, counts):
    """What all shares have found, weights in their own order."""
    channels = partial.shape[1]
    dweight = gpu.empty((channels, *kernel_shape), partial.dtype)
    dbias = gpu.empty((channels,), partial.dtype)
    args = partial, partial_bias, place, dweight, dbias, *counts
    defines = {"REAL": real_name(partial.dtype), "PAIRS": 0}
    gpu.launch("conv_pack.cu", "sum_weight_gradient", -(-(dweight.size + channels) // 32), 256, args, defines)
    return dweight, dbias
