"""What a run is made on: the machine, the libraries, the commit."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from scratchnet import __version__

CHECKOUT = Path(__file__).resolve().parents[2]


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


def installed(*names: str) -> dict[str, str]:
    """The versions of those of these packages that are there."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The checkout's commit, "-dirty" where it has changes of its own; nothing where there is none, or no git."""
    if not (CHECKOUT / ".git").exists():
        return ""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(
            command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # a checkout of somebody else
        return ""


@cache
def versions() -> dict[str, str]:
    """Versions of what a result depends on, and the processor; in a checkout, its commit too ("-dirty": with changes
    of its own)."""
    found = {"scratchnet": __version__, "python": platform.python_version(), "platform": platform.platform()}
    found["processor"] = processor()
    found |= installed("numpy", "numba", "scipy", "soundfile", "soxr", "cupy", "cupy-cuda12x", "cupy-cuda13x")
    return found | ({"commit": name} if (name := commit()) else {})
