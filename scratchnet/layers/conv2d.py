"""Convolution over an image: PiczakNet's layers, and eq. 2 where the kernels are 1×F triangles."""

from __future__ import annotations

import numpy as np

from scratchnet.backend import as_type, kernels_of
from scratchnet.initializers import xavier_uniform
from scratchnet.layers.geometry import Padding, Pair, check_padding, pad_2d, pair, positive
from scratchnet.layers.layer import Array, Layer, check_gradient, check_params, check_shape


class Conv2D(Layer):
    """y[n, o, i, j] = bias[o] + Σ_c Σ_a Σ_b weight[o, c, a, b] · x[n, c, i·sh + a − top, j·sw + b − left]

    x (N, in_channels, H, W) → y (N, out_channels, H', W'), H' = ⌊(H + top + bottom − kh) / sh⌋ + 1, W' likewise.
    `kernel_size`, `stride`: a number or a pair (height, width). `padding` with zeros: a number, a pair
    (height, width), two pairs ((top, bottom), (left, right)), "valid" or "same" (H' = ⌈H / sh⌉).
    params: weight (out_channels, in_channels, kh, kw), Xavier uniform, and bias (out_channels,), zero.
    `dtype`, `rng`: as in `Conv1D`.
    Raises ValueError for a wrong option, an x of another shape or smaller than the kernel, parameters that do not fit.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: Padding = 0,
        bias: bool = True,
        dtype: str = "float32",
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = positive(in_channels, "in_channels")
        self.out_channels = positive(out_channels, "out_channels")
        self.kernel_size = pair(kernel_size, "kernel_size")
        self.stride = pair(stride, "stride")
        self.padding = check_padding(padding, 2)
        self.params["weight"] = xavier_uniform((self.out_channels, self.in_channels, *self.kernel_size), rng, dtype)
        if bias:
            self.params["bias"] = np.zeros(self.out_channels, dtype)

    def check_input(self, x: Array) -> tuple[Array, tuple[tuple[int, int], tuple[int, int]]]:
        """x in the weights' type, and its padding in numbers. Raises ValueError where something does not fit."""
        check_shape(self, x, 4, self.in_channels, f"(N, {self.in_channels}, H, W)")
        padding = pad_2d(self.padding, x.shape[2:], self.kernel_size, self.stride)
        if any(x.shape[2 + i] + sum(padding[i]) < self.kernel_size[i] for i in range(2)):
            raise ValueError(f"{self!r} takes images of at least {self.kernel_size}, not {tuple(x.shape[2:])}")
        check_params(self, weight=(self.out_channels, self.in_channels, *self.kernel_size), bias=(self.out_channels,))
        return as_type(x, self.params["weight"].dtype), padding

    def forward(self, x: Array, training: bool = False) -> Array:
        self._x, self._pad = x, padding = self.check_input(x)
        y = kernels_of(x).conv2d_forward(x, self.params["weight"], self.params.get("bias"), self.stride, padding)
        self._y_shape = y.shape
        return y

    def backward(self, dy: Array) -> Array:
        dy = check_gradient(self, dy, self._y_shape)
        x, weight, kernels = self._x, self.params["weight"], kernels_of(dy)
        dy = as_type(dy, weight.dtype)
        if not self.frozen:
            dweight, dbias = kernels.conv2d_backward_weight(x, dy, self.kernel_size, self.stride, self._pad)
            self.grads["weight"] = dweight
            if "bias" in self.params:
                self.grads["bias"] = dbias
        if not self.need_dx:
            return None
        return kernels.conv2d_backward_input(dy, weight, x.shape[2:], self.stride, self._pad)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        text += f", padding={self.padding!r}" if self.padding != 0 else ""
        return text + ("" if "bias" in self.params else ", bias=False")
