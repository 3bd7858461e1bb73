"""Memory that is used again: fresh memory costs as much as filling it."""

from __future__ import annotations

import math
import os
import sys
import threading
from typing import Any

import numpy as np

RECYCLED = 1 << 20  # bytes from which memory is used again
ROOMS = 24  # how many such rooms are remembered
SPARE = 1 << 30  # bytes of rooms that nobody uses: beyond them, the oldest are given back
LINE = 64  # bytes of a cache line

_rooms: list[np.ndarray] = []
_lock = threading.Lock()
_own = threading.local()  # the scratch memory of each thread


def scratch(name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Room for intermediate results, not cleared: this thread's own, and the same memory at the next call."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    rooms = _own.__dict__.setdefault("rooms", {})
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


def _after_fork() -> None:
    """Another thread of the parent may have held the lock."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
