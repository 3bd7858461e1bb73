"""The CUDA kernels on the CPU, for tests: `HostDevice` stands in for the GPU, NumPy arrays for CuPy's.

Each .cu file is compiled by the machine's C++ compiler behind `cuda_on_host.h`, with AddressSanitizer, into a small
program that waits for launches; launchers and kernels are the very ones that run on the GPU.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from scratchnet.kernels.cuda.source import read_source

HERE = Path(__file__).parent
FLAGS = ("-std=c++17", "-O1", "-g1", "-Wall", "-Wno-unknown-pragmas")
SANITIZE = (
    "-fsanitize=address,undefined,bounds-strict",
    "-fno-sanitize-recover=all",
    "--param=asan-instrumentation-with-call-threshold=0",  # checks are calls: a fifth less to compile, and no less said
)  # the kernels, not the machine they run on


class KernelError(RuntimeError):
    """A kernel read or wrote out of bounds, or its threads went apart; the message holds the sanitizer's report."""


class HostDevice:
    """Runs launches on the CPU. New arrays are full of NaN (floats) or absurd numbers, so unwritten output shows.

    order: 0 runs threads and blocks in their order, any other number shuffles them; where it is odd, each warp also
    runs as far ahead of the others as it can; where it is even, asynchronous copies are made at once, else not before
    they are waited for. tensor_cores: compile the tensor-core path (its products are emulated).
    shared_limit: bytes of shared memory a block may ask for.
    """

    xp = np
    free_memory = 1 << 40

    def __init__(self, build_dir: str | Path | None = None, order: int = 0, tensor_cores: bool = False,
                 shared_limit: int = 99 * 1024, compiler: str = "g++") -> None:  # fmt: skip
        self.order, self.tensor_cores, self.shared_limit, self.compiler = order, tensor_cores, shared_limit, compiler
        self._folder = Path(build_dir or tempfile.mkdtemp(prefix="cuda_on_host_"))
        self._programs: dict[tuple, _Program] = {}
        self.launches: list[tuple[str, str, dict[str, Any]]] = []  # (file, kernel, defines) of every launch so far

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """A new array, poisoned."""
        a = np.empty(shape, dtype)
        a.reshape(-1).view(np.uint8)[:] = 0xFF if a.dtype.kind == "f" else 0x81
        return a

    def upload(self, a: np.ndarray) -> np.ndarray:
        """A copy "on the device"."""
        return np.array(a)

    def address(self, a: np.ndarray) -> int:
        """The address of its first element."""
        return a.__array_interface__["data"][0]

    def product(self, a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
        """out = a · b"""
        out[...] = a @ b
        return out

    def pointers(self, arrays: list[np.ndarray]) -> Pointers:
        """A table of the arrays' addresses, for a kernel that works on many arrays."""
        return Pointers(arrays)

    def launch(
        self, file: str, kernel: str, grid: int, block: int, args: tuple, defines: dict[str, Any], shared: int = 0
    ) -> None:
        """Run `kernel` of `file`, compiled with these macros. Raises KernelError for a bad access or argument."""
        if not 0 < grid < 2**31 or not 0 < block <= 1024 or shared > self.shared_limit:
            raise KernelError(f"{kernel}: no GPU takes a grid of {grid} blocks of {block} threads with {shared} bytes")
        self.launches.append((file, kernel, dict(defines)))
        key = (file, tuple(sorted(defines.items())))
        if key not in self._programs or not self._programs[key].alive():
            self._programs[key] = _Program(file, defines, self._folder, self.compiler)
        self._programs[key].launch(kernel, grid, block, args, shared, self.order)

    def close(self) -> None:
        """End the programs."""
        for program in self._programs.values():
            program.close()


class Pointers:
    """Addresses of arrays, as an argument of a launch."""

    def __init__(self, arrays: list[np.ndarray]) -> None:
        self.arrays = arrays


class _Program:
    """One .cu file with its macros, compiled and running."""

    def __init__(self, file: str, defines: dict[str, Any], folder: Path, compiler: str) -> None:
        self._file = file
        self._process = subprocess.Popen(
            [_build(file, defines, folder, compiler)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._kernels: dict[str, tuple[int, list[str]]] = {}
        while line := self._process.stdout.readline().decode().split():
            self._kernels[line[0]] = (len(self._kernels), line[1:])

    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.stderr.close()
        self._process.wait()

    def launch(self, kernel: str, grid: int, block: int, args: tuple, shared: int, order: int) -> None:
        number, signature = self._kernels[kernel]
        if len(args) != len(signature):
            raise KernelError(f"{kernel} takes {len(signature)} arguments, not {len(args)}")
        buffers, encoded = _Buffers(), []
        for i, (arg, type_) in enumerate(zip(args, signature, strict=True)):
            encoded.append(_encode(arg, type_, buffers, f"{kernel}, argument {i}"))
        head = _pack(number, grid, block, shared, order)
        self._process.stdin.write(head + buffers.encode() + b"".join(encoded))
        self._process.stdin.flush()
        for region in buffers.regions:
            answer = self._process.stdout.read(region.size)
            if len(answer) != region.size:
                report = self._process.stderr.read().decode()
                self._process.wait()
                raise KernelError(f"{self._file}, {kernel}:\n{report[:4000]}")
            if region.flags.writeable:
                region[:] = np.frombuffer(answer, np.uint8)


class _Buffers:
    """The memory that a launch's arrays lie in: each array's exact extent, those that overlap taken together."""

    def __init__(self) -> None:
        self.regions: list[np.ndarray] = []
        self._starts: list[int] = []

    def place(self, a: np.ndarray) -> tuple[int, int]:
        """(buffer, offset of the first element)"""
        low, high = np.lib.array_utils.byte_bounds(a)
        address = a.__array_interface__["data"][0]
        for i, start in enumerate(self._starts):
            if start <= low and high <= start + self.regions[i].size:
                return i, address - start
        raw = (ctypes.c_uint8 * (high - low)).from_address(low)
        self.regions.append(np.frombuffer(raw, np.uint8))
        self._starts.append(low)
        return len(self.regions) - 1, address - low

    def encode(self) -> bytes:
        parts = [_pack(len(self.regions))]
        for start, region in zip(self._starts, self.regions, strict=True):
            parts += [_pack(start % 16, region.size), region.tobytes()]
        return b"".join(parts)


def _encode(arg: Any, type_: str, buffers: _Buffers, where: str) -> bytes:
    """One argument as the program reads it, checked against the kernel's signature."""
    if isinstance(arg, Pointers):
        if not type_.endswith("**"):
            raise KernelError(f"{where}: a table of pointers for {type_}")
        if any(f"{a.dtype.kind}{a.dtype.itemsize}" != type_.removesuffix("**") for a in arg.arrays):
            raise KernelError(f"{where}: an array of the wrong type in a table for {type_}")
        return _pack(2, len(arg.arrays), *(n for a in arg.arrays for n in buffers.place(a)))
    if "*" in type_:
        if arg is None:
            return _pack(1, -1, 0)
        target = type_.split("*")[0]
        if not isinstance(arg, np.ndarray) or target not in ("struct", f"{arg.dtype.kind}{arg.dtype.itemsize}"):
            raise KernelError(f"{where}: {getattr(arg, 'dtype', type(arg))} for {type_}")
        return _pack(1, *buffers.place(arg)) if arg.size else _pack(1, -1, 0)
    if not isinstance(arg, np.generic) or f"{arg.dtype.kind}{arg.dtype.itemsize}" != type_:
        raise KernelError(f"{where}: {arg!r} for {type_}; cast it, CuPy does not")
    return _pack(0, arg.dtype.itemsize) + arg.tobytes()


def _pack(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}q", *numbers)


def _build(file: str, defines: dict[str, Any], folder: Path, compiler: str) -> Path:
    """The program of one .cu file, built once."""
    source = read_source(file)
    kernels = re.findall(r'extern "C" __global__ void(?: __launch_bounds__\(([^,)]*)[^)]*\))? (\w+)\(', source)
    table = ", ".join(f'Caller<{name}>::describe("{name}", {most or 1024})' for most, name in kernels)
    macros = "".join(f"#define {name} {value}\n" for name, value in defines.items())
    text = (
        f'{macros}#include "{HERE}/cuda_on_host.h"\n{source}\n'
        f"const host::Kernel host::kernels[] = {{{table}}};\nconst int host::n_kernels = {len(kernels)};\n"
    )
    runtime = _compile("runtime", (HERE / "runtime.cpp").read_text("utf-8"), ("-c", f"-I{HERE}"), folder, compiler)
    return _compile(Path(file).stem, text, (*SANITIZE, str(runtime)), folder, compiler)


def _compile(name: str, text: str, options: tuple[str, ...], folder: Path, compiler: str) -> Path:
    """C++ text → an object or a program in `folder`, unless it is there."""
    what = repr((text, (HERE / "cuda_on_host.h").read_text("utf-8"), compiler, FLAGS, [Path(o).name for o in options]))
    target = folder / f"{name}_{hashlib.sha256(what.encode()).hexdigest()[:16]}"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        new = Path(f"{target}.{os.getpid()}")  # of its own: another process may build the same
        source = Path(f"{new}.cpp")
        source.write_text(text, "utf-8")
        done = subprocess.run([compiler, *FLAGS, *options, "-o", new, source], capture_output=True, text=True)
        if done.returncode:
            raise KernelError(f"{name} does not compile on the host:\n{done.stderr[:4000]}")
        new.replace(target)
    return target
