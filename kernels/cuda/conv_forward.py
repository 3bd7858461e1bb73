"""Launcher of conv_forward.cu: convolution, bias, ReLU and max-pool in one pass."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from scratchnet.kernels.cuda import device
from scratchnet.kernels.cuda.arrays import elementwise, empty_channels_last, steps
from scratchnet.kernels.cuda.conv_forward_plan import Gather, plan_gather
from scratchnet.kernels.cuda.conv_shape import NO_PADDING, check_size, freeze, map_size
from scratchnet.kernels.cuda.conv_taps import tap_order
from scratchnet.kernels.cuda.conv_tiling import WARPS


def forward(x, weight, bias, stride, padding, activation, pool, with_argmax):
    gpu = device.current()
    n, out_channels = len(x), len(weight)
    stride, padding, pool = freeze((stride, padding, pool))
    launch = _plan_forward(
        gpu, x.dtype, x.shape, steps(x), gpu.address(x) % 16, weight.shape, stride, padding, pool, gpu.tensor_cores
    )
    y = empty_channels_last((n, out_channels, *launch.pooled), x.dtype)
    argmax = empty_channels_last(y.shape, np.int32) if with_argmax else None
    if y.size:
        packed = pack_weight(gpu, gpu.xp.ascontiguousarray(weight), launch)
        run(gpu, launch, packed, x, None if bias is None else gpu.xp.ascontiguousarray(bias), y, argmax, activation)
    return y, argmax


def run(gpu, launch, packed, x, bias, y, argmax, activation):
    grid = launch.tiling.tiles * -(-launch.shape.channels // launch.defines["TILE_M"])
    args = packed, launch.tables[1], launch.tables[0], x, bias, y, argmax, np.int32(activation == "relu")
    gpu.launch("conv_forward.cu", "conv_forward", grid, 32 * WARPS, args, launch.defines, launch.shared)


def pack_weight(gpu, weight, launch):
    """The weights as conv_forward.cu reads them: blocks of 16 channels × 8 of the depth, whole tiles of them."""
    length, sizes, defines = launch.packing
    packed = gpu.empty((length,), weight.dtype)
    args = weight, launch.tables[2], packed, *sizes
    elementwise("conv_pack.cu", "pack_weight", weight.dtype, length if launch.shape.depth else 0, *args, **defines)
    return packed


@lru_cache(maxsize=256)
def _plan_forward(gpu, dtype, x_shape, x_strides, address, weight_shape, stride, padding, pool, tensor_cores):
    n, in_channels, rows, columns = x_shape
    map_rows, map_columns = map_size((rows, columns), weight_shape[2:], stride, padding)
    pooled = map_size((map_rows, map_columns), *pool, NO_PADDING)
    check_size(max(rows, columns) * 2, map_rows * map_columns)
    channel, row, column = tap_order(weight_shape[1:], x_strides[1:])
    gather = Gather(
        samples=n,
        channels=weight_shape[0],
        x_channels=in_channels,
        x_size=(rows, columns),
        x_strides=x_strides,
        x_address=address,
        taps=(channel, row, column),
        place=np.ravel_multi_index((channel, row, column), weight_shape[1:]),
        place_step=math.prod(weight_shape[1:]),
        step=stride,
        first=(-padding[0][0], -padding[1][0]),
        map_size=(map_rows, map_columns),
        pool=pool,
        pooled=pooled,
        y_strides=(pooled[0] * pooled[1] * weight_shape[0], pooled[1] * weight_shape[0], weight_shape[0]),
    )
    return plan_gather(gpu, dtype, gather, tensor_cores)
