"""From maps to one long vector."""

from __future__ import annotations

from scratchnet.layers.layer import Array, Layer


class Flatten(Layer):
    """x (N, …) → y (N, product of the rest), in C order: channels first, as in PyTorch."""

    def forward(self, x: Array, training: bool = False) -> Array:
        self._shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, dy: Array) -> Array:
        return dy.reshape(self._shape)
