"""Which kernels fit an array: the only place that asks what kind of array it is.

NumPy arrays run on the CPU (`cpu`, or `reference`: the definitions), CuPy arrays on the GPU (`cuda`).
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from scratchnet.errors import InputError

BACKENDS = ("auto", "cuda", "cpu", "reference")
FLOATS = np.dtype("float32"), np.dtype("float64")  # what layers compute with, on every backend
_current = "cpu"  # the backend that new arrays are made for
_of_numpy: ModuleType | None = None  # the kernels of NumPy arrays, once they were asked for
_of_cupy: ModuleType | None = None  # those of CuPy's


def use(name: str, n_threads: int | None = None) -> str:
    """Choose the backend; `auto` takes the GPU if there is one, else the CPU. Returns the one taken.

    `n_threads`: how many the CPU's kernels take from now on; None leaves their number as it is.

    Raises InputError for an unknown name, where `cuda` is asked for and there is no GPU that CuPy can use, or for a
    SCRATCHNET_THREADS in the environment that is no number.
    """
    global _current, _of_numpy
    if name not in BACKENDS:
        raise InputError(f"unknown backend {name!r}: choose one of {', '.join(BACKENDS)}")
    if name in ("auto", "cuda"):
        there, reason = _cuda()
        if not there and name == "cuda":
            raise InputError(f"--backend cuda: {reason}; --backend cpu runs without a GPU")
        name = "cuda" if there else "cpu"
    told = os.environ.get("SCRATCHNET_THREADS", "")
    if told and not (told.isdecimal() and int(told)):
        raise InputError(f"SCRATCHNET_THREADS is {told!r}: name a whole number of threads, 1 or more, or unset it")
    _current = name
    _of_numpy = None
    if name == "cpu" and n_threads is not None:
        threads(n_threads)
    return name


def current() -> str:
    """The backend in use."""
    return _current


def kernels_of(x: Any) -> ModuleType:
    """The kernels (`scratchnet.kernels.…`) for this array."""
    global _of_numpy, _of_cupy
    if not isinstance(x, np.ndarray):
        if _of_cupy is None:
            if not hasattr(x, "__cuda_array_interface__"):
                raise TypeError(f"takes arrays of NumPy or CuPy, not {type(x).__name__}")
            _of_cupy = import_module("scratchnet.kernels.cuda")
        return _of_cupy
    if _of_numpy is None:
        _of_numpy = import_module(f"scratchnet.kernels.{'reference' if _current == 'reference' else 'cpu'}")
    return _of_numpy


def xp(x: Any) -> ModuleType:
    """The array library of x: numpy, or cupy."""
    return np if isinstance(x, np.ndarray) else import_module("cupy")


def asarray(x: Any, dtype: str | None = None) -> Any:
    """x as an array of the backend in use: on the GPU where that is `cuda`, else in the host's memory."""
    if _current == "cuda":
        return import_module("cupy").asarray(x, dtype)
    return np.asarray(to_numpy(x), dtype)


def as_type(x: Any, dtype: Any) -> Any:
    """x itself if it is of this type, else converted. (CuPy's `astype(copy=False)` copies what lies channels last.)

    Raises ValueError for complex numbers, and for what is no number.
    """
    if x.dtype == dtype:
        return x
    if x.dtype.kind not in "biuf":
        raise ValueError(f"takes real numbers, not {x.dtype}")
    return x.astype(dtype)


def to_numpy(x: Any) -> np.ndarray:
    """x in the host's memory."""
    cupy = sys.modules.get("cupy")
    return cupy.asnumpy(x) if cupy is not None and isinstance(x, cupy.ndarray) else np.asarray(x)


def threads(n: int | None = None) -> int:
    """How many threads the CPU kernels use: with n, so many from now on; else as set, or all cores of this process.

    Raises ValueError for an n under 1.
    """
    from scratchnet.kernels.cpu import parallel

    return parallel.threads(n)


def gpu() -> str | None:
    """The name of the GPU that computes; None where none does."""
    return import_module("scratchnet.kernels.cuda").gpu_name() if _current == "cuda" else None


def _cuda() -> tuple[bool, str]:
    """Is there a GPU that CuPy can use, and if not, why."""
    return import_module("scratchnet.kernels.cuda").available()
