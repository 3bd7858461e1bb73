"""Runs side by side, each in a process of its own, for `experiments.reproduce --jobs N`.

A small network on small batches keeps few cores busy: N runs of fewer threads each get more done than one after the
other. This file is both ends. `Child` starts it as a process, which goes on with a run until that is finished, and
tested in noise, or its standard input ends, which is when whoever started it says so or is gone, however that came
about.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from _thread import interrupt_main
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any, TypeVar

from scratchnet.cli import guard

POLL = 0.2  # seconds
AGAIN = 20.0  # seconds until a process is told once more to stop, and at once
CHECKOUT = Path(__file__).resolve().parents[1]
Run = TypeVar("Run")


class Child:
    """A process that goes on with the run in `path`, with `changes` of its settings; `noise`: and tests it in noise."""

    def __init__(self, path: Path, changes: Mapping[str, Any], noise: bool = False) -> None:
        self.said = tempfile.TemporaryFile()  # noqa: SIM115 - `error` closes it
        paths = [str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]
        # Ctrl-C in the terminal reaches the one who started it alone.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "experiments.beside", str(path), json.dumps(changes), *["noise"] * noise],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self.said,
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
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
        """Wait until it has ended."""
        self.process.wait()

    def error(self) -> str | None:
        """All that it said, or None: the run is finished. It has ended."""
        self.stop()
        status = self.process.returncode
        self.said.seek(0)
        with self.said:
            said = self.said.read().decode(errors="replace").strip().removeprefix("scratchnet: ")
        if status == 0:
            return None
        return said if status > 0 and said else f"{said}\nleft with exit status {status}".strip()


def side_by_side(
    runs: Iterable[Run], count: int, ready: Callable[[Run, list[Run]], bool], start: Callable[[Run], Child]
) -> Iterator[tuple[Run, str | None]]:
    """Each run as it ends, with what it said if it failed, or None; at most `count` at a time, the first ones first.

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
                    except Exception as error:  # whatever it is, the other runs are not to blame
                        yield run, str(error) or type(error).__name__
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
    while True:  # who saves a checkpoint does not hear the first time
        interrupt_main()
        sleep(AGAIN)


@guard
def _go_on(path: Path, changes: dict[str, Any], noise: bool) -> int:
    from scratchnet.training import run

    run.resume(path, changes)
    if noise:
        _hear(path, changes)
    return 0


def _hear(path: Path, changes: dict[str, Any]) -> None:
    """Leave figures in noise in the run's folders. Whoever gathers them makes those that fail here, and names why."""
    from experiments.noise import Recordings, rows_of
    from experiments.table import find
    from scratchnet.errors import InputError
    from scratchnet.training import dataset
    from scratchnet.training.runfolder import RunFolder
    from scratchnet.training.screen import Screen

    screen = Screen(quiet=True)
    with suppress(InputError, OSError):
        config = RunFolder.open(path)[1].with_(**changes)
        recordings = Recordings(dataset.open_data(config, screen), config, screen)
        for folder in find([path]):
            rows_of(folder, recordings, screen)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("scratchnet: experiments.beside is started by experiments.reproduce --jobs N; run that")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # started with `&` in a script, it would be ignored
    Thread(target=_until_left_alone, daemon=True).start()
    sys.exit(_go_on(Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:] == ["noise"]))
