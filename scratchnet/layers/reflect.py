"""Padding by reflection: how a centred STFT treats the two ends of a segment."""

from __future__ import annotations

from scratchnet.backend import xp
from scratchnet.layers.geometry import pair
from scratchnet.layers.layer import Array, Layer, check_gradient, check_shape


class ReflectPad1D(Layer):
    """x (N, C, T) → y (N, C, left + T + right): the samples next to an end, mirrored at it (the end itself once).

    `left`, `right`: in samples.

    Raises ValueError for a padding that is no whole number of at least 0, and for an x of another shape or no longer
    than the padding.
    """

    def __init__(self, left: int, right: int = 0) -> None:
        super().__init__()
        self.left, self.right = pair((left, right), "padding", least=0)

    def forward(self, x: Array, training: bool = False) -> Array:
        check_shape(self, x, 3, shape="(N, C, T)")
        if x.shape[2] <= max(self.left, self.right):
            raise ValueError(f"{self!r} takes more than {max(self.left, self.right)} samples, not {x.shape[2]}")
        self._shape = x.shape
        return xp(x).pad(x, ((0, 0), (0, 0), (self.left, self.right)), mode="reflect")

    def backward(self, dy: Array) -> Array:
        left, right, (*others, length) = self.left, self.right, self._shape
        dy = check_gradient(self, dy, (*others, left + length + right))
        dx = dy[:, :, left : left + length].copy()
        if left:
            dx[:, :, 1 : left + 1] += dy[:, :, :left][:, :, ::-1]
        if right:
            dx[:, :, length - 1 - right : length - 1] += dy[:, :, left + length :][:, :, ::-1]
        return dx

    def extra_repr(self) -> str:
        return f"{self.left}, {self.right}"
