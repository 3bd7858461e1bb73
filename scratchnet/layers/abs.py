"""The absolute value."""

from __future__ import annotations

from scratchnet.backend import kernels_of
from scratchnet.layers.layer import Array, Layer, as_float, check_gradient


class Abs(Layer):
    """y = |x|, of any shape; the gradient at 0 is 0."""

    def forward(self, x: Array, training: bool = False) -> Array:
        self._x = x = as_float(x)
        return kernels_of(x).abs_forward(x)

    def backward(self, dy: Array) -> Array:
        dy = check_gradient(self, dy, self._x.shape)
        return kernels_of(dy).abs_backward(dy, self._x)
