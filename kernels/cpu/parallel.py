"""Pieces of work on a few threads, none of which fights with BLAS.

Each thread runs Numba code and BLAS products that release the GIL, and BLAS itself gets one thread. No number depends
on which thread takes a piece, nor on how many threads there are; sums over pieces are added in a fixed order. So a
result is the same, bit for bit, on any number of threads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from scratchnet.blas import one_blas_thread

PARTS = 8  # a sum over the batch is made of this many partial sums, whatever the number of threads

_count: int | None = None
_pool: ThreadPoolExecutor | None = None
_lock = threading.Lock()
_inside = threading.local()


def threads(n: int | None = None) -> int:
    """The number of threads; with n, set it."""
    global _count, _pool
    if n is not None:
        if n < 1:
            raise ValueError(f"the number of threads must be at least 1, not {n}")
        with _lock:
            if n != _count:
                _pool = None  # whoever still runs on it keeps it until then
            _count = n
    if _count is None:
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        told = os.environ.get("SCRATCHNET_THREADS", "")  # scratchnet.backend refuses what is no number
        _count = max(1, int(told)) if told.isdecimal() else available
    return _count


def run(task: Callable[[int], Any], pieces: int) -> None:
    """Call task(0), …, task(pieces − 1), each once, on all threads; the first exception is raised here."""
    workers = min(threads(), pieces)
    if getattr(_inside, "on", False):
        workers = 1
    pending = iter(range(pieces))

    def work() -> None:
        outer, _inside.on = getattr(_inside, "on", False), True
        try:
            while (piece := next(pending, None)) is not None:  # `next` on a range is atomic under the GIL
                task(piece)
        finally:
            _inside.on = outer

    if workers <= 1 and getattr(_inside, "on", False):
        work()
        return
    with one_blas_thread():
        if workers <= 1:
            work()
            return
        others = [_executor().submit(work) for _ in range(workers - 1)]
        try:
            work()
        finally:
            errors = [other.exception() for other in others]
    for error in errors:
        if error is not None:
            raise error


def part(index: int, length: int, parts: int = PARTS) -> tuple[int, int]:
    """The index-th of `parts` nearly equal stretches of range(length)."""
    return index * length // parts, (index + 1) * length // parts


def _executor() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(max(1, threads() - 1), thread_name_prefix="scratchnet")
        return _pool


def _after_fork() -> None:
    """A forked child has none of its parent's threads."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
