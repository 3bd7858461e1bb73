"""A fixed shift and scale."""

from __future__ import annotations

from scratchnet.layers.layer import SMALLEST, Array, Layer, as_float, check_gradient


class Standardize(Layer):
    """y = (x − mean) / std, of any shape, with two numbers that are not trained.

    Raises `ValueError` unless std is positive, and of float32's range (1.2e-38 at least).
    """

    def __init__(self, mean: float = 0.0, std: float = 1.0) -> None:
        super().__init__()
        if not std >= SMALLEST:
            raise ValueError(f"std must be positive (at least 1.2e-38), not {std}")
        self.mean, self.std = float(mean), float(std)

    def forward(self, x: Array, training: bool = False) -> Array:
        x = as_float(x)
        self._shape = x.shape
        return (x - self.mean) * (1 / self.std)

    def backward(self, dy: Array) -> Array:
        dy = check_gradient(self, dy, self._shape)
        return dy * (1 / self.std)

    def extra_repr(self) -> str:
        return f"{self.mean}, {self.std}"
