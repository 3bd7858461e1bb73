"""How a convolution is cut into tiles: macros, tables and sizes of a launch, worked out once for each geometry.

Everything here is a pure function of shapes and strides and is cached, so that a training step pays for none of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

SLICE = 16  # of the depth, in conv_forward.cu
STAGES = 4, 3, 2  # slices on their way in conv_forward.cu: as many as fit
POSITION = 16  # bytes of a Position, and of a Value, of conv_shape.cuh
PAD, RESULT_PAD = 8, 4  # numbers between two rows in shared memory, of a gradient's factors and of a forward result
ROUND = 32  # channels of a warp that conv_forward.cu stores at once, if there is no room for all
# Whose windows are compiled in: PiczakNet's, HeuriNet's, and what is common.
KNOWN_POOLS = (1, 1), (1, 3), (1, 9), (4, 3), (2, 2)
WARPS = 8
TAP = np.dtype([("offset", "i8"), ("row", "i4"), ("column", "i4")])
FORWARD_WIDTHS = 64, 128, 192, 256  # of a tile of conv_forward.cu: few, since each is compiled
MULTIPROCESSORS = 132  # of an H100

Pair = tuple[int, int]
SINGLE = (1, 1), (1, 1)  # the pool of a block without one
NO_PADDING = (0, 0), (0, 0)


class NoTiling(Exception):
    """A pool's window is larger than the largest tile."""


@dataclass(frozen=True)
class Shape:
    """`ConvShape` of conv_shape.cuh, field by field; a kernel does not read all of it."""

    samples: int = 0
    channels: int = 0
    depth: int = 0
    depth_padded: int = 0
    x_n: int = 0
    x_row: int = 0
    x_column: int = 0
    rows: int = 0
    columns: int = 0
    step_row: int = 0
    step_column: int = 0
    first_row: int = 0
    first_column: int = 0
    map_rows: int = 0
    map_columns: int = 0
    y_n: int = 0
    y_row: int = 0
    y_column: int = 0
    pooled_rows: int = 0
    pooled_columns: int = 0
    pool_rows: int = 0
    pool_columns: int = 0
    pool_step_row: int = 0
    pool_step_column: int = 0
    tile_rows: int = 0
    tile_columns: int = 0
    groups: int = 0
    window_rows: int = 0
    window_columns: int = 0
    groups_across: int = 1
    groups_sample: int = 1
    per_sample: int = 0
    turns_down: int = 1
    turns_right: int = 1

    def pack(self) -> np.ndarray:
        """As the kernels read it."""
        numbers = [getattr(self, field.name) % 2**64 for field in fields(self)]
        return np.array(numbers, np.uint64).view(np.int64)


