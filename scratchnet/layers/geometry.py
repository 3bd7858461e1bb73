"""Strides and paddings: what a user may write, turned into numbers."""

from __future__ import annotations

from numbers import Integral  # NumPy's whole numbers are of this kind, too

Pair = tuple[int, int]
Padding = int | str | Pair | tuple[Pair, Pair]


def pair(value: int | Pair, name: str, least: int = 1) -> Pair:
    """A number stands for both of a pair. Raises ValueError for anything but whole numbers of at least `least`."""
    both = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(both) != 2 or not all(isinstance(number, Integral) for number in both) or min(both) < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, or a pair of them, not {value!r}")
    return int(both[0]), int(both[1])


def positive(value: int, name: str) -> int:
    """`value`, if it is a whole number of at least 1; else raises ValueError."""
    if not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")
    return int(value)


def pad_same(length: int, kernel_size: int, stride: int) -> Pair:
    """TensorFlow's "same": the output has ceil(length / stride) positions; an odd zero goes to the right."""
    total = max((-(-length // stride) - 1) * stride + kernel_size - length, 0)
    return total // 2, total - total // 2


def pad_1d(padding: Padding, length: int, kernel_size: int, stride: int) -> Pair:
    """(left, right): from a number (both sides), a pair (left, right), "valid" or "same"; else raises ValueError."""
    if padding == "same":
        return pad_same(length, kernel_size, stride)
    return pair(0 if padding == "valid" else padding, "padding", least=0)  # type: ignore[arg-type]


def pad_2d(padding: Padding, size: Pair, kernel_size: Pair, stride: Pair) -> tuple[Pair, Pair]:
    """((top, bottom), (left, right)): from a number, a pair (height, width), two pairs, "valid" or "same".

    Raises ValueError for anything else.
    """
    if padding == "same":
        return pad_same(size[0], kernel_size[0], stride[0]), pad_same(size[1], kernel_size[1], stride[1])
    if padding == "valid":
        padding = 0
    both = (padding, padding) if isinstance(padding, Integral) else padding
    if not isinstance(both, tuple | list) or len(both) != 2:
        raise ValueError(f'padding must be a number, a pair, "valid" or "same", not {padding!r}')
    return pair(both[0], "padding", least=0), pair(both[1], "padding", least=0)  # type: ignore[arg-type]


def check_padding(padding: Padding, dimensions: int) -> Padding:
    """`padding` as it is kept: a word, a number, or what stands on each side.

    Raises ValueError where no input of 1 or 2 dimensions could make sense of it.
    """
    if isinstance(padding, str) and padding not in ("valid", "same"):
        raise ValueError(f'padding must be a number, a pair, "valid" or "same", not {padding!r}')
    both = pad_1d(padding, 1, 1, 1) if dimensions == 1 else pad_2d(padding, (1, 1), (1, 1), (1, 1))
    if isinstance(padding, str):
        return padding
    return int(padding) if isinstance(padding, Integral) else both


def check_pool_padding(padding: tuple[Pair, ...], kernel_size: tuple[int, ...]) -> None:
    """Raise ValueError where a pool's window could lie wholly in the padding (PyTorch's rule)."""
    for sides, kernel in zip(padding, kernel_size, strict=True):
        if max(sides) > kernel // 2:
            raise ValueError(f"a max-pool's padding must be at most half its kernel size: {max(sides)} > {kernel} / 2")
