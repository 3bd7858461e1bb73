"""How a convolution's map is cut into tiles: all ways to do it, what each covers, and the one with the least work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from scratchnet.kernels.cuda.conv_shape import Pair

WARPS = 8
MULTIPROCESSORS = 132  # of an H100


class NoTiling(Exception):
    """A pool's window is larger than the largest tile."""


@dataclass(frozen=True)
class Tiling:
    """Groups of tile_rows × tile_columns pooled values, `groups` in a tile of `size` positions; `tiles` in all."""

    size: int
    groups: int
    tile_rows: int
    tile_columns: int
    tiles: int


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
