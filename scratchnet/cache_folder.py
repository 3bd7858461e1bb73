"""Where what is made of recordings, and of kernels, is kept."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from scratchnet.errors import InputError


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
