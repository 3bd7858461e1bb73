"""Launchers of the input gradient: conv_forward.cu over dy, or conv_input_gradient_sparse.cu behind a pool."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product

import numpy as np

from scratchnet.kernels.cuda import device
from scratchnet.kernels.cuda.arrays import empty_channels_last, int64, real_name
from scratchnet.kernels.cuda.conv_forward import pack_weight, run
from scratchnet.kernels.cuda.conv_forward_plan import Gather, plan_gather
from scratchnet.kernels.cuda.conv_shape import SINGLE, Shape, freeze
from scratchnet.kernels.cuda.conv_taps import tap_table

SPARSE_WARPS = 8


def input_gradient(dmap, weight, size, stride, padding):
    """A convolution of the map's gradient with the kernel turned round.

    With a stride, every stride-th element of dx sees the same taps: one launch for each of those classes.
    """
    gpu = device.current()
    dx = empty_channels_last((len(dmap), weight.shape[1], *size), dmap.dtype)
    if not dx.size:
        return dx
    weight = gpu.xp.ascontiguousarray(weight)
    size, stride, padding = freeze((size, stride, padding))
    geometry = dmap.shape, gpu.address(dmap) % 16, weight.shape, size, stride, padding
    for start, launch in _plan_input_gradient(gpu, dmap.dtype, *geometry, gpu.tensor_cores):
        packed = pack_weight(gpu, weight, launch)
        run(gpu, launch, packed, dmap, None, dx[:, :, start[0] :, start[1] :], None, "none")
    return dx


@lru_cache(maxsize=256)
def _plan_input_gradient(gpu, dtype, dy_shape, address, weight_shape, size, stride, padding, tensor_cores):
    """(where it starts in dx, its launch) of each class."""
    geometry = dy_shape, address, weight_shape, size, stride, padding
    starts = product(range(min(stride[0], size[0])), range(min(stride[1], size[1])))
    return [(start, _plan_class(gpu, dtype, *geometry, start, tensor_cores)) for start in starts]


def _plan_class(gpu, dtype, dy_shape, address, weight_shape, size, stride, padding, start, tensor_cores):
    """dx[start + stride · i] gathers dy[(start + padding − a) / stride + i] for the taps a where that is whole."""
    n, out_channels, map_rows, map_columns = dy_shape
    in_channels = weight_shape[1]
    along = [
        (start[i] + padding[i][0]) % stride[i] + stride[i] * np.arange(-(-weight_shape[2 + i] // stride[i]))
        for i in range(2)
    ]
    rows, columns = ([a for a in along[i].tolist() if a < weight_shape[2 + i]] for i in range(2))
    j, k, o = (
        grid.reshape(-1)
        for grid in np.meshgrid(np.arange(len(rows)), np.arange(len(columns)), np.arange(out_channels), indexing="ij")
    )
    row, column = np.array(rows, np.int64)[j], np.array(columns, np.int64)[k]
    count = [-(-(size[i] - start[i]) // stride[i]) for i in range(2)]
    gather = Gather(
        samples=n,
        channels=in_channels,
        x_channels=out_channels,
        x_size=(map_rows, map_columns),
        x_strides=(map_rows * map_columns * out_channels, 1, map_columns * out_channels, out_channels),
        x_address=address,
        taps=(o, -j, -k),
        place=o * math.prod(weight_shape[1:]) + row * weight_shape[3] + column,
        place_step=math.prod(weight_shape[2:]),
        step=(1, 1),
        first=((start[0] + padding[0][0]) // stride[0], (start[1] + padding[1][0]) // stride[1]),
        map_size=(count[0], count[1]),
        pool=SINGLE,
        pooled=(count[0], count[1]),
        y_strides=(size[0] * size[1] * in_channels, stride[0] * size[1] * in_channels, stride[1] * in_channels),
    )
    return plan_gather(gpu, dtype, gather, tensor_cores)


def sparse_pays(dy, x, weight, stride):
    """Whether to send each pooled value back by itself rather than multiply over the whole map.

    Counted in instructions of a warp: 12 for 32 taps of a value; 1 for 16 × 8 × 8 multiply-adds and as much again to
    bring them in, with the input channels rounded up to 16.
    """
    n, out_channels, depth = len(dy), len(weight), math.prod(weight.shape[1:])
    sparse = dy.size * -(-depth // 32) * 12
    taps = out_channels * weight.shape[2] * weight.shape[3] / (stride[0] * stride[1])
    dense = n * x.shape[2] * x.shape[3] * -(-x.shape[1] // 16) * 16 * taps / 1024 * 2
    return sparse < dense


def input_gradient_sparse(dy, argmax, weight, size, map_size, stride, padding):
    """conv_input_gradient_sparse.cu; None where a sample is too large for shared memory."""
    gpu = device.current()
    n, out_channels = dy.shape[:2]
    in_channels, itemsize = weight.shape[1], dy.itemsize
    values = out_channels * dy.shape[2] * dy.shape[3]
    length = in_channels * size[0] * size[1]
    dx = empty_channels_last((n, in_channels, *size), dy.dtype)
    for warps in (SPARSE_WARPS, 4, 2, 1):
        shared = itemsize * (warps * length + values) + 8 * values
        if shared <= gpu.shared_limit:
            break
    else:
        return None
    if n:
        size, map_size, stride, padding = freeze((size, map_size, stride, padding))
        shape, taps = _plan_sparse(gpu, weight.shape, size, map_size, dy.shape[2:], stride, padding)
        args = dy, argmax, gpu.xp.ascontiguousarray(weight), taps, shape, dx, int64(length)
        defines = {"REAL": real_name(dy.dtype), "WARPS": warps}
        gpu.launch("conv_input_gradient_sparse.cu", "conv_input_gradient_sparse", n, 32 * warps, args, defines, shared)
    return dx


@lru_cache(maxsize=64)
def _plan_sparse(gpu, weight_shape, size, map_size, pooled, stride, padding):
    """What the kernel reads of ConvShape; taps in a dx that lies as (N, H, W, C), the depth in the weights' order."""
    out_channels, in_channels = weight_shape[:2]
    channel, row, column = (grid.reshape(-1) for grid in np.indices(weight_shape[1:]))
    strides = (1, size[1] * in_channels, in_channels)
    shape = Shape(
        channels=out_channels, depth=len(channel), x_row=strides[1], x_column=strides[2], rows=size[0], columns=size[1],
        step_row=stride[0], step_column=stride[1], first_row=-padding[0][0], first_column=-padding[1][0],
        map_columns=map_size[1], pooled_rows=pooled[0], pooled_columns=pooled[1],
        y_n=pooled[0] * pooled[1] * out_channels, y_row=pooled[1] * out_channels, y_column=out_channels,
    )  # fmt: skip
    return gpu.upload(shape.pack()), gpu.upload(tap_table(channel, row, column, strides, len(channel)))
