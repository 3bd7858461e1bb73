"""From maps to one long vector."""

from __future__ import annotations

import math

from scratchnet.layers.layer import Array, Layer, check_gradient


class Flatten(Layer):
    """x (N, …) → y (N, product of the rest), in C order: channels first, as in PyTorch."""

    def forward(self, x: Array, training: bool = False) -> Array:
        y = x.reshape(len(x), math.prod(x.shape[1:]))
        self._shape, self._y_shape = x.shape, y.shape
        return y

    def backward(self, dy: Array) -> Array:
        dy = check_gradient(self, dy, self._y_shape)
        return dy.reshape(self._shape)
