"""Batch normalisation and global average pooling: a thread takes whole channels, so that no sum depends on how many
threads there are. Sums run in float64.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from scratchnet.kernels.cpu import parallel

GROUP = 4  # channels per piece of work


def batchnorm_statistics(x):
    """See `reference.batchnorm_statistics`."""
    x = _maps(x)
    mean, var = np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    _by_channels(x.shape[1], lambda begin, end: _moments(x, begin, end, mean, var))
    return mean, var


def batchnorm_forward(x, weight, bias, mean, var, eps):
    """See `reference.batchnorm_forward`."""
    maps, y = _maps(x), parallel.empty(x.shape, x.dtype)
    out, eps = y.reshape(maps.shape), x.dtype.type(eps)
    _by_channels(x.shape[1], lambda begin, end: _normalise(maps, weight, bias, mean, var, eps, begin, end, out))
    return y


def batchnorm_backward(dy, x, weight, mean, var, eps, from_batch, need_dx, need_dweight):
    """See `reference.batchnorm_backward`."""
    channels, dtype = x.shape[1], x.dtype
    dy_maps, x_maps, eps = _maps(dy), _maps(x), dtype.type(eps)
    dweight, dbias = np.zeros(channels, dtype), np.zeros(channels, dtype)
    sums = np.zeros((2, channels))
    if need_dweight or from_batch:
        _by_channels(channels, lambda begin, end: _sums(dy_maps, x_maps, mean, var, eps, begin, end, sums))
        dbias[...], dweight[...] = sums
    dx = None
    if need_dx:
        dx = parallel.empty(x.shape, dtype)
        if not from_batch:
            sums[...] = 0
        out = dx.reshape(x_maps.shape)
        _by_channels(
            channels, lambda begin, end: _input(dy_maps, x_maps, weight, mean, var, eps, sums, begin, end, out)
        )
    return (dx, dweight, dbias) if need_dweight else (dx, None, None)


def global_avgpool2d_forward(x):
    """See `reference.global_avgpool2d_forward`."""
    maps, y = _maps(x), np.empty(x.shape[:2], x.dtype)
    _by_channels(x.shape[1], lambda begin, end: _average(maps, begin, end, y))
    return y


def _maps(x):
    """x (N, C, …) as (N, C, positions), contiguous."""
    return np.ascontiguousarray(x).reshape(*x.shape[:2], -1)


def _by_channels(channels, piece):
    """piece(begin, end) for every few channels, on all threads."""
    count = -(-channels // GROUP)
    parallel.run(lambda i: piece(i * GROUP, min(channels, (i + 1) * GROUP)), count)


def _moments(x, begin, end, mean, var):
    """Mean and variance (dividing by the count) of each channel, in two passes: no digits cancel."""
    count = x.shape[0] * x.shape[2]
    for c in range(begin, end):
        total = 0.0
        for n in range(x.shape[0]):
            for i in range(x.shape[2]):
                total += np.float64(x[n, c, i])
        middle, squares = total / count, 0.0
        for n in range(x.shape[0]):
            for i in range(x.shape[2]):
                away = np.float64(x[n, c, i]) - middle
                squares += away * away
        mean[c], var[c] = middle, squares / count


def _normalise(x, weight, bias, mean, var, eps, begin, end, y):
    for n in range(x.shape[0]):
        for c in range(begin, end):
            scale, middle, shift = weight[c] / np.sqrt(var[c] + eps), mean[c], bias[c]
            for i in range(x.shape[2]):
                y[n, c, i] = (x[n, c, i] - middle) * scale + shift


def _sums(dy, x, mean, var, eps, begin, end, sums):
    """sums[0] = Σ dy, sums[1] = Σ dy · x̂, for each channel."""
    for c in range(begin, end):
        plain, along, middle = 0.0, 0.0, mean[c]
        for n in range(x.shape[0]):
            for i in range(x.shape[2]):
                plain += np.float64(dy[n, c, i])
                along += np.float64(dy[n, c, i]) * np.float64(x[n, c, i] - middle)
        sums[0, c], sums[1, c] = plain, along / np.sqrt(np.float64(var[c]) + np.float64(eps))


def _input(dy, x, weight, mean, var, eps, sums, begin, end, dx):
    """dx = γ/√(var + ε) · (dy − mean of dy − x̂ · mean of dy·x̂), the means from `sums`."""
    count = x.shape[0] * x.shape[2]
    for n in range(x.shape[0]):
        for c in range(begin, end):
            inverse, middle, scale = 1 / np.sqrt(var[c] + eps), mean[c], weight[c] / np.sqrt(var[c] + eps)
            plain, along = x.dtype.type(sums[0, c] / count), x.dtype.type(sums[1, c] / count)
            for i in range(x.shape[2]):
                dx[n, c, i] = scale * (dy[n, c, i] - plain - (x[n, c, i] - middle) * inverse * along)


def _average(x, begin, end, y):
    for n in range(x.shape[0]):
        for c in range(begin, end):
            total = 0.0
            for i in range(x.shape[2]):
                total += np.float64(x[n, c, i])
            y[n, c] = total / x.shape[2]


# A sum may be taken in any order within a channel: several partial sums, which fit vector registers.
_moments = njit(nogil=True, cache=True, fastmath={"reassoc", "contract"}, error_model="numpy")(_moments)
_sums = njit(nogil=True, cache=True, fastmath={"reassoc", "contract"}, error_model="numpy")(_sums)
_average = njit(nogil=True, cache=True, fastmath={"reassoc", "contract"}, error_model="numpy")(_average)
_normalise = njit(nogil=True, cache=True, error_model="numpy")(_normalise)
_input = njit(nogil=True, cache=True, error_model="numpy")(_input)
