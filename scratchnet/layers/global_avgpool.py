"""Global average pooling (Lin et al. 2014): what a map is on the whole, wherever in it things happen."""

from __future__ import annotations

from scratchnet.backend import kernels_of
from scratchnet.layers.layer import Array, Layer, as_float, check_gradient, check_shape


class GlobalAveragePool2D(Layer):
    """y[n, c] = mean over H and W of x[n, c].   x (N, C, H, W) → y (N, C)

    Raises `ValueError` for an x of other than four axes.
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        check_shape(self, x, 4, shape="(N, C, H, W)")
        x = as_float(x)
        self._shape = x.shape
        return kernels_of(x).global_avgpool2d_forward(x)

    def backward(self, dy: Array) -> Array:
        dy = check_gradient(self, dy, self._shape[:2])
        return kernels_of(dy).global_avgpool2d_backward(dy, self._shape[2:])
