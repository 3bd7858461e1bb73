"""Helpers of the launchers: memory orders, and the arguments that CuPy does not convert."""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchnet.kernels.cuda import device

BLOCK = 256  # threads of an element-wise launch
MOST_BLOCKS = 132 * 16  # several for each multiprocessor of an H100; the kernels' loops take what is left


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


def elements(a: Any, axis: int) -> int:
    """Stride of an axis in elements."""
    return a.strides[axis] // a.itemsize


def order_of(a: Any) -> tuple[int, ...]:
    """The axes from the slowest to the fastest in memory."""
    return tuple(sorted(range(a.ndim), key=lambda i: (-a.strides[i], i)))


def is_dense(a: Any) -> bool:
    """Whether the array fills its memory without gaps, in whatever order of its axes."""
    size = a.itemsize
    for axis in sorted(range(a.ndim), key=lambda i: a.strides[i]):
        if a.shape[axis] != 1:
            if a.strides[axis] != size:
                return False
            size *= a.shape[axis]
    return True


def empty_like(a: Any, dtype: Any = None) -> Any:
    """A new array of a's shape and memory order (a must be dense)."""
    order = order_of(a)
    new = device.current().empty(tuple(a.shape[i] for i in order), a.dtype if dtype is None else dtype)
    return new.transpose(tuple(sorted(range(a.ndim), key=order.__getitem__)))


def in_one_order(*arrays: Any) -> tuple[Any, ...]:
    """The arrays, all dense and in one memory order, for a kernel to walk side by side. Copies where needed."""
    steps = {tuple(s // a.itemsize for s, n in zip(a.strides, a.shape, strict=True) if n > 1) for a in arrays}
    if len(steps) == 1 and is_dense(arrays[0]):
        return arrays
    return tuple(device.current().xp.ascontiguousarray(a) for a in arrays)


def empty_channels_last(shape: tuple[int, ...], dtype: Any) -> Any:
    """A new (N, C, H, W) array that lies in memory as (N, H, W, C), as all maps do here."""
    n, channels, rows, columns = shape
    return device.current().empty((n, rows, columns, channels), dtype).transpose(0, 3, 1, 2)


def channels_last(a: Any) -> Any:
    """An (N, C, H, W) array whose memory is a dense (N, H, W, C); a copy where it is not."""
    return device.current().xp.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def int64(n: int) -> np.int64:
    """A kernel's index_t."""
    return np.int64(n)
