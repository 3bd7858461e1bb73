"""The rectified linear unit."""

from __future__ import annotations

from scratchnet.backend import kernels_of
from scratchnet.layers.layer import Array, Layer, as_float, check_gradient


class ReLU(Layer):
    """y = max(x, 0), of any shape; the gradient at 0 is 0."""

    def forward(self, x: Array, training: bool = False) -> Array:
        x = as_float(x)
        self._y = kernels_of(x).relu_forward(x)
        return self._y

    def backward(self, dy: Array) -> Array:
        check_gradient(self, dy, self._y.shape)
        return kernels_of(dy).relu_backward(dy, self._y)
