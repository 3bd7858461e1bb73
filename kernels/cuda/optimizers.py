"""Launchers of optimizers.cu: norm and clipping, Nesterov and Adam, over all arrays of a network in one launch."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from scratchnet.kernels.cuda import device
from scratchnet.kernels.cuda.arrays import BLOCK, in_one_order, int64, is_dense, real_name

CHUNK = 8192  # elements that a block takes


def squared_norms(groups):
    """Σ x² over all arrays of each group, (number of groups,) float64, on the device."""
    dense = _dense([x for group in groups for x in group])
    return _squares(_chunks_of(groups), dense, device.current().pointers(dense))


def clip_by_norms(groups, max_norm):
    """Scale the arrays of each group in place so that their common L2 norm is at most `max_norm`.

    → the norms before, (number of groups,) on the device
    """
    arrays = [x for group in groups for x in group]
    dense = _dense(arrays)
    chunks, pointers = _chunks_of(groups), device.current().pointers(dense)
    squares = _squares(chunks, dense, pointers)
    _launch("clip", dense, pointers, chunks[0], squares, np.float64(max_norm))
    _copy_back(arrays, dense)
    return squares**0.5


def nesterov_steps(params, grads, velocities, lr, momentum, weight_decay):
    """In place: g = grad + weight_decay · param;  v ← momentum · v + g;  param ← param − lr · (g + momentum · v)"""
    _update("nesterov", params, (grads, velocities), (lr, momentum, weight_decay))


def adam_steps(params, grads, ms, vs, t, lr, beta1, beta2, eps, weight_decay):
    """Adam (Kingma & Ba 2015, algorithm 1), in place; t counts from 1."""
    numbers = lr / (1 - beta1**t), 1 - beta2**t, 1 - beta1, 1 - beta2, eps, weight_decay
    _update("adam", params, (grads, ms, vs), numbers)


def _update(kernel, params, others, numbers):
    """One launch over all parameters and the arrays that stand beside them; gradients are read alone."""
    rows = [in_one_order(*arrays) for arrays in zip(params, *others, strict=True)]
    lists = list(zip(*rows))
    real = params[0].dtype.type
    chunks, _ = _chunks_of([params])
    arrays = [a for one in lists for a in one]
    _launch(kernel, arrays, device.current().pointers(arrays), chunks, int64(len(params)), *(real(n) for n in numbers))
    for written, worked_on in zip((params, *others[1:]), (lists[0], *lists[2:])):
        _copy_back(written, worked_on)


def _squares(chunks, dense, pointers):
    gpu = device.current()
    chunks, first = chunks
    partial = gpu.empty((max(len(chunks), 1),), np.float64)
    _launch("chunk_squares", dense, pointers, chunks, partial)
    squares = gpu.empty((len(first) - 1,), np.float64)
    args = partial, first, squares
    gpu.launch("optimizers.cu", "group_squares", len(squares), BLOCK, args, {"REAL": real_name(dense[0].dtype)})
    return squares


def _launch(kernel, arrays, pointers, chunks, *args):
    dtype = arrays[0].dtype
    for a in arrays:
        if a.dtype != dtype:
            raise ValueError(f"{kernel} takes arrays of one type, not {dtype} and {a.dtype}")
    if len(chunks):
        args = pointers, chunks, *args
        device.current().launch("optimizers.cu", kernel, len(chunks), BLOCK, args, {"REAL": real_name(dtype)})


def _dense(arrays):
    """The arrays, or copies of those with gaps."""
    return [a if is_dense(a) else device.current().xp.ascontiguousarray(a) for a in arrays]


def _copy_back(arrays, worked_on):
    for a, b in zip(arrays, worked_on):
        if a is not b:
            a[...] = b


def _chunks_of(groups):
    return _chunks(device.current(), tuple(tuple(a.size for a in group) for group in groups))


@lru_cache(maxsize=64)
def _chunks(gpu, groups):
    """(array, start, size, group) of every chunk of arrays of these sizes, and the first chunk of each group."""
    rows = []
    sizes = [(size, number) for number, group in enumerate(groups) for size in group]
    for array, (size, number) in enumerate(sizes):
        rows += [(array, start, min(CHUNK, size - start), number) for start in range(0, size, CHUNK)]
    rows = np.array(rows, np.int64).reshape(-1, 4)
    first = np.searchsorted(rows[:, 3], np.arange(len(groups) + 1))
    return gpu.upload(rows), gpu.upload(first.astype(np.int64))
