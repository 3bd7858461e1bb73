"""How conv_weight_gradient.cu computes a gradient: its tiles and shares, its macros and its tables."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from scratchnet.kernels.cuda import conv_tiling
from scratchnet.kernels.cuda.arrays import int64, real_name
from scratchnet.kernels.cuda.conv_shape import NO_PADDING, POSITION, SHAPE, Pair, Shape, check_size, map_size
from scratchnet.kernels.cuda.conv_taps import looks_outside, moves, tap_order, tap_table, vector_width
from scratchnet.kernels.cuda.conv_tiling import NoTiling, Tiling, cost, group_counts, tile_channels, tile_widths

RESERVED = 1024  # bytes of shared memory that a GPU keeps of each block
POSITIONS = 192, 144, 128, 96, 64, 48, 32, 24, 16  # of a tile: few, since each is compiled
PAD = 8  # numbers between two rows of the factors in shared memory


class Gradient(NamedTuple):
    """What conv_weight_gradient.cu computes: dweight[o, k] = Σ dy[n, o, position] · x[n, tap k of the position], over
    all samples and positions, and dbias[o] = Σ dy. Strides count numbers, addresses are modulo 16."""

    x_shape: tuple[int, ...]
    x_strides: tuple[int, ...]
    x_address: int
    channels: int  # of dy
    dy_address: int  # and argmax's
    kernel_size: Pair
    stride: Pair
    padding: tuple[Pair, Pair]
    pool: tuple[Pair, Pair]
    pooled: bool  # whether dy lies behind the pool, at the places of an argmax

    @property
    def first(self) -> Pair:
        """Where the first position lies."""
        return -self.padding[0][0], -self.padding[1][0]

    @property
    def map_size(self) -> Pair:
        """Rows and columns of the map."""
        return map_size(self.x_shape[2:], self.kernel_size, self.stride, self.padding)

    @property
    def values(self) -> Pair:
        """Rows and columns behind the pool."""
        return map_size(self.map_size, *self.pool, NO_PADDING)


class Launch(NamedTuple):
    """What the two launches need and a geometry determines: the gradient's shares, and their sum."""

    grid: int
    block: int
    defines: dict[str, Any]
    shared: int
    tables: tuple[Any, Any, Any]  # on the device: ConvShape, taps, place of each k in the weights
    shares: int
    depth: int
    counts: tuple[np.int64, ...]  # the last arguments of the first
    sum_counts: tuple[np.int64, ...]  # and of the second


class Tile(NamedTuple):
    """A way to cut the work, what it asks for and what it costs."""

    tile_k: int
    tiling: Tiling
    window: Pair | None
    warps: int
    blocks: int
    stages: int
    shared: int
    cost: float


