"""NVRTC by itself: what the compiler says of a kernel, for any architecture, with no GPU and no driver.

It needs the library alone, as it comes with CuPy's `[ctk]` extra or the package nvidia-cuda-nvrtc. Training does not
pass here: there CuPy compiles.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from scratchnet.kernels.cuda.source import read_source

OF_CUPY = ("--device-as-default-execution-space", "-ftz=true")  # what it compiles with in training
ARCHITECTURES = (75, 80, 86, 89, 90, 100)  # compute capabilities 7.5, 8.0, 8.6, 8.9, 9.0, 10.0


class CompileError(RuntimeError):
    """NVRTC refused a source, or warned; the message is its log."""


@dataclass(frozen=True)
class Resources:
    """What a kernel takes of a GPU: registers a thread, bytes of static shared memory, bytes spilled to memory."""

    registers: int
    shared: int
    spilled: int


@cache
def library() -> ctypes.CDLL | None:
    """libnvrtc of CUDA 13 or 12, from a wheel or the system; None where there is none."""
    wheels = [
        path for entry in sys.path for path in sorted(Path(entry).glob("nvidia/*/lib/libnvrtc.so.1[23]"), reverse=True)
    ]
    for name in (*map(str, wheels), "libnvrtc.so.13", "libnvrtc.so.12", ctypes.util.find_library("nvrtc")):
        try:
            return ctypes.CDLL(name) if name else None
        except OSError:
            continue
    return None


def version() -> tuple[int, int]:
    """NVRTC's, such as (13, 5)."""
    numbers = ctypes.c_int(), ctypes.c_int()
    library().nvrtcVersion(*map(ctypes.byref, numbers))
    return numbers[0].value, numbers[1].value


def architectures() -> tuple[int, ...]:
    """Those of ARCHITECTURES that this NVRTC knows."""
    nvrtc = library()
    count = ctypes.c_int()
    nvrtc.nvrtcGetNumSupportedArchs(ctypes.byref(count))
    known = (ctypes.c_int * count.value)()
    nvrtc.nvrtcGetSupportedArchs(known)
    return tuple(one for one in ARCHITECTURES if one in list(known))


def compile_kernels(file: str, defines: dict[str, Any], architecture: int) -> dict[str, Resources]:
    """Compile one .cu file to machine code, every warning an error → kernel name to what it takes.

    Raises CompileError with the compiler's log.
    """
    nvrtc = library()
    options = ["--std=c++17", f"--gpu-architecture=sm_{architecture}", "--ptxas-options=-v", *OF_CUPY]
    options += [f"-D{name}={value}" for name, value in defines.items()]
    program = ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), read_source(file).encode(), file.encode(), 0, None, None)
    try:
        status = nvrtc.nvrtcCompileProgram(
            program, len(options), (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
        )
        size = ctypes.c_size_t()
        nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        nvrtc.nvrtcGetProgramLog(program, text)
        log = text.value.decode()
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    if status or re.search(r"\bwarning\b", log):
        raise CompileError(f"{file} {defines} for sm_{architecture}:\n{log}")
    found = {}
    for part in re.split(r"Compiling entry function '", log)[1:]:
        spilled = sum(int(n) for n in re.findall(r"(\d+) bytes spill", part))
        shared = re.search(r"(\d+) bytes smem", part)
        found[part.split("'")[0]] = Resources(
            int(re.search(r"Used (\d+) registers", part)[1]), int(shared[1]) if shared else 0, spilled
        )
    return found
