"""Initial weights."""

from __future__ import annotations

import math

import numpy as np

from scratchnet.backend import FLOATS


def xavier_uniform(
    shape: tuple[int, ...], rng: np.random.Generator | None = None, dtype: str = "float32"
) -> np.ndarray:
    """U(−a, a), a = √(6 / (fan_in + fan_out)) (Glorot & Bengio 2010), for weights (out, in, *kernel).

    A fan counts the kernel's taps: fan_in = in · Πkernel, fan_out = out · Πkernel.
    """
    out_channels, in_channels, *kernel = map(int, shape)  # sums of NumPy's small whole numbers would overflow
    bound = (6 / ((out_channels + in_channels) * math.prod(kernel))) ** 0.5
    return uniform(shape, bound, rng, dtype)


def uniform(
    shape: tuple[int, ...], bound: float, rng: np.random.Generator | None = None, dtype: str = "float32"
) -> np.ndarray:
    """U(−bound, bound). Raises ValueError for a dtype that no layer computes with."""
    return np.random.default_rng(rng).uniform(-bound, bound, shape).astype(checked_dtype(dtype))


def normal(
    shape: tuple[int, ...], std: float, rng: np.random.Generator | None = None, dtype: str = "float32"
) -> np.ndarray:
    """N(0, std²). Raises ValueError for a dtype that no layer computes with."""
    return (np.random.default_rng(rng).standard_normal(shape) * std).astype(checked_dtype(dtype))


def checked_dtype(dtype: str) -> np.dtype:
    """The dtype of this name. Raises ValueError for one that no layer computes with."""
    found = np.dtype(dtype)
    if found not in FLOATS:
        raise ValueError(f"dtype must be float32 or float64, not {dtype}")
    return found


def piczak2015(
    name: str, shape: tuple[int, ...], rng: np.random.Generator | None = None, dtype: str = "float32"
) -> tuple[np.ndarray, np.ndarray]:
    """PiczakNet's own start (Piczak 2015, his code): weight and bias of the layer `name`.

    conv1 U(±0.001) with bias 0.1; conv2 U(±0.1); dense and output N(0, 0.01²). The other biases are zero.
    """
    if name == "conv1":
        weight = uniform(shape, 0.001, rng, dtype)
    elif name.startswith("conv"):
        weight = uniform(shape, 0.1, rng, dtype)
    else:
        weight = normal(shape, 0.01, rng, dtype)
    return weight, np.full(shape[0], 0.1 if name == "conv1" else 0.0, dtype)
