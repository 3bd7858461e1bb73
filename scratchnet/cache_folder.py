"""Where what is made of recordings, and of kernels, is kept."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path

from scratchnet.errors import InputError

STALE = 24 * 3600.0  # seconds after which a half-written folder is taken for one that a killed process left


def cache_folder() -> Path:
    """The user's cache folder; the environment variable SCRATCHNET_CACHE overrides it.

    Raises `InputError` where the user has no home.
    """
    try:
        if told := os.environ.get("SCRATCHNET_CACHE"):
            return Path(told).expanduser()
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "scratchnet"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "scratchnet"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scratchnet"
    except RuntimeError as error:
        words = "name a folder for prepared data and kernels in SCRATCHNET_CACHE"
        raise InputError(f"{str(error).rstrip('.')}: {words}") from error


DRAFT = re.compile(r"\.[a-z0-9]+-[0-9a-f]{20}-\w{8}")  # beside what it will be: .esc10-0123456789abcdef0123-x1y2z3a4


def remove_stale(target: Path) -> None:
    """Take drafts away that killed processes left: those of `target`, and of other prepared data beside it."""
    for folder in target.parent.glob(".*-*"):
        if not (folder.name.startswith(f".{target.name}-") or DRAFT.fullmatch(folder.name)):
            continue
        with suppress(OSError):
            last = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
            if time.time() - last > STALE:
                shutil.rmtree(folder, ignore_errors=True)
