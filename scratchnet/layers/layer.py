"""What every layer is: arrays in, arrays out, and the gradients of its parameters."""

from __future__ import annotations

from typing import Any

Array = Any  # numpy.ndarray, or cupy.ndarray on a GPU


class Layer:
    """Base of all layers.

    `y = forward(x)` remembers what `dx = backward(dy)` needs, x and y themselves in some layers: they must stay as they
    are until then, and a layer serves one thread at a time. `params` and `grads` are dictionaries name → array; so is
    `buffers`: what belongs to the layer's state too, but no gradient moves (running statistics).
    `frozen` layers compute no parameter gradients; with `need_dx` False, `backward` computes no input gradient
    and returns None (nothing asks for the gradient of the data).
    """

    def __init__(self) -> None:
        self.params: dict[str, Array] = {}
        self.grads: dict[str, Array] = {}
        self.buffers: dict[str, Array] = {}
        self.frozen = False
        self.need_dx = True

    def forward(self, x: Array, training: bool = False) -> Array:
        """The layer's output for x. `training` matters to layers that behave differently then (dropout)."""
        raise NotImplementedError

    def backward(self, dy: Array) -> Array:
        """The gradient with respect to the last forward's x, given dy, the one with respect to its y.

        Raises ValueError for a dy of another shape than y's.
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def extra_repr(self) -> str:
        """The constructor's arguments, for printing."""
        return ""


def as_float(x: Array) -> Array:
    """Whole numbers, which would cut fractions off, and float16 in float32; else x itself."""
    return x.astype("float32") if x.dtype.kind in "biu" or x.dtype == "float16" else x


def check_shape(layer: Layer, x: Array, ndim: int, channels: int | None = None, shape: str = "") -> None:
    """Raise a ValueError that says which shape `layer` takes, where x does not have it."""
    if x.ndim != ndim or (channels is not None and x.shape[1] != channels):
        raise ValueError(f"{layer!r} takes x of shape {shape}, not {tuple(x.shape)}")


def check_gradient(layer: Layer, dy: Array, shape: tuple[int, ...]) -> Array:
    """dy `as_float`. Raises ValueError where it is not of `shape`, that of `layer`'s y: a kernel would read past it."""
    if dy.shape != shape:
        raise ValueError(f"{layer!r} takes dy of shape {tuple(shape)}, not {tuple(dy.shape)}")
    return as_float(dy)
