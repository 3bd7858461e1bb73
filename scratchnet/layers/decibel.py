"""The logarithm of eq. 2."""

from __future__ import annotations

import math

from scratchnet.backend import xp
from scratchnet.layers.layer import SMALLEST, Array, Layer, as_float, check_gradient


class Decibel(Layer):
    """y = multiplier · log₁₀(max(x / ref, amin)), then at most `top_db` under the sample's greatest value.

    x of any shape (N, …). multiplier: 10 for powers (eq. 2), 20 for magnitudes; ref: what is 0 dB. Below amin, and
    under the floor, the gradient is 0 but for the floor itself, which follows the greatest value. Raises ValueError
    unless amin and ref are positive numbers of float32's range (1.2e-38 at least), and top_db, if any, not negative.
    """

    def __init__(
        self, multiplier: float = 10.0, amin: float = 1e-10, top_db: float | None = None, ref: float = 1.0
    ) -> None:
        super().__init__()
        if not (amin >= SMALLEST and ref >= SMALLEST and (top_db is None or top_db >= 0)):
            told = f"amin {amin} and ref {ref} must be positive (at least 1.2e-38), top_db {top_db} not negative"
            raise ValueError(told)
        self.multiplier, self.amin, self.top_db, self.ref = multiplier, amin, top_db, ref

    def forward(self, x: Array, training: bool = False) -> Array:
        np, x = xp(x), as_float(x)
        x = x * x.dtype.type(1 / self.ref)
        y = x.dtype.type(self.multiplier) * np.log10(np.maximum(x, x.dtype.type(self.amin)))
        self._x = x
        if self.top_db is not None:
            rows = y.reshape(len(y), math.prod(y.shape[1:]))
            self._peak = rows.argmax(axis=1)
            floor = rows[np.arange(len(rows)), self._peak] - x.dtype.type(self.top_db)
            self._cut = rows < floor[:, None]
            y = np.maximum(rows, floor[:, None]).reshape(y.shape)
        return y

    def backward(self, dy: Array) -> Array:
        dy = check_gradient(self, dy, self._x.shape)
        np, x = xp(dy), self._x
        if self.top_db is not None:
            rows = dy.reshape(len(dy), math.prod(dy.shape[1:]))
            lifted = (rows * self._cut).sum(axis=1)
            rows = np.where(self._cut, rows.dtype.type(0), rows)
            rows[np.arange(len(rows)), self._peak] += lifted
            dy = rows.reshape(dy.shape)
        slope = dy.dtype.type(self.multiplier / self.ref / math.log(10)) / np.maximum(x, x.dtype.type(self.amin))
        return np.where(x > self.amin, dy * slope, dy.dtype.type(0))

    def extra_repr(self) -> str:
        return f"multiplier={self.multiplier}, amin={self.amin}, top_db={self.top_db}, ref={self.ref}"
