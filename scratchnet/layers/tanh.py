"""The hyperbolic tangent: the last activation of MSTNet's front end, eq. 9."""

from __future__ import annotations

from scratchnet.backend import kernels_of
from scratchnet.layers.layer import Array, Layer, as_float, check_gradient


class Tanh(Layer):
    """y = tanh(x), of any shape."""

    def forward(self, x: Array, training: bool = False) -> Array:
        x = as_float(x)
        self._y = kernels_of(x).tanh_forward(x)
        return self._y

    def backward(self, dy: Array) -> Array:
        dy = check_gradient(self, dy, self._y.shape)
        return kernels_of(dy).tanh_backward(dy, self._y)
