"""The logarithm of eq. 2."""

from __future__ import annotations

import math

from scratchnet.backend import xp
from scratchnet.layers.layer import SMALLEST, Array, Layer, as_float, check_gradient


class Decibel(Layer):
    """y = multiplier · log₁₀(max(x / ref, amin)), in dB; none further than `top_db` under the sample's greatest.

    x of any shape (N, …). multiplier: 10 for powers (eq. 2), 20 for magnitudes; ref: what is 0 dB. The gradient
    is 0 where x / ref is below amin; a value lifted to the floor passes its gradient to the greatest value, which sets
    the floor.
    Raises ValueError unless amin and ref are positive numbers of float32's range (1.2e-38 at least), and top_db, if
    any, not negative.
    """

    def __init__(
        self, multiplier: float = 10.0, amin: float = 1e-10, top_db: float | None = None, ref: float = 1.0
    ) -> None:
        super().__init__()
        if not (amin >= SMALLEST and ref >= SMALLEST and (top_db is None or top_db >= 0)):
            told = f"amin {amin} and ref {ref} must be positive (at least 1.2e-38), top_db {top_db} not negative"
            raise ValueError(told)
        self.multiplier, self.amin, self.ref = float(multiplier), float(amin), float(ref)
        self.top_db = None if top_db is None else float(top_db)

    def forward(self, x: Array, training: bool = False) -> Array:
        np, x = xp(x), as_float(x)
        x = x * (1 / self.ref)
        y = self.multiplier * np.log10(np.maximum(x, self.amin))
        self._x = x
        if self.top_db is not None:
            rows = y.reshape(len(y), math.prod(y.shape[1:]))
            self._peak = rows.argmax(axis=1)
            floor = rows[np.arange(len(rows)), self._peak] - self.top_db
            self._cut = rows < floor[:, None]
            y = np.maximum(rows, floor[:, None]).reshape(y.shape)
        return y

    def backward(self, dy: Array) -> Array:
        dy = check_gradient(self, dy, self._x.shape)
        np, x = xp(dy), self._x
        if self.top_db is not None:
            rows = dy.reshape(len(dy), math.prod(dy.shape[1:]))
            lifted = (rows * self._cut).sum(axis=1)
            rows = np.where(self._cut, 0, rows)
            rows[np.arange(len(rows)), self._peak] += lifted
            dy = rows.reshape(dy.shape)
        slope = (self.multiplier / self.ref / math.log(10)) / np.maximum(x, self.amin)
        return np.where(x > self.amin, dy * slope, 0)

    def extra_repr(self) -> str:
        return f"multiplier={self.multiplier}, amin={self.amin}, top_db={self.top_db}, ref={self.ref}"
