"""Helpers of the launchers: memory orders, and the arguments that CuPy does not convert."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from scratchnet.kernels.cuda import device

BLOCK = 256  # threads of an element-wise launch
MOST_BLOCKS = 132 * 16  # several for each multiprocessor of an H100; the kernels' loops take what is left


@lru_cache(maxsize=16)  # NumPy makes a type's name anew each time, and every launch asks
def real_name(dtype: Any) -> str:
    """float or double: the REAL that kernels of this dtype are compiled for. Raises TypeError for another dtype."""
    name = {"float32": "float", "float64": "double"}.get(np.dtype(dtype).name)
    if name is None:
        raise TypeError(f"the CUDA kernels take float32 and float64, not {dtype}")
    return name


def elementwise(file: str, kernel: str, dtype: Any, n: int, *args: Any, **defines: Any) -> None:
    """Launch a grid-stride kernel over n elements, compiled with these macros; nothing for n = 0."""
    if n:
        grid = min(-(-n // BLOCK), MOST_BLOCKS)
        device.current().launch(file, kernel, grid, BLOCK, args, {"REAL": real_name(dtype), **defines})


def steps(a: Any) -> tuple[int, ...]:
    """Strides of all axes in elements."""
    size = a.itemsize
    return tuple([stride // size for stride in a.strides])


class Layout(NamedTuple):
    """How an array lies in memory."""

    order: tuple[int, ...]  # the axes from the slowest to the fastest
    place: tuple[int, ...]  # of each axis in that order
    steps: tuple[int, ...]  # strides in elements of the axes that are longer than 1
    dense: bool  # it fills its memory without gaps, in whatever order of its axes
    channels_last: bool  # without gaps, and (N, C, H, W) in the order N, H, W, C


def layout(a: Any) -> Layout:
    """The array's; worked out once for each shape and strides."""
    return _layout(a.shape, a.strides, a.itemsize)


@lru_cache(maxsize=1024)
def _layout(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> Layout:
    axes = range(len(shape))

    def fills(fastest_first: list[int]) -> bool:
        size = itemsize
        for axis in fastest_first:
            if shape[axis] != 1:
                if strides[axis] != size:
                    return False
                size *= shape[axis]
        return True

    order = sorted(axes, key=lambda i: (-strides[i], i))
    return Layout(
        order=tuple(order),
        place=tuple(sorted(axes, key=order.__getitem__)),
        steps=tuple(step // itemsize for step, length in zip(strides, shape, strict=True) if length > 1),
        dense=fills(sorted(axes, key=strides.__getitem__)),
        channels_last=len(shape) == 4 and fills([1, 3, 2, 0]),
    )


def is_dense(a: Any) -> bool:
    """Whether the array fills its memory without gaps, in whatever order of its axes."""
    return layout(a).dense


def empty_like(a: Any, dtype: Any = None) -> Any:
    """A new array of a's shape and memory order (a must be dense)."""
    shape, order = a.shape, layout(a).order
    new = device.current().empty(tuple([shape[i] for i in order]), a.dtype if dtype is None else dtype)
    return new.transpose(layout(a).place)


def in_one_order(*arrays: Any) -> tuple[Any, ...]:
    """The arrays, all dense and in one memory order, for a kernel to walk side by side. Copies where needed."""
    first, *others = [layout(a) for a in arrays]
    if first.dense and all(other.steps == first.steps for other in others):
        return arrays
    return tuple(device.current().xp.ascontiguousarray(a) for a in arrays)


def empty_channels_last(shape: tuple[int, ...], dtype: Any) -> Any:
    """A new (N, C, H, W) array that lies in memory as (N, H, W, C), as all maps do here."""
    n, channels, rows, columns = shape
    return device.current().empty((n, rows, columns, channels), dtype).transpose(0, 3, 1, 2)


def channels_last(a: Any) -> Any:
    """An (N, C, H, W) array whose memory is a dense (N, H, W, C); a copy where it is not."""
    if layout(a).channels_last:
        return a
    return device.current().xp.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def int64(n: int) -> np.int64:
    """A kernel's index_t."""
    return np.int64(n)
