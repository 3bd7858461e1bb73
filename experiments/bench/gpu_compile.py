"""PyTorch's step under torch.compile(mode="max-autotune"):   python -m experiments.bench.gpu_compile NET BATCH

A part of `experiments.bench.gpu`, where several run side by side: they search for their fastest kernels, and what a
search tries is timed while no other times anything. The step that was found is timed when every search has ended, or
died, by one process at a time; shortly before the time is up it is timed anyway, and `alone` says false. What the
search has done so far is printed every few seconds, for one that is stopped.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any

from experiments.bench import gpu_parts, output, workloads
from scratchnet import backend
from scratchnet.cli import Parser, guard

LOCK = "SCRATCHNET_BENCH_LOCK"  # the environment variable that names a file: who holds it times something
UNTIL = "SCRATCHNET_BENCH_UNTIL"  # and the one with the time (`time.time`) at which waiting for others ends
TOLD = 10.0  # seconds from one report of a search to the next
WAIT = 5.0  # seconds beyond UNTIL that a step waits for a search that times something


class Search:
    """What a search has done so far: choices tried; seconds of first calls, of waiting for the others, of timing."""

    def __init__(self) -> None:
        self.done = {"choices": 0, "first_calls": 0.0, "waited": 0.0, "timed": 0.0}
        self._told = time.monotonic()
        self._held = False

    def time_one_at_a_time(self) -> None:
        """Inductor times what it tries while it holds the file that LOCK names."""
        from torch._inductor.runtime.benchmarking import benchmarker

        kind: Any = type(benchmarker)
        time_it = kind.benchmark_gpu

        def alone(inductor: Any, call: Callable[[], Any], *args: Any, **more: Any) -> Any:
            if self._held:  # a timing within a timing: the file would wait for itself
                return time_it(inductor, call, *args, **more)
            with self._counted("first_calls"):
                call()  # compiled by its first call, which the others need not wait for
            before = time.monotonic()
            with _held(os.environ[LOCK]), self.timing():
                self.done["waited"] += time.monotonic() - before
                try:
                    with self._counted("timed"):
                        return time_it(inductor, call, *args, **more)
                finally:
                    self.done["choices"] += 1
                    self._tell()

        kind.benchmark_gpu = alone

    @contextmanager
    def timing(self) -> Iterator[None]:
        """While the file is ours already."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    @contextmanager
    def _counted(self, what: str) -> Iterator[None]:
        before = time.monotonic()
        yield
        self.done[what] += time.monotonic() - before

    def _tell(self) -> None:
        if time.monotonic() - self._told > TOLD:
            self._told = time.monotonic()
            print(json.dumps(self.done), flush=True)


@contextmanager
def quiet(path: str, until: float) -> Iterator[Callable[[], bool]]:
    """While all who have entered wait for `alone()`, one after the other gets True; False when it is `until`."""
    with open(path, "a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_SH)

        def alone() -> bool:
            fcntl.flock(file, fcntl.LOCK_UN)
            return _locked(file, until)

        yield alone


def measure(name: str, batch: int) -> dict[str, Any]:
    """Search, then time the step: seconds by CUDA events."""
    import torch
    from torch._inductor.async_compile import AsyncCompile

    lock = os.environ.setdefault(LOCK, os.path.join(tempfile.mkdtemp(), "lock"))  # by itself it waits for nobody
    backend.use("cpu")
    net = workloads.fresh(name)
    x, target = (torch.from_numpy(a).cuda() for a in workloads.noise(name, batch))
    twin = gpu_parts.twin(name, net)
    step = gpu_parts.eager(name, twin, x, target, compile_it=True)
    search, until = Search(), float(os.environ.get(UNTIL, "inf"))
    search.time_one_at_a_time()
    with quiet(f"{lock}.quiet", until) as alone:
        AsyncCompile.use_process_pool()  # its workers start meanwhile
        with _held(lock):  # cuDNN tries its algorithms at a convolution's first call, once each, and keeps one for good
            gpu_parts.eager(name, twin, x, target)()
            torch.cuda.synchronize()
        with suppress(TimeoutError):
            AsyncCompile.wait_pool_ready()  # until then the choices would be compiled in this process
        for _ in range(3):  # the search, and what is recorded of the first steps after it
            step()
        found = {**search.done, "found_after": time.time() - gpu_parts.STARTED}
        found["convolutions"] = str(torch.backends.cudnn.fp32_precision)
        print(json.dumps(found), flush=True)
        found["alone"] = alone()
        with _held(lock, until + WAIT) as held, search.timing():  # a search that goes on may time something
            found["alone"] &= held
            return {**found, "step": gpu_parts.event_times(step)}


@contextmanager
def _held(path: str, until: float = float("inf")) -> Iterator[bool]:
    """The file locked, which is True; or False where it is `until` before that."""
    with open(path, "a", encoding="utf-8") as file:
        if until == float("inf"):
            fcntl.flock(file, fcntl.LOCK_EX)
            yield True
        else:
            yield _locked(file, until)


def _locked(file: IO[str], until: float) -> bool:
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until it is closed
            return True
        except BlockingIOError:
            if time.time() >= until:
                return False
            time.sleep(0.1)


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    options = Parser(prog="python -m experiments.bench.gpu_compile", description=(__doc__ or "").split(":   ")[0])
    options.add_argument("net", metavar="NET", choices=output.PAPER)
    options.add_argument("batch", metavar="BATCH", type=int)
    given = options.parse(argv)
    backend.use("cuda")
    print(json.dumps(measure(given.net, given.batch)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
