"""The rectified linear unit."""

from __future__ import annotations

from scratchnet.backend import kernels_of
from scratchnet.layers.layer import Array, Layer, as_float, check_gradient


class ReLU(Layer):
    """y = max(x, 0), of any shape; the gradient is 0 at 0, and passes where x is NaN, as in PyTorch."""

    def forward(self, x: Array, training: bool = False) -> Array:
        x = as_float(x)
        self._y = kernels_of(x).relu_forward(x)
        return self._y

    def backward(self, dy: Array) -> Array:
        dy = check_gradient(self, dy, self._y.shape)
        return kernels_of(dy).relu_backward(dy, self._y)
