"""Ctrl-C, a closed terminal, a shut-down: training stops where the weights are whole."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from scratchnet.interrupt import endings


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, held back until a moment at which the weights are whole."""


class Stop:
    """Whether the user asked to stop; `check` is called where stopping does no harm."""

    requested = False

    def check(self) -> None:
        """Raise `Interrupted` if asked to stop."""
        if self.requested:
            raise Interrupted


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """A `Stop` that Ctrl-C (or SIGTERM, or a terminal that is closed) sets; the second Ctrl-C stops at once.

    Only the main thread gets signals.
    """
    stop = Stop()
    before: dict[signal.Signals, Any] = {}

    def request(number: int, frame: FrameType | None) -> None:
        stop.requested = True
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    try:
        for number in (signal.SIGINT, *endings()):
            if signal.getsignal(number) is not None:  # else a program around Python has a handler of its own there
                before[number] = signal.signal(number, request)
    except ValueError:  # not the main thread
        before.clear()
    try:
        yield stop
    finally:
        restore()
