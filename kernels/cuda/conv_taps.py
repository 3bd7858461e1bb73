"""Where a convolution's weights look in x: a table of taps, their order, and how many of them one copy may bring."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from scratchnet.kernels.cuda.conv_shape import Pair

TAP = np.dtype([("offset", "i8"), ("row", "i4"), ("column", "i4")])


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


def looks_outside(tap: tuple[np.ndarray, ...], size: Pair, first: Pair, step: Pair, map_size: Pair) -> bool:
    """Whether some position has a tap beside the image."""
    return len(tap[0]) > 0 and any(
        first[i] + int(tap[1 + i].min()) < 0
        or first[i] + (map_size[i] - 1) * step[i] + int(tap[1 + i].max()) >= size[i]
        for i in range(2)
    )
