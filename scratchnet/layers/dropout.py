"""Dropout (Srivastava et al. 2014), its masks drawn from a counter."""

from __future__ import annotations

import numpy as np

from scratchnet.backend import kernels_of
from scratchnet.layers.layer import Array, Layer, as_float, check_gradient


class Dropout(Layer):
    """In training, each element is 0 with probability p, else x / (1 − p); otherwise y = x. Any shape.

    The mask is a pure function of (seed, offset, place of the element), Philox4x32-10: it is never stored, and the same
    on every backend. `offset` grows by one with every forward in training. `always` drops outside of training too,
    as the paper's original code does by oversight.
    Raises ValueError where p is not in [0, 1).
    """

    def __init__(self, p: float, rng: np.random.Generator | None = None, always: bool = False) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p must be at least 0 and under 1, not {p}")
        self.p = p
        self.always = always
        self.seed = int(np.random.default_rng(rng).integers(2**63))
        self.offset = -1

    def reseed(self, seed: int, offset: int) -> None:
        """The next forward in training draws its mask from (seed, offset)."""
        self.seed, self.offset = seed, offset - 1

    def next_mask(self, training: bool) -> tuple[float, int, int]:
        """(p, seed, offset) of the mask of the coming forward; p = 0 where nothing is dropped."""
        self._active = (training or self.always) and self.p > 0
        if self._active:
            self.offset += 1
        return (self.p if self._active else 0.0), self.seed, self.offset

    def forward(self, x: Array, training: bool = False) -> Array:
        x = as_float(x)
        self._shape = x.shape
        mask = self.next_mask(training)
        return kernels_of(x).dropout_forward(x, *mask) if self._active else x

    def backward(self, dy: Array) -> Array:
        dy = check_gradient(self, dy, self._shape)
        return kernels_of(dy).dropout_forward(dy, self.p, self.seed, self.offset) if self._active else dy

    def extra_repr(self) -> str:
        return f"{self.p}" + (", always=True" if self.always else "")