SHAPE = -(-8 * len(fields(Shape)) // 16) * 16  # bytes of a ConvShape in shared memory


@dataclass(frozen=True)
class Tiling:
    """Groups of tile_rows × tile_columns pooled values, `groups` in a tile of `size` positions; `tiles` in all."""

    size: int
    groups: int
    tile_rows: int
    tile_columns: int
    tiles: int


def map_size(size: Pair, kernel_size: Pair, stride: Pair, padding: tuple[Pair, Pair]) -> Pair:
    """Rows and columns of a convolution's map, or a pool's."""
    rows, columns = ((size[i] + sum(padding[i]) - kernel_size[i]) // stride[i] + 1 for i in range(2))
    return rows, columns


@lru_cache(maxsize=512)
def tap_order(sizes: tuple[int, int, int], strides: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(channel, row, column) of each k of the depth, ordered so that neighbours lie close together in x.

    Where channels are contiguous they come a few at a time, all taps of these before the next few: overlapping patches
    then find in the cache what their neighbours have read.
    """
    grid = np.indices(sizes).reshape(3, -1)
    order = sorted(range(3), key=lambda i: -abs(strides[i]))
    keys = [grid[i] for i in reversed(order)]
    few = next((n for n in (16, 12, 8) if sizes[0] % n == 0), None)
    if order[2] == 0 and few is not None:
        keys.append(grid[0] // few)
    rank = np.lexsort(keys)
    return grid[0][rank], grid[1][rank], grid[2][rank]


def tap_table(
    channel: np.ndarray, row: np.ndarray, column: np.ndarray, strides: tuple[int, int, int], padded: int
) -> np.ndarray:
    """`Tap` of each k, padded with zeros to a whole number of slices, as int64 pairs."""
    taps = np.zeros(max(padded, 1), TAP)
    taps["offset"][: len(channel)] = channel * strides[0] + row * strides[1] + column * strides[2]
    taps["row"][: len(row)], taps["column"][: len(column)] = row, column
    return taps.view(np.int64)


def moves(samples: int, strides: tuple[int, ...], step: Pair, first: Pair) -> tuple[int, ...]:
    """All strides by which positions move in an x with these strides (of samples, channels, rows, columns)."""
    to_first = first[0] * strides[2], first[1] * strides[3]
    return strides[0] if samples > 1 else 0, step[0] * strides[2], step[1] * strides[3], *to_first


def vector_width(
    taps: np.ndarray,
    depth: int,
    moves: tuple[int, ...],
    size: Pair,
    address: int,
    itemsize: int,
) -> int:
    """How many numbers of a patch one copy may bring: 4, 2 or 1 (at most 16 bytes).

    They must be contiguous in x; aligned wherever a position begins (`moves`: all strides by which positions move); and
    inside or outside of the image together: a chunk lies in one row (column), or it runs along the image's rows
    (columns) and begins, as they end, at a multiple of the width.
    """
    table = taps.view(TAP)[:depth]
    k = np.arange(depth)
    for width in (4, 2):
        if width * itemsize > 16 or any(move % width for move in moves) or address % (width * itemsize):
            continue
        first = table[k - k % width]
        if (first["offset"] % width).any() or (table["offset"] != first["offset"] + k % width).any():
            continue
        if all(
            (table[axis] == first[axis]).all()
            or (not edge % width and not (first[axis] % width).any() and (table[axis] == first[axis] + k % width).all())
            for axis, edge in zip(("row", "column"), size, strict=True)
        ):
            return width
    return 1


def tile_channels(channels: int, itemsize: int) -> tuple[int, int]:
    """(channels a tile, warps side by side over them): whole multiples of 16, at most 128 (of float64: 64)."""
    most = 512 // itemsize
    tile = min(-(-channels // 16) * 16, most)
    return tile, 2 if tile >= 64 and tile % 32 == 0 else 1


def tile_widths(tile_m: int, itemsize: int, sums: int = 64) -> list[int]:
    """Widths that a tile of tile_m channels may have: the sums of a thread fill at most `sums` registers."""
    most = min(256, sums * 32 * WARPS * 4 // itemsize // tile_m)
    return list(range(32, most + 1, 32))


def best_tiling(samples: int, pooled: Pair, pool: tuple[Pair, Pair], sizes: list[int]) -> Tiling | None:
    """The tiling of one of these sizes with the least work. None if a window fits in no tile."""
    return min((t for size in sizes for t in tilings(samples, pooled, pool, size)), key=cost, default=None)


def tilings(samples: int, pooled: Pair, pool: tuple[Pair, Pair], size: int) -> Iterator[Tiling]:
    """All ways to cut the pooled values of all samples into tiles of `size` positions."""
    (kernel_rows, kernel_columns), (step_rows, step_columns) = pool
    for tile_rows in range(1, pooled[0] + 1):
        span_rows = (tile_rows - 1) * step_rows + kernel_rows
        for tile_columns in range(1, pooled[1] + 1):
            span = span_rows * ((tile_columns - 1) * step_columns + kernel_columns)
            if span > size:
                break
            groups = size // span
            total = samples * -(-pooled[0] // tile_rows) * -(-pooled[1] // tile_columns)
            yield Tiling(size, groups, tile_rows, tile_columns, -(-total // groups))


def cost(tiling: Tiling) -> int:
    """The work of a tiling: positions computed, and some more a tile."""
    return tiling.tiles * (tiling.size + 16)


def forward_cost(tiling: Tiling, channels: int, tile_m: int) -> float:
    """The work of conv_forward.cu: positions computed and weights read, in rounds of two blocks on each multiprocessor,
    the last of which leaves some idle."""
    rounds = tiling.tiles * -(-channels // tile_m) / (2 * max(MULTIPROCESSORS, 1))
    return (math.ceil(rounds) if rounds < 8 else rounds) * (tiling.size + tile_m / 2)


def gradient_warps(tile_m: int, tile_k: int, warps_m: int) -> tuple[int, int]:
    """(warps, blocks that share a multiprocessor) of conv_weight_gradient.cu: eight warps where each has 32 columns of
    the depth, else four, three blocks of which find registers where their sums are few."""
    if tile_k * warps_m % 256 == 0:
        return 8, 2
    return 4, 3 if tile_m * tile_k <= 100 * 32 * 4 else 2


def batch(warps: int, tile_p: int, stages: int) -> int:
    """For how many tiles conv_weight_gradient.cu makes tables at once: so many as keep half of its threads busy."""
    return max(16 * warps // tile_p, stages)


def splits(blocks: int, tiles: int, together: int) -> int:
    """Into how many shares conv_weight_gradient.cu cuts its tiles, if each takes so many blocks and `together` blocks
    share a multiprocessor."""
    return max(1, min(MULTIPROCESSORS * together // blocks, tiles))


class Room(NamedTuple):
    """What conv_forward.cu makes of shared memory."""

    stages: int
    round: int  # channels of a warp that are stored at once
    shared: int  # bytes


def forward_room(tile_m: int, tile_n: int, itemsize: int, limit: int, window: int | None = None) -> Room | None:
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


def forward_tilings(
    n: int, pooled: Pair, pool: tuple[Pair, Pair], tile_m: int, itemsize: int, limit: int
) -> list[Tiling]:
    """The best tiling of each width that conv_forward.cu has room for."""
    widths = [width for width in tile_widths(tile_m, itemsize, 80) if width in FORWARD_WIDTHS]
    fitting = [width for width in widths if forward_room(tile_m, width, itemsize, limit)]
    return [tiling for width in fitting if (tiling := best_tiling(n, pooled, pool, [width])) is not None]


def blocks(numbers: int, itemsize: int) -> int:
    """How many blocks of a tile of so many sums may share a multiprocessor: registers for three where sums are few."""
    return 3 if numbers * itemsize // 4 <= 24 * 32 * WARPS else 2


def group_counts(tiling: Tiling, pooled: Pair, samples: int) -> tuple[int, int, int]:
    """`groups_across`, `groups_sample` and `per_sample` of ConvShape.

    Raises ValueError where the product that stands for a division would not be exact.
    """
    across = -(-pooled[1] // tiling.tile_columns)
    count = across * -(-pooled[0] // tiling.tile_rows)
    tiles = tiling.tiles + 100  # tables run a little ahead
    if tiles >= 2**31 or tiles * tiling.groups * count >= 2**64:
        raise ValueError(f"{samples} maps of {pooled[0]} × {pooled[1]}: more than the CUDA kernels count")
    return across, count, 2**64 // count + 1 if count > 1 else 0


def spans(tiling: Tiling, pool: tuple[Pair, Pair]) -> Pair:
    """Rows and columns of the map that a group covers."""
    (kernel_rows, kernel_columns), (step_rows, step_columns) = pool
    return (tiling.tile_rows - 1) * step_rows + kernel_rows, (tiling.tile_columns - 1) * step_columns + kernel_columns


def window_size(tiling: Tiling, pool: tuple[Pair, Pair], step: Pair, tap: tuple[np.ndarray, ...]) -> Pair:
    """Rows and columns of the input that a group looks at."""
    rows, columns = ((span - 1) * step[i] + int(tap[1 + i].max()) + 1 for i, span in enumerate(spans(tiling, pool)))
    return rows, columns


def spread(tiling: Tiling, pool: tuple[Pair, Pair], step: Pair, window: Pair, taps: np.ndarray, warps_n: int) -> int:
    """How far apart the eight columns of a product lie (SPREAD), so that the lanes of a warp meet in few banks."""
    across, products = spans(tiling, pool)[1], tiling.size // warps_n // 8

    def wavefronts(apart: int) -> int:
        column = apart * np.arange(8)
        places = column // across * step[0] * window[1] + column % across * step[1]
        lanes = places[:, None] + taps.view(TAP)["offset"][None, :4]
        return int(np.bincount(np.unique(lanes) % 32).max())

    return min((apart for apart in (1, 2, 4) if products % apart == 0), key=wavefronts)


def looks_outside(tap: tuple[np.ndarray, ...], size: Pair, first: Pair, step: Pair, map_size: Pair) -> bool:
    """Whether some position has a tap beside the image."""
    return len(tap[0]) > 0 and any(
        first[i] + int(tap[1 + i].min()) < 0
        or first[i] + (map_size[i] - 1) * step[i] + int(tap[1 + i].max()) >= size[i]
        for i in range(2)
    )


def gradient_shared(
    tile_m: int,
    tile_k: int,
    tile_p: int,
    warps: int,
    pooled: int,
    itemsize: int,
    stages: int,
    window: int | None = None,
) -> int:
    """Bytes of shared memory of conv_weight_gradient.cu; with a window of so many numbers, it has no patches.

    `pooled` is how many pooled values a tile has, 0 where dy is the map's gradient.
    """
    patches = tile_p * (tile_k + PAD) if window is None else -(-window // 4) * 4
    dmap = (1 if pooled else stages) * tile_p * (tile_m + PAD)
    tables = SHAPE + 2 * batch(warps, tile_p, stages) * tile_p * 2 * POSITION
    return tables + itemsize * (stages * patches + dmap) + pooled * tile_m * (itemsize + 4)


def freeze(value: Any) -> Any:
    """Lists to tuples, so that arguments can be a cache's key; what can be one already stays."""
    try:
        hash(value)
    except TypeError:
        return tuple(freeze(v) for v in value)
    return value


def check_size(*sizes: int) -> None:
    """Raises ValueError where a map has more positions than the kernels count."""
    if max(sizes) >= 2**30:
        raise ValueError(f"a map of {max(sizes)} positions: the CUDA kernels count rows and columns in 32 bits")
