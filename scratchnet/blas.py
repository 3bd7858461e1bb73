"""BLAS on one thread, while threads of our own use it: two pools of threads that spin against each other cost a factor
of three.

Apple's Accelerate, which NumPy's wheels for macOS have, listens only to VECLIB_MAXIMUM_THREADS=1 in the environment of
the whole process.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

_callers = 0  # how many want BLAS on one thread
_before: list[int] = []  # what each library had before them
_lock = threading.Lock()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS works on one thread in each of ours; when the last of several callers leaves, on as many as before."""
    global _callers, _before
    with _lock:
        if _callers == 0:
            _before = [library.get_num_threads() for library in _blas().lib_controllers]
            _set_blas([1] * len(_before))
        _callers += 1
    try:
        yield
    finally:
        with _lock:
            _callers -= 1
            if _callers == 0:
                _set_blas(_before)
            _callers = max(0, _callers)  # of a child that was forked inside, see `_after_fork`


def _set_blas(counts: list[int]) -> None:
    """Give each BLAS library so many threads, whoever has set them before.

    From version 3.8, threadpoolctl lets the thread that sets OpenBLAS's number first be the only one that can, until it
    lets go: the last of several callers might be another than the first, and the caller's program wants its turn, too.
    """
    for library, count in zip(_blas().lib_controllers, counts):
        let_go = getattr(library, "clear_controlling_thread", lambda force=False: None)
        let_go(force=True)
        library.set_num_threads(count)
        let_go()


@lru_cache(maxsize=1)
def _blas() -> Any:
    """Handles of the BLAS libraries that there are by now, NumPy's at least; found once, for it takes milliseconds."""
    import numpy  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def _after_fork() -> None:
    """A forked child has none of its parent's threads, and BLAS as they found it."""
    global _lock, _callers
    _lock = threading.Lock()
    if _callers:
        _callers = 0
        _set_blas(_before)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
