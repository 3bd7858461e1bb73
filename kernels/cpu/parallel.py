"""Pieces of work on a few threads, none of which fights with BLAS.

Each thread runs Numba code and BLAS products that release the GIL, and BLAS itself gets one thread: two pools of
threads that spin against each other cost a factor of three. No number depends on which thread takes a piece, nor on how
many threads there are; sums over pieces are added in a fixed order. So a result is the same, bit for bit, on any number
of threads.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np

PARTS = 8  # a sum over the batch is made of this many partial sums, whatever the number of threads

RECYCLED = 1 << 20  # bytes from which memory is used again
ROOMS = 24  # how many such rooms are remembered
SPARE = 1 << 30  # bytes of rooms that nobody uses: beyond them, the oldest are given back
LINE = 64  # bytes of a cache line

_rooms: list[np.ndarray] = []
_count: int | None = None
_pool: ThreadPoolExecutor | None = None
_callers, _before = 0, []  # how many callers want BLAS on one thread, and what each library had before
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
    with _one_blas_thread():
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


@contextmanager
def _one_blas_thread() -> Iterator[None]:
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


def part(index: int, length: int, parts: int = PARTS) -> tuple[int, int]:
    """The index-th of `parts` nearly equal stretches of range(length)."""
    return index * length // parts, (index + 1) * length // parts


def scratch(name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Room for intermediate results, not cleared: this thread's own, and the same memory at the next call."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    rooms = _inside.__dict__.setdefault("rooms", {})
    if name not in rooms or rooms[name].nbytes < size:
        rooms[name] = _from_line(np.empty(size + LINE, np.uint8), size)
    return rooms[name][:size].view(dtype).reshape(shape)


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """`np.empty`, but of memory that an earlier result has left: fresh memory of this size costs as much as filling it.

    A room is given out again only when no array looks into it any more, so that no result ever changes.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < RECYCLED:
        return np.empty(shape, dtype)
    needed = size + LINE
    with _lock:
        owners = _owners(_rooms)
        free = [i for i, count in enumerate(owners) if count == _UNUSED and needed <= _rooms[i].nbytes <= 2 * needed]
        if free:
            room = _rooms.pop(min(free, key=lambda i: _rooms[i].nbytes))
        else:
            room = np.empty(needed, np.uint8)
            unused = [_rooms[i] for i, count in enumerate(owners) if count == _UNUSED]
            _give_back(unused)
        _rooms.append(room)  # the most recently used last
        del _rooms[:-ROOMS]
        return _from_line(room, size).view(dtype).reshape(shape)


def _give_back(unused: list[np.ndarray]) -> None:
    """Forget the oldest of these rooms until the others are at most SPARE bytes."""
    excess = sum(room.nbytes for room in unused) - SPARE
    for old in unused:
        if excess > 0:
            excess -= old.nbytes
            _rooms[:] = [room for room in _rooms if room is not old]


def zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """`np.zeros` that begin with a cache line."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    return _from_line(np.zeros(size + LINE, np.uint8), size).view(dtype).reshape(shape)


def _from_line(room: np.ndarray, size: int) -> np.ndarray:
    """`size` bytes of `room` from the start of a cache line: a vector across two lines takes twice as long to read."""
    first = -room.ctypes.data % LINE
    return room[first : first + size]


def _owners(rooms: list[np.ndarray]) -> list[int]:
    """How many references there are to each room; every view of it is one."""
    return [sys.getrefcount(room) for room in rooms]


_UNUSED = _owners([np.empty(1, np.uint8)])[0]  # what Python counts for a room that is in the list alone


@lru_cache(maxsize=1)
def _blas():
    """Handles of the BLAS libraries in this process, found once: looking for them takes milliseconds."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def _executor() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(max(1, threads() - 1), thread_name_prefix="scratchnet")
        return _pool


def _after_fork() -> None:
    """A forked child has none of its parent's threads."""
    global _pool, _lock, _callers
    _pool, _lock, _callers = None, threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
