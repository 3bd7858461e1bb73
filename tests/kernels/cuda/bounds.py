"""How far a convolution on the device may be from the definition, element by element."""

import numpy as np

from scratchnet.kernels import reference

TF32 = 2.0**-11  # unit roundoff of TF32's 10 bits of mantissa


def unit(dtype, tensor_cores):
    """Relative error of one product. On tensor cores both factors of float32 are rounded to TF32: (1 + u)² − 1."""
    exact = 2.0**-24 if np.dtype(dtype) == np.float32 else 2.0**-53
    return (2 * TF32 + TF32**2 if tensor_cores and np.dtype(dtype) == np.float32 else 0) + exact


def bound(terms, dtype, tensor_cores, function, *arrays_and_rest):
    """(γ of a sum of `terms` products, + the products' own error) · function of absolute values.

    Both sides sum in their own order, so each may be off by γ = n·u / (1 − n·u) · Σ |products|, twice in all.
    """
    u = 2.0**-24 if np.dtype(dtype) == np.float32 else 2.0**-53
    gamma = (terms + 2) * u / (1 - (terms + 2) * u)
    absolute = [np.abs(a).astype(np.float64) if isinstance(a, np.ndarray) else a for a in arrays_and_rest]
    return (2 * gamma + unit(dtype, tensor_cores)) * function(*absolute)


def forward_bound(x, weight, bias, stride, padding, tensor_cores):
    """Of `reference.conv2d_forward`."""
    return bound(weight[0].size, x.dtype, tensor_cores, reference.conv2d_forward, x, weight, bias, stride, padding)
