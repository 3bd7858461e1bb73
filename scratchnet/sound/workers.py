"""Threads for the road before the network: decoding, resampling and FFTs all run outside Python's lock."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_here = threading.local()  # of a thread of `ordered_map`: whether its result is still wanted


class Unwanted(Exception):
    """Nobody waits for this work any more."""


def go_on() -> None:
    """Raise `Unwanted` where the work of this thread was given up: long work asks now and then."""
    stopped = getattr(_here, "stopped", None)
    if stopped is not None and stopped.is_set():
        raise Unwanted


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Generator[Result, None, None]:
    """`map` in threads: results come in the items' order, and never more than 2 * workers are on the way.

    An exception of `function` comes out here; leaving early, on Ctrl-C too, drops what has not begun, and what has
    ends at its next `go_on`.
    """
    waiting: deque[Future[Result]] = deque()
    stopped = threading.Event()

    def begin() -> None:
        _here.stopped = stopped

    with ThreadPoolExecutor(workers, initializer=begin) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            stopped.set()
            for future in waiting:
                future.cancel()
