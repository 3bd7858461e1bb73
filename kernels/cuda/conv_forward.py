"""Launcher of conv_forward.cu: convolution, bias, ReLU and max-pool in one pass."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from scratchnet.kernels.cuda import conv_plan as plan
from scratchnet.kernels.cuda import device
from scratchnet.kernels.cuda.arrays import elementwise, empty_channels_last, int64, real_name, steps


class Packing(NamedTuple):
    """How conv_pack.cu lays out the weights of a launch of conv_forward.cu."""

    length: int  # numbers that are written
    sizes: tuple[np.int64, ...]  # the kernel's last arguments
    defines: dict[str, Any]


class Launch(NamedTuple):
    """What a launch needs and a geometry determines."""

    shape: plan.Shape
    tiling: plan.Tiling
    defines: dict[str, Any]
    shared: int
    tables: tuple[Any, Any, Any]  # on the device: ConvShape, taps, place of each k in the weights
    pooled: tuple[int, int]
    packing: Packing


def forward(x, weight, bias, stride, padding, activation, pool, with_argmax):
    gpu = device.current()
    n, out_channels = len(x), len(weight)
    stride, padding, pool = plan.freeze((stride, padding, pool))
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
    gpu.launch("conv_forward.cu", "conv_forward", grid, 32 * plan.WARPS, args, launch.defines, launch.shared)


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
    map_rows, map_columns = plan.map_size((rows, columns), weight_shape[2:], stride, padding)
    pooled = plan.map_size((map_rows, map_columns), *pool, plan.NO_PADDING)
    plan.check_size(max(rows, columns) * 2, map_rows * map_columns)
    channel, row, column = plan.tap_order(weight_shape[1:], x_strides[1:])
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


class Gather(NamedTuple):
    """What conv_forward.cu computes: at each position of a map, `channels` sums of what lies at its taps in x, each
    times a weight; and of each window of the pool the largest. Strides count numbers."""

    samples: int
    channels: int
    x_channels: int
    x_size: plan.Pair
    x_strides: tuple[int, ...]  # of samples, channels, rows, columns
    x_address: int  # modulo 16
    taps: tuple[np.ndarray, np.ndarray, np.ndarray]  # channel, row, column of each, from a position's place in x
    place: np.ndarray  # of each tap's weight
    place_step: int  # from one channel's weights to the next's
    step: plan.Pair  # from position to position in x
    first: plan.Pair  # where the first position lies
    map_size: plan.Pair
    pool: tuple[plan.Pair, plan.Pair]
    pooled: plan.Pair
    y_strides: tuple[int, int, int]  # of samples, rows, columns


def plan_gather(gpu: Any, dtype: np.dtype, gather: Gather, tensor_cores: bool) -> Launch:
    """The launch of conv_forward.cu that computes it. Raises `NoTiling` where a window of the pool fits in no tile."""
    g, itemsize, depth = gather, dtype.itemsize, len(gather.place)
    tensor_cores = tensor_cores and dtype == "float32"
    padded = -(-depth // plan.SLICE) * plan.SLICE
    tile_m, warps_m = plan.tile_channels(g.channels, itemsize)
    tilings = plan.forward_tilings(g.samples, g.pooled, g.pool, tile_m, itemsize, gpu.shared_limit)
    if not tilings:
        raise plan.NoTiling
    tiling = min(tilings, key=lambda t: plan.forward_cost(t, g.channels, tile_m))
    taps = plan.tap_table(*g.taps, g.x_strides[1:], padded)
    moves = plan.moves(g.samples, g.x_strides, g.step, g.first)
    aligned, vector = (plan.vector_width(taps, depth, moves, g.x_size, a, itemsize) for a in (0, g.x_address))
    room, window, spread = plan.forward_room(tile_m, tiling.size, itemsize, gpu.shared_limit), (0, 0), 1
    if g.x_channels == 1 and depth and min(*g.taps[1], *g.taps[2]) >= 0:
        whole = plan.window_size(tiling, g.pool, g.step, g.taps)
        numbers = tiling.groups * whole[0] * whole[1]
        with_window = plan.forward_room(tile_m, tiling.size, itemsize, gpu.shared_limit, numbers)
        if with_window and 2 * numbers <= tiling.size * depth / aligned:
            room, window = with_window, whole
            taps, vector = plan.tap_table(*g.taps, (0, window[1], 1), padded), 1
            if tensor_cores:
                spread = plan.spread(tiling, g.pool, g.step, window, taps, plan.WARPS // warps_m)
    shape = plan.Shape(
        g.samples, g.channels, depth, padded, g.x_strides[0], g.x_strides[2], g.x_strides[3], *g.x_size, *g.step,
        *g.first, *g.map_size, *g.y_strides, *g.pooled,
        *g.pool[0], *g.pool[1], tiling.tile_rows, tiling.tile_columns, tiling.groups, *window,
        *plan.group_counts(tiling, g.pooled, g.samples),
    )  # fmt: skip
    known = g.pool[0] if g.pool[0] in plan.KNOWN_POOLS else (0, 0)
    vector_y = next(v for v in (16 // itemsize, 2, 1) if g.channels % v == 0)
    defines = {
        "REAL": real_name(dtype), "TILE_M": tile_m, "TILE_N": tiling.size, "WARPS_M": warps_m,
        "WARPS_N": plan.WARPS // warps_m, "STAGES": room.stages, "ROUND": room.round,
        "BLOCKS": plan.blocks(tile_m * tiling.size, itemsize), "VECTOR": vector, "VECTOR_Y": vector_y,
        "PADDED": int(plan.looks_outside(g.taps, g.x_size, g.first, g.step, g.map_size)),
        "WINDOW": int(window[0] > 0), "SPREAD": spread, "POOL_ROWS": known[0], "POOL_COLUMNS": known[1],
    }  # fmt: skip
    packing_defines = {"PAIRS": 1 - defines["WINDOW"]}
    if tensor_cores:
        defines["TENSOR_CORES"] = packing_defines["TENSOR_CORES"] = 1
    tables = gpu.upload(shape.pack()), gpu.upload(taps), gpu.upload(np.asarray(g.place, np.int64))
    length = -(-g.channels // tile_m) * tile_m * max(padded, 1)
    sizes = length, g.channels, depth, padded, g.place_step
    packing = Packing(length, tuple(map(int64, sizes)), packing_defines)
    return Launch(shape, tiling, defines, room.shared, tables, g.pooled, packing)
