"""Convolution over time: eq. 3, 5 (HeuriNet), 7–9 (MSTNet); eq. 1 and 2 where the kernels are Fourier's and Mel's."""

from __future__ import annotations

import numpy as np

from scratchnet.backend import as_type, kernels_of
from scratchnet.initializers import xavier_uniform
from scratchnet.layers.geometry import Padding, check_padding, pad_1d, positive
from scratchnet.layers.layer import Array, Layer, check_gradient, check_params, check_shape


class Conv1D(Layer):
    """y[n, o, t] = bias[o] + Σ_c Σ_k weight[o, c, k] · x[n, c, t·stride + k − left]

    x (N, in_channels, T) → y (N, out_channels, T'), T' = ⌊(T + left + right − kernel_size) / stride⌋ + 1.
    `padding` with zeros: a number, a pair (left, right), "valid" or "same" (T' = ⌈T / stride⌉).
    params: weight (out_channels, in_channels, kernel_size), Xavier uniform, and bias (out_channels,), zero.
    `dtype`: the parameters' type, "float32" or "float64", to which x is brought; `rng`: what draws the weights.
    Raises ValueError for a wrong option, an x of another shape or shorter than the kernel, parameters that do not fit.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: Padding = 0,
        bias: bool = True,
        dtype: str = "float32",
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = positive(in_channels, "in_channels")
        self.out_channels = positive(out_channels, "out_channels")
        self.kernel_size = positive(kernel_size, "kernel_size")
        self.stride = positive(stride, "stride")
        self.padding = check_padding(padding, 1)
        self.params["weight"] = xavier_uniform((self.out_channels, self.in_channels, self.kernel_size), rng, dtype)
        if bias:
            self.params["bias"] = np.zeros(self.out_channels, dtype)

    def check_input(self, x: Array) -> tuple[Array, tuple[int, int]]:
        """x in the weights' type, and its padding in numbers. Raises ValueError where something does not fit."""
        check_shape(self, x, 3, self.in_channels, f"(N, {self.in_channels}, T)")
        padding = pad_1d(self.padding, x.shape[2], self.kernel_size, self.stride)
        if x.shape[2] + sum(padding) < self.kernel_size:
            raise ValueError(f"{self!r} takes at least {self.kernel_size} samples, not {x.shape[2]}")
        check_params(self, weight=(self.out_channels, self.in_channels, self.kernel_size), bias=(self.out_channels,))
        return as_type(x, self.params["weight"].dtype), padding

    def forward(self, x: Array, training: bool = False) -> Array:
        self._x, self._pad = x, padding = self.check_input(x)
        y = kernels_of(x).conv1d_forward(x, self.params["weight"], self.params.get("bias"), self.stride, padding)
        self._y_shape = y.shape
        return y

    def backward(self, dy: Array) -> Array:
        dy = check_gradient(self, dy, self._y_shape)
        x, weight, kernels = self._x, self.params["weight"], kernels_of(dy)
        dy = as_type(dy, weight.dtype)
        if not self.frozen:
            dweight, dbias = kernels.conv1d_backward_weight(x, dy, self.kernel_size, self.stride, self._pad)
            self.grads["weight"] = dweight
            if "bias" in self.params:
                self.grads["bias"] = dbias
        if not self.need_dx:
            return None
        return kernels.conv1d_backward_input(dy, weight, x.shape[2], self.stride, self._pad)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        text += f", padding={self.padding!r}" if self.padding != 0 else ""
        return text + ("" if "bias" in self.params else ", bias=False")
