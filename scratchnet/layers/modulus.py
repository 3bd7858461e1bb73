"""|·| and |·|² of complex numbers: the non-linearity of eq. 1."""

from __future__ import annotations

from scratchnet.backend import xp
from scratchnet.layers.layer import Array, Layer, as_float, check_gradient, check_shape


class Modulus(Layer):
    """y = re² + im² with power 2 (eq. 1), √(re² + im²) with power 1 (the paper's footnote 9); its gradient at 0 is 0.

    x (N, 2F, T), the first F channels real parts, the last F imaginary ones → y (N, F, T).
    Raises ValueError for another power, an x of another shape, or an odd number of channels.
    """

    def __init__(self, power: int = 2) -> None:
        super().__init__()
        if power not in (1, 2):
            raise ValueError(f"power must be 1 or 2, not {power!r}")
        self.power = power

    def forward(self, x: Array, training: bool = False) -> Array:
        check_shape(self, x, 3, shape="(N, 2F, T)")
        if x.shape[1] % 2:
            raise ValueError(f"{self!r} takes real and imaginary parts: an even number of channels, not {x.shape[1]}")
        x, half = as_float(x), x.shape[1] // 2
        y = x[:, :half] ** 2 + x[:, half:] ** 2
        self._x, self._y = x, y if self.power == 2 else y**0.5
        return self._y

    def backward(self, dy: Array) -> Array:
        dy = check_gradient(self, dy, self._y.shape)
        np = xp(dy)
        if self.power == 2:
            scale = 2 * dy
        else:
            scale = dy / np.where(self._y > 0, self._y, 1)  # where y is 0, x is too, or too small for its square
        return np.concatenate([scale, scale], axis=1) * self._x

    def extra_repr(self) -> str:
        return f"power={self.power}"
