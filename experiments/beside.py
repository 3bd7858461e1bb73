"""Runs side by side, each in a process of its own, for `experiments.reproduce --jobs N`.

A small network on small batches keeps few cores busy: N runs of fewer threads each get more done than one after the
other. This file is both ends: `Child` starts it as a script, and the script goes on with a run until it is finished or
its standard input ends, which is when whoever started it says so or is gone, however that came about.
"""

from __future__ import annotations

import os
import subprocess
import sys
from _thread import interrupt_main
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any, TypeVar

from scratchnet.errors import InputError

POLL = 0.2  # seconds
Run = TypeVar("Run")


class Child:
    """A process that goes on with the run in `path`; `changes`: options beside --resume, None for those not given."""

    def __init__(self, path: Path, changes: Mapping[str, Any], errors: Path) -> None:
        words = [str(path), "--quiet"]
        for name, value in changes.items():
            words += [] if value is None else [f"--{name}", str(value)]
        self.errors = errors
        with open(errors, "w", encoding="utf-8") as file:
            self.process = subprocess.Popen(
                [sys.executable, __file__, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=file,
                start_new_session=True,  # Ctrl-C in the terminal reaches the one who started it alone
            )

    @property
    def running(self) -> bool:
        """Whether it is still at work."""
        return self.process.poll() is None

    def stop(self) -> None:
        """Ask it to stop as at Ctrl-C."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def wait(self) -> None:
        """Wait until it has stopped; that it was told to is no failure."""
        self.process.wait()
        self.errors.unlink(missing_ok=True)

    def error(self) -> str | None:
        """What it said last, or None: the run is finished. It has ended."""
        self.stop()
        if self.process.returncode == 0:
            return None
        said = self.errors.read_text(encoding="utf-8").strip().rpartition("\n")[2]
        return said.removeprefix("scratchnet: ") or f"left with exit status {self.process.returncode}"


def side_by_side(
    runs: Iterable[Run], count: int, ready: Callable[[Run, list[Run]], bool], start: Callable[[Run], Child]
) -> Iterator[tuple[Run, str | None]]:
    """Each run as it ends, with why it failed or None; at most `count` at a time, the first ones first.

    `ready(run, others)`: whether it can begin while those are not finished. Whoever leaves the loop stops them all.
    """
    waiting, at_work = list(runs), dict[Run, Child]()
    try:
        while waiting or at_work:
            for run in [*waiting]:
                if len(at_work) < count and ready(run, [other for other in (*at_work, *waiting) if other != run]):
                    waiting.remove(run)
                    try:
                        at_work[run] = start(run)
                    except (InputError, OSError) as error:
                        yield run, str(error)
            ended = [run for run, child in at_work.items() if not child.running]
            for run in ended:
                yield run, at_work.pop(run).error()
            if not ended:
                sleep(POLL)
    finally:
        for child in at_work.values():
            child.stop()
        for child in at_work.values():
            child.wait()


def _until_left_alone() -> None:
    while os.read(0, 1):  # sys.stdin has a lock that a thread must not hold when the process ends
        pass
    interrupt_main()


if __name__ == "__main__":
    Thread(target=_until_left_alone, daemon=True).start()
    from scratchnet import train

    sys.exit(train.main(["--resume", *sys.argv[1:]]))
