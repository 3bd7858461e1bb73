"""Locks of the system, which fall with their process, however it ends.

Where the system has none (Windows, some network drives), nothing is held, and nothing can be told.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder. Raises BlockingIOError where another process, or another place in this one, holds it."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(handle)


@contextmanager
def alone(file: Path, waiting: Callable[[], Any]) -> Iterator[bool]:
    """One at a time of all who name this file, which is there meanwhile; `waiting` is called before waiting.

    Yields whether it is sure. Raises OSError where the file cannot be made.
    """
    if fcntl is None or (handle := _locked(file, waiting)) is None:
        yield False
        return
    try:
        yield True
    finally:
        with suppress(OSError):
            file.unlink()
        os.close(handle)


def _locked(file: Path, waiting: Callable[[], Any]) -> int | None:
    while True:
        try:
            handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        except PermissionError:
            if not file.exists():
                raise
            try:
                handle = os.open(file, os.O_RDONLY)  # another user's, whose lock can be waited for
            except PermissionError:
                return None
        try:
            if not _lock(handle, waiting):
                with suppress(OSError):
                    file.unlink()
                os.close(handle)
                return None
            with suppress(FileNotFoundError):
                if os.path.samestat(os.stat(file), os.fstat(handle)):
                    return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # who held it before has taken the file away: another may have made it anew


def _lock(handle: int, waiting: Callable[[], Any]) -> bool:
    """Lock an open file. → whether its file system has locks"""
    for pause in (0.0, 0.02):  # somebody may just look whether it is held
        time.sleep(pause)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            continue
        except OSError:
            return False
    waiting()
    fcntl.flock(handle, fcntl.LOCK_EX)
    return True


def abandoned(file: Path) -> bool | None:
    """Whether nobody is `alone` with it; it is taken away then. None where that cannot be told."""
    if fcntl is None:
        return None
    try:
        handle = os.open(file, os.O_RDONLY)
    except OSError as error:
        return True if isinstance(error, FileNotFoundError) else None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with suppress(OSError):
            file.unlink()
        return True
    except BlockingIOError:
        return False
    except OSError:
        return None
    finally:
        os.close(handle)
