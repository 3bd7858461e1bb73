"""The machine that a benchmark runs on, and what the process takes of it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import scratchnet
from scratchnet.errors import InputError
from scratchnet.sound.workers import cores
from scratchnet.training.host import commit, from_table, installed, processor

LIBRARIES = ("numpy", "scipy", "numba", "torch", "librosa")
ROOT = Path(__file__).resolve().parents[2]
PRODUCT = 2000  # rows and columns of the matrices that measure SGEMM's speed
PRODUCT_FLOPS = 2 * PRODUCT**3
STATUS = Path("/proc/self/status")  # Linux alone


def describe(threads: int) -> dict[str, Any]:
    """Processor, cores, BLAS, versions; `threads` is what both sides of a comparison use."""
    from threadpoolctl import threadpool_info

    blas = [f"{b['internal_api']} {b['version']} ({b.get('architecture', '')})" for b in threadpool_info()
            if b["user_api"] == "blas"]  # fmt: skip
    versions = {"scratchnet": scratchnet.__version__, "python": platform.python_version()}
    return {
        "processor": processor(),
        "cores": cores(),
        "threads": threads,
        "memory": from_table("/proc/meminfo", "MemTotal"),
        "system": f"{platform.system()} {platform.machine()}",
        "blas": ", ".join(sorted(set(blas))),
        "versions": versions | installed(*LIBRARIES),
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
    }


def in_own_process(module: str, *words: object, **environment: str) -> dict[str, Any]:
    """What `python -m experiments.bench.MODULE --child words…` prints as JSON; raises InputError with its last line."""
    command = [sys.executable, "-m", f"experiments.bench.{module}", "--child", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"{' '.join(command[2:])}: {(done.stderr.strip().splitlines() or ['killed'])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def load_average() -> float | None:
    """How many processes wanted a core, on average of the last minute; None where the system does not tell."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def matrix_product(threads: int) -> Callable[[], Any]:
    """A float32 matrix product on all threads, to be timed: PRODUCT_FLOPS operations at the machine's own speed."""
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((PRODUCT, PRODUCT), dtype=np.float32) for _ in range(2))
    out = np.empty((PRODUCT, PRODUCT), np.float32)

    def product() -> None:
        with threadpool_limits(threads, user_api="blas"):
            np.matmul(a, b, out=out)

    return product


def memory(what: str = "VmRSS") -> int:
    """Bytes of this process: VmRSS now, VmHWM at the highest, RssAnon without mapped files.

    Not `ru_maxrss`: a process inherits that from the one which started it. Raises OSError where /proc is not there.
    """
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{STATUS} has no {what}")


class PeakMemory:
    """The highest RssAnon while a `with` block lasts, in bytes, looked at every 5 ms, without memory-mapped files."""

    peak = 0

    def __enter__(self) -> PeakMemory:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.peak = max(self.peak, memory("RssAnon"))
            if self._stop.wait(0.005):
                return
