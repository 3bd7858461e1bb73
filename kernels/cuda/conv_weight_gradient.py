"""Launcher of conv_weight_gradient.cu: dweight and dbias, from the whole map's gradient or from the pooled one."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from scratchnet.kernels.cuda import conv_plan as plan
from scratchnet.kernels.cuda import device
from scratchnet.kernels.cuda.arrays import elements, int64, real_name
from scratchnet.kernels.cuda.conv_forward import Launch

WINDOW_POSITIONS = 192, 144, 128, 96, 64, 48, 32, 24, 16  # of a tile: few, since each is compiled
POOLED_POSITIONS = 64, 48, 32, 24, 16
POSITIONS = 32, 24, 16


def weight_gradient(x, dy, argmax, kernel_size, stride, padding, pool):
    """From dy (and argmax), channels last: of the whole map, or behind `pool`."""
    gpu = device.current()
    out_channels, in_channels = dy.shape[1], x.shape[1]
    launch = _plan_weight_gradient(
        gpu, x.dtype.name, x.shape, tuple(elements(x, i) for i in range(4)), gpu.address(x) % 16,
        (gpu.address(dy) | (0 if argmax is None else gpu.address(argmax))) % 16,
        out_channels, plan.freeze(kernel_size), plan.freeze(stride), plan.freeze(padding), plan.freeze(pool),
        argmax is not None, gpu.tensor_cores,
    )  # fmt: skip
    depth, defines = launch.shape.depth, launch.defines
    tiles_m, tiles_k = -(-out_channels // defines["TILE_M"]), -(-depth // defines["TILE_K"])
    splits = plan.splits(tiles_m * tiles_k, launch.tiling.tiles, defines["BLOCKS"])
    partial = gpu.empty((splits, out_channels, depth), x.dtype)
    partial_bias = gpu.empty((splits, out_channels), x.dtype)
    args = (
        dy,
        argmax,
        launch.tables[1],
        launch.tables[0],
        x,
        partial,
        partial_bias,
        int64(splits),
        int64(launch.tiling.tiles),
    )
    gpu.launch(
        "conv_weight_gradient.cu",
        "conv_weight_gradient",
        splits * tiles_m * tiles_k,
        32 * defines["WARPS_M"] * defines["WARPS_K"],
        args,
        defines,
        launch.shared,
    )
    dweight = gpu.empty((out_channels, in_channels, *kernel_size), x.dtype)
    dbias = gpu.empty((out_channels,), x.dtype)
    args = partial, partial_bias, launch.tables[2], dweight, dbias, int64(splits), int64(out_channels), int64(depth)
    defines = {"REAL": real_name(x.dtype), "PAIRS": 0}
    gpu.launch("conv_pack.cu", "sum_weight_gradient", -(-(dweight.size + out_channels) // 32), 256, args, defines)
    return dweight, dbias


@lru_cache(maxsize=256)
def _plan_weight_gradient(
    gpu,
    dtype,
    x_shape,
    x_strides,
    x_address,
    dy_address,
    out_channels,
    kernel_size,
    stride,
    padding,
    pool,
    pooled,
    tensor_cores,
):
    n, in_channels, rows, columns = x_shape
    itemsize = np.dtype(dtype).itemsize
    size = plan.map_size((rows, columns), kernel_size, stride, padding)
    after = plan.map_size(size, *pool, plan.NO_PADDING)
    plan.check_size(max(rows, columns) * 2, size[0] * size[1])
    sizes = (in_channels, *kernel_size)
    tap = plan.tap_order(sizes, x_strides[1:])
    depth = len(tap[0])
    tile_m, warps_m = plan.tile_channels(out_channels, itemsize)
    fitting = [
        k
        for k in plan.tile_widths(tile_m, itemsize)
        if plan.gradient_shared(tile_m, k, 16, 16 * pooled, itemsize) <= gpu.shared_limit
    ]
    if not fitting:
        raise plan.NoTiling
    tile_k = plan.best_width(fitting, depth, tile_m)
    taps = plan.tap_table(*tap, x_strides[1:], depth)
    first = -padding[0][0], -padding[1][0]
    moves = (
        x_strides[0] if n > 1 else 0,
        stride[0] * x_strides[2],
        stride[1] * x_strides[3],
        first[0] * x_strides[2],
        first[1] * x_strides[3],
    )
    vector = plan.vector_width(taps, depth, moves, (rows, columns), x_address, itemsize)
    whole = 16 // itemsize
    vector_dy = next(v for v in (whole, 2, 1) if out_channels % v == 0 and dy_address % (v * itemsize) == 0)
    warps, together = plan.gradient_warps(tile_m, tile_k)
    room = tile_m, tile_k, pooled, itemsize
    for blocks in range(together, 1, -1):
        limit = gpu.shared_limit * 2 // blocks
        windowed = [] if in_channels > 1 else _windowed(limit, n, after, pool, stride, tap, *room)
        tiling, window = min(windowed, key=lambda found: plan.cost(found[0]), default=(None, (0, 0)))
        numbers = tiling.groups * window[0] * window[1] if tiling else 0
        if tiling is None or 2 * numbers > tiling.size * min(depth, tile_k) / vector:
            tiling, window, numbers = _gathering(limit, n, after, pool, *room), (0, 0), None
        if tiling is not None:
            break
    else:
        raise plan.NoTiling
    if numbers is not None:
        taps, vector = plan.tap_table(*tap, (0, window[1], 1), depth), 1

    def shared(stages):
        return plan.gradient_shared(tile_m, tile_k, tiling.size, _values(tiling, pooled), itemsize, stages, numbers)

    stages = 3 if not pooled and shared(3) <= limit else 2
    shape = plan.Shape(
        n, out_channels, depth, depth, x_strides[0], x_strides[2], x_strides[3], rows, columns, *stride, *first, *size,
        after[0] * after[1] * out_channels, after[1] * out_channels, out_channels, *after, *pool[0], *pool[1],
        tiling.tile_rows, tiling.tile_columns, tiling.groups, *window, *plan.group_counts(tiling, after, n),
        *(-(-pool[0][i] // pool[1][i]) for i in range(2)),
    )  # fmt: skip
    defines = {
        "REAL": real_name(dtype), "TILE_M": tile_m, "TILE_K": tile_k, "TILE_P": tiling.size, "WARPS_M": warps_m,
        "WARPS_K": warps // warps_m, "STAGES": stages, "BLOCKS": blocks, "VECTOR": vector, "VECTOR_DY": vector_dy, "POOLED": int(pooled),
        "PADDED": int(plan.looks_outside(tap, (rows, columns), first, stride, size)),
        "WINDOW": int(numbers is not None), "POOL_ROWS": int(pool[0][0] == 1),
    }  # fmt: skip
    if tensor_cores and dtype == "float32":
        defines["TENSOR_CORES"] = 1
    place = np.ravel_multi_index(tap, sizes).astype(np.int64)
    tables = gpu.upload(shape.pack()), gpu.upload(taps), gpu.upload(place)
    return Launch(shape, tiling, defines, shared(stages), tables, after)


def _values(tiling, pooled):
    """How many pooled values a tile has."""
    return tiling.groups * tiling.tile_rows * tiling.tile_columns if pooled else 0


def _windowed(limit, n, after, pool, stride, tap, tile_m, tile_k, pooled, itemsize):
    """(tiling, window) of each number of positions for which the input of a tile fits."""
    for tile_p in WINDOW_POSITIONS:
        tiling = plan.best_tiling(n, after, pool, [tile_p])
        if tiling is not None:
            window = plan.window_size(tiling, pool, stride, tap)
            numbers = tiling.groups * window[0] * window[1]
            values = _values(tiling, pooled)
            if plan.gradient_shared(tile_m, tile_k, tile_p, values, itemsize, 2, numbers) <= limit:
                yield tiling, window


def _gathering(limit, n, after, pool, tile_m, tile_k, pooled, itemsize):
    """The best tiling of those whose patches fit."""
    tilings = [
        tiling
        for tile_p in (POOLED_POSITIONS if pooled else POSITIONS)
        if (tiling := plan.best_tiling(n, after, pool, [tile_p]))
        and plan.gradient_shared(tile_m, tile_k, tile_p, _values(tiling, pooled), itemsize) <= limit
    ]
    return min(tilings, key=plan.cost, default=None)
