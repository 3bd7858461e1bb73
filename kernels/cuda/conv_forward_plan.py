"""How conv_forward.cu computes a convolution: its tiles, its macros, its tables and how its weights are laid out."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from scratchnet.kernels.cuda import conv_tiling
from scratchnet.kernels.cuda.arrays import int64, real_name
from scratchnet.kernels.cuda.conv_shape import POSITION, Pair, Shape
from scratchnet.kernels.cuda.conv_taps import TAP, looks_outside, moves, tap_table, vector_width
from scratchnet.kernels.cuda.conv_tiling import (
    WARPS,
    NoTiling,
    Tiling,
    group_counts,
    spans,
    tile_channels,
    tile_widths,
)

SLICE = 16  # of the depth
STAGES = 4, 3, 2  # slices on their way: as many as fit
RESULT_PAD = 4  # numbers between two rows of the result in shared memory
ROUND = 32  # channels of a warp that are stored at once, if there is no room for all
WIDTHS = 64, 128, 192, 256  # of a tile: few, since each is compiled
# Whose windows are compiled in: PiczakNet's, HeuriNet's, and what is common.
KNOWN_POOLS = (1, 1), (1, 3), (1, 9), (4, 3), (2, 2)


class Gather(NamedTuple):
    """What conv_forward.cu computes: at each position of a map, `channels` sums of what lies at its taps in x, each
    times a weight; and of each window of the pool the largest. Strides count numbers."""

    samples: int
    channels: int
    x_channels: int
    x_size: Pair
    x_strides: tuple[int, ...]  # of samples, channels, rows, columns
    x_address: int  # modulo 16
    taps: tuple[np.ndarray, np.ndarray, np.ndarray]  # channel, row, column of each, from a position's place in x
    place: np.ndarray  # of each tap's weight
    place_step: int  # from one channel's weights to the next's
    step: Pair  # from position to position in x
    first: Pair  # where the first position lies
    map_size: Pair
    pool: tuple[Pair, Pair]
    pooled: Pair
    y_strides: tuple[int, int, int]  # of samples, rows, columns


class Packing(NamedTuple):
    """How conv_pack.cu lays out the weights of a launch of conv_forward.cu."""

    length: int  # numbers that are written
    sizes: tuple[np.int64, ...]  # the kernel's last arguments
    defines: dict[str, Any]


class Launch(NamedTuple):
    """What a launch needs and a geometry determines."""

    shape: Shape
    tiling: Tiling
    defines: dict[str, Any]
    shared: int
    tables: tuple[Any, Any, Any]  # on the device: ConvShape, taps, place of each k in the weights
    pooled: tuple[int, int]
    packing: Packing


def plan_gather(gpu: Any, dtype: np.dtype, gather: Gather, tensor_cores: bool) -> Launch:
    """The launch that computes it. Raises `NoTiling` where a window of the pool fits in no tile."""
    g, itemsize, depth = gather, dtype.itemsize, len(gather.place)
    tensor_cores = tensor_cores and dtype == "float32"
    padded = -(-depth // SLICE) * SLICE
    tile_m, warps_m = tile_channels(g.channels, itemsize)
    tilings = _tilings(g.samples, g.pooled, g.pool, tile_m, itemsize, gpu.shared_limit)
    if not tilings:
        raise NoTiling
    tiling = min(tilings, key=lambda t: _cost(t, g.channels, tile_m))
    taps = tap_table(*g.taps, g.x_strides[1:], padded)
    strides = moves(g.samples, g.x_strides, g.step, g.first)
    aligned, vector = (vector_width(taps, depth, strides, g.x_size, a, itemsize) for a in (0, g.x_address))
    room, window, spread = room_for(tile_m, tiling.size, itemsize, gpu.shared_limit), (0, 0), 1
    if g.x_channels == 1 and depth and min(*g.taps[1], *g.taps[2]) >= 0:
        whole = conv_tiling.window_size(tiling, g.pool, g.step, g.taps)
        numbers = tiling.groups * whole[0] * whole[1]
        with_window = room_for(tile_m, tiling.size, itemsize, gpu.shared_limit, numbers)
        if with_window and 2 * numbers <= tiling.size * depth / aligned:
            room, window = with_window, whole
            taps, vector = tap_table(*g.taps, (0, window[1], 1), padded), 1
            if tensor_cores:
                spread = _spread(tiling, g.pool, g.step, window, taps, WARPS // warps_m)
    shape = Shape(
        g.samples, g.channels, depth, padded, g.x_strides[0], g.x_strides[2], g.x_strides[3], *g.x_size, *g.step,
        *g.first, *g.map_size, *g.y_strides, *g.pooled,
        *g.pool[0], *g.pool[1], tiling.tile_rows, tiling.tile_columns, tiling.groups, *window,
        *group_counts(tiling, g.pooled, g.samples),
    )  # fmt: skip
    known = g.pool[0] if g.pool[0] in KNOWN_POOLS else (0, 0)
    vector_y = next(v for v in (16 // itemsize, 2, 1) if g.channels % v == 0)
    defines = {
        "REAL": real_name(dtype), "TILE_M": tile_m, "TILE_N": tiling.size, "WARPS_M": warps_m,
        "WARPS_N": WARPS // warps_m, "STAGES": room.stages, "ROUND": room.round,
        "BLOCKS": _blocks(tile_m * tiling.size, itemsize), "VECTOR": vector, "VECTOR_Y": vector_y,
        "PADDED": int(looks_outside(g.taps, g.x_size, g.first, g.step, g.map_size)),
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


def _tilings(
    samples: int, pooled: Pair, pool: tuple[Pair, Pair], tile_m: int, itemsize: int, limit: int
) -> list[Tiling]:
    """The best tiling of each width that there is room for."""
    widths = [width for width in tile_widths(tile_m, itemsize, 80) if width in WIDTHS]
    fitting = [width for width in widths if room_for(tile_m, width, itemsize, limit)]
    return [
        tiling for width in fitting if (tiling := conv_tiling.best_tiling(samples, pooled, pool, [width])) is not None
    ]


def _cost(tiling: Tiling, channels: int, tile_m: int) -> float:
    """The work of a tiling: positions computed and weights read, in rounds of two blocks on each multiprocessor,
    the last of which leaves some idle."""
    rounds = tiling.tiles * -(-channels // tile_m) / (2 * max(conv_tiling.MULTIPROCESSORS, 1))
    return (math.ceil(rounds) if rounds < 8 else rounds) * (tiling.size + tile_m / 2)


class Room(NamedTuple):
    """How a block uses its shared memory."""

    stages: int
    round: int  # channels of a warp that are stored at once
    shared: int  # bytes


def room_for(tile_m: int, tile_n: int, itemsize: int, limit: int, window: int | None = None) -> Room | None:
    """As many stages as fit, from 4 to 2, and all channels of a warp at once if there is room; None where nothing fits.

    With a window of so many numbers, the patches need no slices.
    """
    warps_m = tile_channels(tile_m, itemsize)[1]
    piece = tile_m // warps_m
    for stages in STAGES:
        slices = stages * SLICE * (tile_m + (tile_n if window is None else 0)) + (window or 0)
        for channels in (piece, min(piece, ROUND)):
            result = tile_n * (warps_m * channels + RESULT_PAD)
            shared = 2 * POSITION * tile_n + itemsize * max(slices, result)
            if shared <= limit:
                return Room(stages, channels, shared)
    return None


def _blocks(numbers: int, itemsize: int) -> int:
    """How many blocks of a tile of so many sums may share a multiprocessor: registers for three where sums are few."""
    return 3 if numbers * itemsize // 4 <= 24 * 32 * WARPS else 2


def _spread(tiling: Tiling, pool: tuple[Pair, Pair], step: Pair, window: Pair, taps: np.ndarray, warps_n: int) -> int:
    """How far apart the eight columns of a product lie (SPREAD), so that the lanes of a warp meet in few banks."""
    across, products = spans(tiling, pool)[1], tiling.size // warps_n // 8

    def wavefronts(apart: int) -> int:
        column = apart * np.arange(8)
        places = column // across * step[0] * window[1] + column % across * step[1]
        lanes = places[:, None] + taps.view(TAP)["offset"][None, :4]
        return int(np.bincount(np.unique(lanes) % 32).max())

    return min((apart for apart in (1, 2, 4) if products % apart == 0), key=wavefronts)
