"""From a map over time to an image of one channel."""

from __future__ import annotations

from scratchnet.layers.layer import Array, Layer, check_gradient, check_shape


class Image(Layer):
    """x (N, H, W) → y (N, 1, H, W): what a front end gives, seen as PiczakNet sees a spectrogram.

    Raises `ValueError` for an x of other than three axes.
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        check_shape(self, x, 3, shape="(N, H, W)")
        y = x[:, None]
        self._y_shape = y.shape
        return y

    def backward(self, dy: Array) -> Array:
        dy = check_gradient(self, dy, self._y_shape)
        return dy[:, 0]