@lru_cache(maxsize=256)
def plan_gradient(gpu: Any, dtype: np.dtype, gradient: Gradient, tensor_cores: bool) -> Launch:
    """The launches that compute it. Raises `NoTiling` where a window of the pool fits in no tile."""
    g, itemsize = gradient, dtype.itemsize
    n, in_channels, *size = g.x_shape
    check_size(max(size) * 2, math.prod(g.map_size))
    sizes = (in_channels, *g.kernel_size)
    tap = tap_order(sizes, g.x_strides[1:])
    depth = len(tap[0])
    taps = tap_table(*tap, g.x_strides[1:], depth)
    strides = moves(n, g.x_strides, g.stride, g.first)
    aligned, vector = (vector_width(taps, depth, strides, size, a, itemsize) for a in (0, g.x_address))
    tile_m, warps_m = tile_channels(g.channels, itemsize)
    found = [
        tile
        for tile_k in tile_widths(tile_m, itemsize)
        for tile in _tiles(gpu.shared_limit, g, tap, (tile_m, tile_k, warps_m), itemsize, aligned)
    ]
    if not found:
        raise NoTiling
    best = min(found, key=lambda tile: tile.cost)
    if best.window:
        taps, vector = tap_table(*tap, (0, best.window[1], 1), depth), 1
    vector_dy = next(v for v in (16 // itemsize, 2, 1) if g.channels % v == 0 and g.dy_address % (v * itemsize) == 0)
    defines = {
        "REAL": real_name(dtype), "TILE_M": tile_m, "TILE_K": best.tile_k, "TILE_P": best.tiling.size,
        "WARPS_M": warps_m, "WARPS_K": best.warps // warps_m, "STAGES": best.stages, "BLOCKS": best.blocks,
        "VECTOR": vector, "VECTOR_DY": vector_dy, "POOLED": int(g.pooled),
        "PADDED": int(looks_outside(tap, size, g.first, g.stride, g.map_size)),
        "WINDOW": int(best.window is not None), "POOL_ROWS": int(g.pool[0][0] == 1),
    }  # fmt: skip
    if tensor_cores and dtype == "float32":
        defines["TENSOR_CORES"] = 1
    place = np.ravel_multi_index(tap, sizes).astype(np.int64)
    tiles = -(-g.channels // tile_m) * -(-depth // best.tile_k)
    shares = splits(tiles, best.tiling.tiles, best.blocks)
    return Launch(
        grid=shares * tiles,
        block=32 * best.warps,
        defines=defines,
        shared=best.shared,
        tables=(gpu.upload(_shape(g, depth, best).pack()), gpu.upload(taps), gpu.upload(place)),
        shares=shares,
        depth=depth,
        counts=(int64(shares), int64(best.tiling.tiles)),
        sum_counts=(int64(shares), int64(g.channels), int64(depth)),
    )


def _shape(g: Gradient, depth: int, tile: Tile) -> Shape:
    """What the kernel reads; dy lies as (N, H, W, C)."""
    (n, _, *size), (rows, columns), tiling = g.x_shape, g.values, tile.tiling
    return Shape(
        n, g.channels, depth, depth, g.x_strides[0], g.x_strides[2], g.x_strides[3], *size, *g.stride, *g.first,
        *g.map_size, rows * columns * g.channels, columns * g.channels, g.channels, rows, columns,
        *g.pool[0], *g.pool[1], tiling.tile_rows, tiling.tile_columns, tiling.groups, *(tile.window or (0, 0)),
        *group_counts(tiling, g.values, n), *(-(-g.pool[0][i] // g.pool[1][i]) for i in range(2)),
    )  # fmt: skip


def _tiles(
    limit: int, g: Gradient, tap: tuple[np.ndarray, ...], sizes: tuple[int, int, int], itemsize: int, vector: int
) -> list[Tile]:
    """All tiles of so many channels, so much of the depth and so many warps over the channels (`sizes`) that fit: those
    that read patches from the tile's input, if there are any."""
    tile_m, tile_k, warps_m = sizes
    warps, together = _warps(tile_m, tile_k, warps_m)
    for blocks in range(together, 1, -1):
        room = (limit + RESERVED) * 2 // blocks - RESERVED  # `limit` is that of two
        with_window, without = [], []
        for tile_p in POSITIONS if g.pooled else POSITIONS[-3:]:
            tiling = conv_tiling.best_tiling(g.x_shape[0], g.values, g.pool, [tile_p])
            if tiling is None:
                continue
            values = tiling.groups * tiling.tile_rows * tiling.tile_columns if g.pooled else 0
            whole = conv_tiling.window_size(tiling, g.pool, g.stride, tap)
            numbers = tiling.groups * whole[0] * whole[1]
            pays = g.x_shape[1] == 1 and 2 * numbers <= tiling.size * min(len(tap[0]), tile_k) / vector
            for window, size, into in ((whole, numbers, with_window), (None, None, without)):
                if window and not pays:
                    continue
                shared = {
                    stages: shared_memory(tile_m, tile_k, tiling.size, warps, values, itemsize, stages, size)
                    for stages in ((2,) if g.pooled else (3, 2))
                }
                stages = next((s for s, bytes_ in shared.items() if bytes_ <= room), None)
                if stages is not None:
                    work = cost(tiling) * -(-len(tap[0]) // tile_k) * (tile_k + tile_m / 8)
                    into.append(Tile(tile_k, tiling, window, warps, blocks, stages, shared[stages], work))
        if with_window or without:
            return with_window or without
    return []


def _warps(tile_m: int, tile_k: int, warps_m: int) -> tuple[int, int]:
    """(warps, blocks that share a multiprocessor): eight warps where each has 32 columns of the depth, else four, three
    blocks of which find registers where their sums are few."""
    if tile_k * warps_m % 256 == 0:
        return 8, 2
    return 4, 3 if tile_m * tile_k <= 100 * 32 * 4 else 2


def shared_memory(
    tile_m: int,
    tile_k: int,
    tile_p: int,
    warps: int,
    pooled: int,
    itemsize: int,
    stages: int,
    window: int | None = None,
) -> int:
    """Bytes; with a window of so many numbers, it has no patches.

    `pooled` is how many pooled values a tile has, 0 where dy is the map's gradient.
    """
    patches = tile_p * (tile_k + PAD) if window is None else -(-window // 4) * 4
    dmap = (1 if pooled else stages) * tile_p * (tile_m + PAD)
    tables = SHAPE + 2 * _batch(warps, tile_p, stages) * tile_p * 2 * POSITION
    return tables + itemsize * (stages * patches + dmap) + pooled * tile_m * (itemsize + 4)


def _batch(warps: int, tile_p: int, stages: int) -> int:
    """For how many tiles tables are made at once: so many as keep half of a block's threads busy."""
    return max(16 * warps // tile_p, stages)


def splits(blocks: int, tiles: int, together: int) -> int:
    """Into how many shares the tiles are cut; each takes so many blocks, `together` of which share a multiprocessor."""
    return max(1, min(conv_tiling.MULTIPROCESSORS * together // blocks, tiles))
