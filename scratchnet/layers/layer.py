"""What every layer is: arrays in, arrays out, and the gradients of its parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scratchnet.backend import FLOATS

Array = Any  # numpy.ndarray, or cupy.ndarray on a GPU
SMALLEST = 2.0**-126  # of float32's normal numbers: what is less may be 0 there, and its inverse infinite


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
        self.ran_in: Any = None  # the mark of the network's step that had its last forward

    def forward(self, x: Array, training: bool = False) -> Array:
        """The layer's output for x. `training` matters to layers that behave differently then (dropout)."""
        raise NotImplementedError

    def backward(self, dy: Array) -> Array:
        """The gradient with respect to the last forward's x, given dy, the one with respect to its y.

        Raises ValueError for a dy of another shape than y's.
        """
        raise NotImplementedError

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_") and not name.startswith("__"):
                raise AttributeError(f"{type(self).__name__} has no {name!r}: forward comes before backward")
            return object.__getattribute__(self, name)  # raises what a property raised

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def extra_repr(self) -> str:
        """The constructor's arguments, for printing."""
        return ""


def as_float(x: Array) -> Array:
    """x itself if it is float32 or float64; whole numbers, which would cut fractions off, and float16 in float32.

    Raises ValueError for complex numbers, and for what is no number.
    """
    if x.dtype in FLOATS:
        return x
    if x.dtype.kind not in "biuf":
        raise ValueError(f"takes real numbers, not {x.dtype}")
    native = x.dtype.newbyteorder("=")
    if x.dtype.kind in "biu" or native == "float16":
        return x.astype("float32")
    return x.astype(native if native in FLOATS else "float64")


def check_shape(layer: Layer, x: Array, ndim: int, channels: int | None = None, shape: str = "") -> None:
    """Raise a ValueError that says which shape `layer` takes, where x does not have it."""
    if x.ndim != ndim or (channels is not None and x.shape[1] != channels):
        raise ValueError(f"{layer!r} takes x of shape {shape}, not {tuple(x.shape)}")


def check_params(layer: Layer, **shapes: tuple[int, ...]) -> None:
    """Raise a ValueError where someone put in a parameter that `layer` does not take: a kernel would read past it."""
    for name, shape in shapes.items():
        array: Any = layer.params.get(name)
        if array is None and name == "bias":
            continue
        if getattr(array, "shape", None) != shape:
            found = f"one of {array.shape}" if hasattr(array, "shape") else "none" if array is None else "no array"
            raise ValueError(f"{layer!r} takes a {name} of shape {shape}, and has {found}")
        if array.dtype not in FLOATS or array.dtype != layer.params["weight"].dtype:
            raise ValueError(
                f"{layer!r} takes a weight, and a bias, of float32 or of float64, not a {name} of {array.dtype}"
            )


def check_gradient(layer: Layer, dy: Array, shape: tuple[int, ...]) -> Array:
    """dy `as_float`. Raises ValueError where it is not of `shape`, that of `layer`'s y: a kernel would read past it."""
    if dy.shape != shape:
        raise ValueError(f"{layer!r} takes dy of shape {tuple(shape)}, not {tuple(dy.shape)}")
    return as_float(dy)
