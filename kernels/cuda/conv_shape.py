"""What the convolution kernels are told of a geometry: `ConvShape` of conv_shape.cuh, and sizes that stand in it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

Pair = tuple[int, int]
SINGLE = (1, 1), (1, 1)  # the pool of a block without one
NO_PADDING = (0, 0), (0, 0)
POSITION = 16  # bytes of a Position, and of a Value, of conv_shape.cuh


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


def map_size(size: Pair, kernel_size: Pair, stride: Pair, padding: tuple[Pair, Pair]) -> Pair:
    """Rows and columns of a convolution's map, or a pool's."""
    rows, columns = ((size[i] + sum(padding[i]) - kernel_size[i]) // stride[i] + 1 for i in range(2))
    return rows, columns


def check_size(*sizes: int) -> None:
    """Raises ValueError where a map has more positions than the kernels count."""
    if max(sizes) >= 2**30:
        raise ValueError(f"a map of {max(sizes)} positions: the CUDA kernels count rows and columns in 32 bits")


def freeze(value: Any) -> Any:
    """Lists to tuples, so that arguments can be a cache's key; what can be one already stays."""
    try:
        hash(value)
    except TypeError:
        return tuple(freeze(v) for v in value)
    return value
