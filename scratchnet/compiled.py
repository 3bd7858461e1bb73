"""Numba's compiler, as the CPU's kernels and the sound modules use it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from numba import config, njit

from scratchnet import __version__
from scratchnet.cache_folder import cache_folder
from scratchnet.errors import InputError

_lock = threading.Lock()


def compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """`function` as machine code, which lets other threads of Python run and is kept for the next process.

    It is kept where NUMBA_CACHE_DIR says, else in the user's cache folder: files beside the sources would survive
    `pip uninstall`, and Python would take the folder that is left for the package.
    """
    with _lock:
        before = config.CACHE_DIR  # type: ignore[attr-defined]
        config.CACHE_DIR = before or _kept_in()  # type: ignore[attr-defined]
        try:
            return _mended(njit(nogil=True, cache=True, **options)(function))
        finally:
            config.CACHE_DIR = before  # type: ignore[attr-defined]  # other packages have places of their own


def _mended(kernel: Any) -> Any:
    """With a cache that costs no command: what is damaged in it is compiled again, what has no room is not kept."""
    cache = getattr(kernel, "_cache", None)  # none with NUMBA_DISABLE_JIT
    if cache is None:
        return kernel
    load, save = cache.load_overload, cache.save_overload

    def load_overload(*given: Any) -> Any:
        try:
            return load(*given)
        except Exception:  # pickle's, of a file that a power cut left half-written
            with suppress(OSError):
                cache.flush()
            return None

    def save_overload(*given: Any) -> None:
        with suppress(Exception):  # no room, or, without room to empty it, a damaged index
            save(*given)

    cache.load_overload, cache.save_overload = load_overload, save_overload
    return kernel


def _kept_in() -> str:
    try:
        return str(cache_folder() / f"kernels-{__version__}")
    except InputError:  # no home: Numba finds a place, or says that there is none
        return ""
