"""Launchers of optimizers.cu: norm and clipping, Nesterov and Adam, over one array or over all of a network at once.

The functions in the plural take lists of arrays and launch once for all of them.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from scratchnet.kernels.cuda import device
from scratchnet.kernels.cuda.arrays import BLOCK, int64, is_dense, real_name

CHUNK = 8192  # elements that a block takes


def squared_norm(x):
    """Σ x², summed in float64; an array of no dimension on the device."""
    return _squares([x])[0]


def clip_by_norm(x, max_norm):
    """Scale x in place so that its L2 norm is at most `max_norm`; returns the norm before, on the device."""
    return clip_by_norms([x], max_norm)[0]


def clip_by_norms(arrays, max_norm):
    """`clip_by_norm` for each array by itself; returns the norms before, (number of arrays,) on the device."""
    squares = _squares(arrays)
    chunks, _ = _chunks(device.current(), tuple(a.size for a in arrays))
    _launch("clip", arrays, [], chunks, squares, np.float64(max_norm))
    return squares**0.5


def nesterov_step(param, grad, velocity, lr, momentum, weight_decay):
    """In place: g = grad + weight_decay · param;  v ← momentum · v + g;  param ← param − lr · (g + momentum · v)"""
    nesterov_steps([param], [grad], [velocity], lr, momentum, weight_decay)


def nesterov_steps(params, grads, velocities, lr, momentum, weight_decay):
    """`nesterov_step` over lists of arrays, in one launch."""
    chunks, _ = _chunks(device.current(), tuple(a.size for a in params))
    real = params[0].dtype.type
    arrays = [*params, *_like(grads, params), *velocities]
    _launch("nesterov", arrays, [int64(len(params))], chunks, real(lr), real(momentum), real(weight_decay))


def adam_step(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay=0.0):
    """Adam (Kingma & Ba 2015, algorithm 1), in place; t counts from 1."""
    adam_steps([param], [grad], [m], [v], t, lr, beta1, beta2, eps, weight_decay)


def adam_steps(params, grads, ms, vs, t, lr, beta1, beta2, eps, weight_decay=0.0):
    """`adam_step` over lists of arrays, in one launch."""
    chunks, _ = _chunks(device.current(), tuple(a.size for a in params))
    numbers = lr / (1 - beta1**t), 1 - beta2**t, 1 - beta1, 1 - beta2, eps, weight_decay
    arrays = [*params, *_like(grads, params), *ms, *vs]
    _launch("adam", arrays, [int64(len(params))], chunks, *(params[0].dtype.type(n) for n in numbers))


def _squares(arrays):
    """Σ x² of each array, float64."""
    gpu = device.current()
    chunks, first = _chunks(gpu, tuple(a.size for a in arrays))
    partial = gpu.empty((max(len(chunks), 1),), np.float64)
    _launch("chunk_squares", arrays, [], chunks, partial)
    squares = gpu.empty((len(arrays),), np.float64)
    args = partial, first, squares
    gpu.launch("optimizers.cu", "array_squares", len(arrays), BLOCK, args, {"REAL": real_name(arrays[0].dtype)})
    return squares


def _launch(kernel, arrays, counts, chunks, *args):
    gpu = device.current()
    for a in arrays:
        if a.dtype != arrays[0].dtype or not is_dense(a):
            raise ValueError(f"{kernel} works in place on dense arrays of one type: {a.dtype} of strides {a.strides}")
    if len(chunks):
        args = gpu.pointers(arrays), chunks, *counts, *args
        gpu.launch("optimizers.cu", kernel, len(chunks), BLOCK, args, {"REAL": real_name(arrays[0].dtype)})


def _like(grads, params):
    """The gradients in the memory order of their parameters."""
    return [
        g if g.strides == p.strides else device.current().xp.ascontiguousarray(g)
        for g, p in zip(grads, params, strict=True)
    ]


@lru_cache(maxsize=64)
def _chunks(gpu, sizes):
    """(array, start, size) of every chunk, and the first chunk of each array."""
    rows, first = [], [0]
    for array, size in enumerate(sizes):
        rows += [(array, start, min(CHUNK, size - start)) for start in range(0, size, CHUNK)]
        first.append(len(rows))
    return gpu.upload(np.array(rows, np.int64).reshape(-1, 3)), gpu.upload(np.array(first, np.int64))
