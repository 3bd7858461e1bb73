"""Batch normalisation (Ioffe & Szegedy 2015): every channel to mean 0 and variance 1, then a learned scale and bias."""

from __future__ import annotations

import numpy as np

from scratchnet.backend import as_type, kernels_of
from scratchnet.initializers import checked_dtype
from scratchnet.layers.geometry import positive
from scratchnet.layers.layer import Array, Layer, check_gradient, check_params


class BatchNorm1D(Layer):
    """y = weight[c] · (x − mean[c]) / √(var[c] + eps) + bias[c].   x (N, C) or (N, C, T) → y, the same shape

    In training, mean and var are the mini-batch's (var divides by the count), and the running ones move towards them:
    running ← (1 − momentum) · running + momentum · batch's, where the variance divides by the count less one, as in
    PyTorch. Otherwise they are the running ones. A **frozen** layer takes the running ones in training too, and leaves
    them as they are: what is frozen computes one fixed function, whatever the rest of the network learns.
    params: weight (C,), ones, and bias (C,), zeros; buffers: running_mean (C,), zeros, and running_var (C,), ones.
    Raises ValueError for a wrong option, an x of another shape, or a training batch with fewer than two values a
    channel.
    """

    dimensions: tuple[int, ...] = (2, 3)
    shape = "(N, {0}) or (N, {0}, T)"

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, dtype: str = "float32") -> None:
        super().__init__()
        self.num_features = positive(num_features, "num_features")
        if not eps > 0 or not 0 <= momentum <= 1:
            raise ValueError(f"eps must be above 0 and momentum from 0 to 1, not {eps} and {momentum}")
        self.eps, self.momentum = eps, momentum
        shape, real = self.num_features, checked_dtype(dtype)
        self.params = {"weight": np.ones(shape, real), "bias": np.zeros(shape, real)}
        self.buffers = {"running_mean": np.zeros(shape, real), "running_var": np.ones(shape, real)}

    def check_input(self, x: Array) -> Array:
        """x in the weights' type. Raises ValueError for an x that does not fit."""
        if x.ndim not in self.dimensions or x.shape[1] != self.num_features:
            shape = self.shape.format(self.num_features)
            raise ValueError(f"{self!r} takes x of shape {shape}, not {tuple(x.shape)}")
        self.check_params()
        return as_type(x, self.params["weight"].dtype)

    def check_params(self) -> None:
        """Raise a ValueError where someone put in a weight or bias of another shape."""
        check_params(self, weight=(self.num_features,), bias=(self.num_features,))

    def from_batch(self, x: Array) -> tuple[Array, Array]:
        """Mean and variance of a batch that `check_input` let pass; the running ones follow them."""
        count = x.size // self.num_features
        if count < 2:
            raise ValueError(f"{self!r} cannot train on fewer than two values per channel: {tuple(x.shape)}")
        mean, var = kernels_of(x).batchnorm_statistics(x)
        self._follow("running_mean", mean)
        self._follow("running_var", var * var.dtype.type(count / (count - 1)))
        return mean, var

    def running(self) -> tuple[Array, Array]:
        """The running mean and variance, in the weights' type."""
        dtype = self.params["weight"].dtype
        shape = (self.num_features,)
        for name, array in self.buffers.items():
            if array.shape != shape:
                raise ValueError(f"{self!r} takes a {name} of shape {shape}, and has one of {array.shape}")
        return self.buffers["running_mean"].astype(dtype), self.buffers["running_var"].astype(dtype)

    def forward(self, x: Array, training: bool = False) -> Array:
        x = self.check_input(x)
        self._from_batch = training and not self.frozen
        mean, var = self.from_batch(x) if self._from_batch else self.running()
        self._saved = x, mean, var
        params = self.params["weight"], self.params["bias"]
        return kernels_of(x).batchnorm_forward(x, *params, mean, var, self.eps)

    def backward(self, dy: Array) -> Array:
        x, mean, var = self._saved
        dy = check_gradient(self, dy, x.shape)
        weight = self.params["weight"]
        dx, dweight, dbias = kernels_of(dy).batchnorm_backward(
            as_type(dy, weight.dtype), x, weight, mean, var, self.eps,
            self._from_batch, self.need_dx, not self.frozen,
        )  # fmt: skip
        if not self.frozen:
            self.grads["weight"], self.grads["bias"] = dweight, dbias
        return dx

    def _follow(self, name: str, value: Array) -> None:
        """One step of a running statistic, in place."""
        running = self.buffers[name]
        running += running.dtype.type(self.momentum) * (as_type(value, running.dtype) - running)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


class BatchNorm2D(BatchNorm1D):
    """`BatchNorm1D` over images.   x (N, C, H, W) → y, the same shape"""

    dimensions = (4,)
    shape = "(N, {0}, H, W)"
