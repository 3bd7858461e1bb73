"""The functions of `vectors.py` on NumPy slices, in whose place they stand with NUMBA_DISABLE_JIT=1, for a debugger."""

from __future__ import annotations

import numpy as np

from scratchnet.kernels.cpu.processor import BYTES


def _lanes(array):
    return BYTES // array.itemsize


def load(array, index):
    return array[index : index + _lanes(array)].copy().reshape(_lanes(array))


def row(array, index, like):
    lanes = _lanes(array)
    return array[index : index + len(like) * lanes].copy().reshape(len(like), lanes)


def store(array, index, value):
    value = value.reshape(-1)
    array[index : index + len(value)] = value


def row_at(array, index, shifts, line, like):
    return np.array([load(array, index + shift) for shift in shifts[line]])


def store_at(array, index, shifts, line, value):
    for shift, part in zip(shifts[line], value):
        store(array, index + shift, part)


def zeros(array):
    return np.zeros(_lanes(array), array.dtype)


def splat(value):
    return np.full(_lanes(value), value)


def element(array, index):
    return array[index]


def prefetch(array, index):
    pass


def fma(x, y, z):
    return x * y + z


def transpose(array, index, step, out, to, out_step):
    for i in range(_lanes(array)):
        for j in range(_lanes(array)):
            out[to + i * out_step + j] = array[index + j * step + i]


def splat_int(like, value):
    return np.full(len(like), value, np.int32)


def exceeds(x, y):
    return (x > y) | (np.isnan(x) & ~np.isnan(y))


where = np.where


def load_int(like, array, index):
    return array[index : index + len(like)].astype(np.int32)


def add(x, y):
    return x + y


def is_place(x, other):
    return (x >= 0) & (x != other)


def scatter(array, index, value):
    array[index] = value
