"""Launcher of conv_weight_gradient.cu: dweight and dbias, from the whole map's gradient or from the pooled one."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from scratchnet.kernels.cuda import conv_plan as plan
from scratchnet.kernels.cuda import device
from scratchnet.kernels.cuda.arrays import int64, real_name, steps

RESERVED = 1024  # bytes of shared memory that a GPU keeps of each block
POSITIONS = 192, 144, 128, 96, 64, 48, 32, 24, 16  # of a tile: few, since each is compiled


class Launch(NamedTuple):
    """What the two launches need and a geometry determines: the gradient's shares, and their sum."""

    grid: int
    block: int
    defines: dict[str, Any]
    shared: int
    tables: tuple[Any, Any, Any]  # on the device: ConvShape, taps, place of each k in the weights
    splits: int
    depth: int
    counts: tuple[np.int64, ...]  # the last arguments of the first
    sum_counts: tuple[np.int64, ...]  # and of the second


def weight_gradient(x, dy, argmax, kernel_size, stride, padding, pool):
    """From dy (and argmax), channels last: of the whole map, or behind `pool`."""
    gpu = device.current()
    out_channels, in_channels = dy.shape[1], x.shape[1]
    kernel_size, stride, padding, pool = plan.freeze((kernel_size, stride, padding, pool))
    launch = _plan_weight_gradient(
        gpu, x.dtype, x.shape, steps(x), gpu.address(x) % 16,
        (gpu.address(dy) | (0 if argmax is None else gpu.address(argmax))) % 16,
        out_channels, kernel_size, stride, padding, pool, argmax is not None, gpu.tensor_cores,
    )  # fmt: skip
    splits, depth = launch.splits, launch.depth
    partial = gpu.empty((splits, out_channels, depth), x.dtype)
    partial_bias = gpu.empty((splits, out_channels), x.dtype)
    shape, taps, place = launch.tables
    args = dy, argmax, taps, shape, x, partial, partial_bias, *launch.counts
    grid, block = launch.grid, launch.block
    gpu.launch("conv_weight_gradient.cu", "conv_weight_gradient", grid, block, args, launch.defines, launch.shared)
    dweight = gpu.empty((out_channels, in_channels, *kernel_size), x.dtype)
    dbias = gpu.empty((out_channels,), x.dtype)
    args = partial, partial_bias, place, dweight, dbias, *launch.sum_counts
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
    itemsize = dtype.itemsize
    size = plan.map_size((rows, columns), kernel_size, stride, padding)
    after = plan.map_size(size, *pool, plan.NO_PADDING)
    plan.check_size(max(rows, columns) * 2, size[0] * size[1])
    sizes = (in_channels, *kernel_size)
    tap = plan.tap_order(sizes, x_strides[1:])
    depth = len(tap[0])
    tile_m, warps_m = plan.tile_channels(out_channels, itemsize)
    taps = plan.tap_table(*tap, x_strides[1:], depth)
    first = -padding[0][0], -padding[1][0]
    moves = plan.moves(n, x_strides, stride, first)
    aligned, vector = (
        plan.vector_width(taps, depth, moves, (rows, columns), address, itemsize) for address in (0, x_address)
    )
    whole = 16 // itemsize
    vector_dy = next(v for v in (whole, 2, 1) if out_channels % v == 0 and dy_address % (v * itemsize) == 0)
    geometry = n, after, pool, stride, tap, in_channels
    found = [
        tile
        for tile_k in plan.tile_widths(tile_m, itemsize)
        for tile in _tiles(gpu.shared_limit, geometry, tile_m, tile_k, warps_m, pooled, itemsize, aligned)
    ]
    if not found:
        raise plan.NoTiling
    best = min(found, key=lambda tile: tile.cost)
    tile_k, tiling, window, stages = best.tile_k, best.tiling, best.window, best.stages
    if best.window:
        taps, vector = plan.tap_table(*tap, (0, window[1], 1), depth), 1
    shape = plan.Shape(
        n, out_channels, depth, depth, x_strides[0], x_strides[2], x_strides[3], rows, columns, *stride, *first, *size,
        after[0] * after[1] * out_channels, after[1] * out_channels, out_channels, *after, *pool[0], *pool[1],
        tiling.tile_rows, tiling.tile_columns, tiling.groups, *(window or (0, 0)), *plan.group_counts(tiling, after, n),
        *(-(-pool[0][i] // pool[1][i]) for i in range(2)),
    )  # fmt: skip
    defines = {
        "REAL": real_name(dtype), "TILE_M": tile_m, "TILE_K": tile_k, "TILE_P": tiling.size, "WARPS_M": warps_m,
        "WARPS_K": best.warps // warps_m, "STAGES": stages, "BLOCKS": best.blocks, "VECTOR": vector,
        "VECTOR_DY": vector_dy, "POOLED": int(pooled),
        "PADDED": int(plan.looks_outside(tap, (rows, columns), first, stride, size)),
        "WINDOW": int(window is not None), "POOL_ROWS": int(pool[0][0] == 1),
    }  # fmt: skip
    if tensor_cores and dtype == "float32":
        defines["TENSOR_CORES"] = 1
    place = np.ravel_multi_index(tap, sizes).astype(np.int64)
    tables = gpu.upload(shape.pack()), gpu.upload(taps), gpu.upload(place)
    tiles = -(-out_channels // tile_m) * -(-depth // tile_k)
    splits = plan.splits(tiles, tiling.tiles, best.blocks)
    return Launch(
        grid=splits * tiles,
        block=32 * best.warps,
        defines=defines,
        shared=best.shared,
        tables=tables,
        splits=splits,
        depth=depth,
        counts=(int64(splits), int64(tiling.tiles)),
        sum_counts=(int64(splits), int64(out_channels), int64(depth)),
    )


class Tile(NamedTuple):
    """A way to cut the work of conv_weight_gradient.cu, what it asks for and what it costs."""

    tile_k: int
    tiling: plan.Tiling
    window: tuple[int, int] | None
    warps: int
    blocks: int
    stages: int
    shared: int
    cost: float


def _tiles(limit, geometry, tile_m, tile_k, warps_m, pooled, itemsize, vector):
    """All tiles of so much of the depth that fit: those that read patches from the tile's input, if there are any."""
    n, after, pool, stride, tap, in_channels = geometry
    depth = len(tap[0])
    warps, together = plan.gradient_warps(tile_m, tile_k, warps_m)
    for blocks in range(together, 1, -1):
        room = (limit + RESERVED) * 2 // blocks - RESERVED  # `limit` is that of two
        with_window, without = [], []
        for tile_p in POSITIONS if pooled else POSITIONS[-3:]:
            tiling = plan.best_tiling(n, after, pool, [tile_p])
            if tiling is None:
                continue
            values = tiling.groups * tiling.tile_rows * tiling.tile_columns if pooled else 0
            whole = plan.window_size(tiling, pool, stride, tap)
            numbers = tiling.groups * whole[0] * whole[1]
            pays = in_channels == 1 and 2 * numbers <= tiling.size * min(depth, tile_k) / vector
            for window, size, into in ((whole, numbers, with_window), (None, None, without)):
                if window and not pays:
                    continue
                shared = {
                    stages: plan.gradient_shared(tile_m, tile_k, tiling.size, warps, values, itemsize, stages, size)
                    for stages in ((2,) if pooled else (3, 2))
                }
                stages = next((s for s, bytes_ in shared.items() if bytes_ <= room), None)
                if stages is not None:
                    cost = plan.cost(tiling) * -(-depth // tile_k) * (tile_k + tile_m / 8)
                    into.append(Tile(tile_k, tiling, window, warps, blocks, stages, shared[stages], cost))
        if with_window or without:
            return with_window or without
    return []
