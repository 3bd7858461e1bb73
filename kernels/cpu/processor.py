"""The vector registers of the processor that Numba compiles for: how wide they are, and how many.

A kernel that would keep more vectors than there are registers spends its time on writing and reading them.
"""

from __future__ import annotations

import platform

from numba import config
from numba.core.codegen import get_host_cpu_features


def _registers() -> tuple[int, int]:
    """How many bytes a vector register has, and how many registers there are, where Numba compiles for."""
    if platform.machine().lower() in ("aarch64", "arm64"):
        return 16, 32
    features = get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES
    names = features.split(",")
    if "+avx512f" in names:
        return 64, 32
    return (32, 16) if "+avx" in names else (16, 16)


BYTES, REGISTERS = _registers()
