"""The machine that a run is made on, in words."""

from __future__ import annotations

import platform
from pathlib import Path


def processor() -> str:
    """Its processor's name, as far as the system tells."""
    return from_table("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()


def from_table(path: str, key: str) -> str:
    """What stands behind the first `key:` of a table in Linux's /proc; nothing elsewhere."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")
