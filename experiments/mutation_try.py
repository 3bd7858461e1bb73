"""One mutant in its file's place, in this process alone. Used by `experiments.mutation`."""

from __future__ import annotations

import importlib.machinery
import math
import os
import signal
from pathlib import Path
from typing import Any, NamedTuple

from experiments.mutants import Mutant
from experiments.mutation_targets import Target

ROOT = Path(__file__).resolve().parents[1]
MEMORY = 12 << 30  # bytes: a wrong shape may ask for any
BUILD = "SCRATCHNET_TEST_BUILD"  # names the folder in which the tests build the CUDA kernels
DOES_NOT_COMPILE, HANGS = 77, 78  # a process's exit status


class Job(NamedTuple):
    """A mutant (None: the file as it is), the file it belongs to and how it is tried."""

    file: str
    target: Target
    mutant: Mutant | None


class First:
    """A plugin of pytest's: the tests named, by their ids, go first in this order. All others follow in theirs."""

    def __init__(self, ids: list[str]) -> None:
        self._rank = {name: place for place, name in enumerate(ids)}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items.sort(key=lambda item: self._rank.get(item.nodeid, len(self._rank)))


def try_in_this_process(job: Job, first: list[str]) -> int:
    """Run the tests with the mutant in its file's place, those whose ids are in `first` before the others.

    → pytest's exit status: 0 where nothing was noticed
    """
    import pytest

    if job.mutant is not None:
        _put_in_place(ROOT / job.file, job.mutant)
    if job.target.compiled == "g++":
        _on_host(must_compile=job.file.endswith(".py"))
    quiet = ["-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", "-k", job.target.select]
    return int(pytest.main([*quiet, *job.target.tests.split()], plugins=[First(first)]))


def _put_in_place(path: Path, mutant: Mutant) -> None:
    """Whoever imports or reads the file in this process gets the mutant."""
    text = mutant.apply(path.read_text(encoding="utf-8"))
    get_code, read_text = importlib.machinery.SourceFileLoader.get_code, Path.read_text

    def get_mutant(loader: Any, name: str) -> Any:
        if Path(loader.path).resolve() == path:
            return compile(text, str(path), "exec")
        return get_code(loader, name)

    def read_mutant(self: Path, *args: Any, **kwargs: Any) -> str:
        return text if self.suffix in (".cu", ".cuh") and self.resolve() == path else read_text(self, *args, **kwargs)

    importlib.machinery.SourceFileLoader.get_code = get_mutant  # type: ignore[method-assign]
    Path.read_text = read_mutant  # type: ignore[method-assign]


def _on_host(must_compile: bool) -> None:
    """CUDA's kernels built fast; no mutant of a kernel that does not compile, no array that fills the memory."""
    from scratchnet.kernels.cuda import host

    compile_, empty, launch = host._compile, host.HostDevice.empty, host._Program.launch
    flags = tuple(flag for flag in host.FLAGS if flag not in ("-O1", "-g1", "-Wall"))

    def compile_or_leave(name: str, *args: Any) -> Path:
        host.FLAGS = (*flags, "-O2" if name == "runtime" else "-O0", "-DSTACK=32768")
        try:
            return compile_(name, *args)
        except host.KernelError:
            if must_compile:
                raise
            os._exit(DOES_NOT_COMPILE)

    def launch_or_leave(self: Any, *args: Any) -> None:
        try:
            launch(self, *args)
        except host.KernelError:
            if self._process.returncode in (-signal.SIGXCPU, -signal.SIGKILL):  # hypothesis would try it again
                os._exit(HANGS)
            raise

    def small(self: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        if math.prod(shape) > MEMORY >> 5:
            raise MemoryError
        return empty(self, shape, dtype)

    host._compile, host.HostDevice.empty, host._Program.launch = compile_or_leave, small, launch_or_leave
