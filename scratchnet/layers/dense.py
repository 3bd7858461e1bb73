"""The fully connected layer."""

from __future__ import annotations

import numpy as np

from scratchnet.backend import as_type, kernels_of
from scratchnet.initializers import xavier_uniform
from scratchnet.layers.geometry import positive
from scratchnet.layers.layer import Array, Layer, check_gradient, check_params, check_shape


class Dense(Layer):
    """y = x · weightᵀ + bias.   x (N, in_features) → y (N, out_features)

    params: weight (out_features, in_features), Xavier uniform, and bias (out_features,), zero.
    `dtype`, `rng`: as in `Conv1D`.
    Raises ValueError for a wrong option, or an x or parameters of another shape.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        dtype: str = "float32",
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_features = positive(in_features, "in_features")
        self.out_features = positive(out_features, "out_features")
        self.params["weight"] = xavier_uniform((self.out_features, self.in_features), rng, dtype)
        if bias:
            self.params["bias"] = np.zeros(self.out_features, dtype)

    def check_input(self, x: Array) -> Array:
        """x in the weights' type. Raises ValueError for an x, or parameters, that do not fit."""
        check_shape(self, x, 2, self.in_features, f"(N, {self.in_features})")
        check_params(self, weight=(self.out_features, self.in_features), bias=(self.out_features,))
        return as_type(x, self.params["weight"].dtype)

    def forward(self, x: Array, training: bool = False) -> Array:
        self._x = self.check_input(x)
        return kernels_of(x).dense_forward(self._x, self.params["weight"], self.params.get("bias"))

    def backward(self, dy: Array) -> Array:
        dy = check_gradient(self, dy, (len(self._x), self.out_features))
        weight, kernels = self.params["weight"], kernels_of(dy)
        dy = as_type(dy, weight.dtype)
        if not self.frozen:
            self.grads["weight"], dbias = kernels.dense_backward_weight(self._x, dy)
            if "bias" in self.params:
                self.grads["bias"] = dbias
        return kernels.dense_backward_input(dy, weight) if self.need_dx else None

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}" + ("" if "bias" in self.params else ", bias=False")
