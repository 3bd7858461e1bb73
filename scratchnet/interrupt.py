"""The ways in which a process is told to end, besides Ctrl-C: SIGTERM, a terminal that is closed, Ctrl-Break."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def endings() -> list[signal.Signals]:
    """Those that the system has, but for what is ignored (SIGHUP under nohup) or has a handler of the program's own."""
    known = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]
    return [number for number in known if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)]


@contextmanager
def as_ctrl_c() -> Iterator[None]:
    """Here they raise KeyboardInterrupt, so that what is half made is taken away. Only the main thread gets signals."""
    before: dict[signal.Signals, Any] = {}
    try:
        for number in endings():
            before[number] = signal.signal(number, signal.default_int_handler)
    except ValueError:  # not the main thread
        before.clear()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
