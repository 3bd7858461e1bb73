"""Where what is made of recordings, and of kernels, is kept."""

from __future__ import annotations

import glob
import math
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from scratchnet.errors import InputError, say
from scratchnet.interrupt import as_ctrl_c
from scratchnet.lock import held, is_held, wait_for

STALE = 24 * 3600.0  # seconds after which a draft is taken for what a killed process left, where locks do not tell
NEW = 60.0  # seconds in which a draft that nobody holds may be one that is about to be held
DRAFT = re.compile(r"\.[a-z0-9]+-[0-9a-f]{20}-\w{8}")  # beside what it will be: .esc10-0123456789abcdef0123-x1y2z3a4


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


@contextmanager
def draft_of(target: Path) -> Iterator[Path]:
    """A new folder beside `target` to make that in; it is gone afterwards unless it was renamed, however this ends."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(target)
    with as_ctrl_c():
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            with held(draft, wait=True):  # somebody may just look whether it is held
                yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def wait_for_others(target: Path) -> None:
    """Where another process makes `target`, wait until it has, or has given up."""
    for draft in target.parent.glob(f".{glob.escape(target.name)}-*"):
        if is_held(draft):
            say(f"another process makes {target} already: waiting for it")
            wait_for(draft)


def _remove_stale(target: Path) -> None:
    """Take drafts away that killed processes left: those of `target`, and of other prepared data beside it."""
    for folder in target.parent.glob(".*-*"):
        if not (folder.name.startswith(f".{target.name}-") or DRAFT.fullmatch(folder.name)):
            continue
        with suppress(OSError):
            age = time.time() - max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
            if age > {True: math.inf, False: NEW, None: STALE}[is_held(folder)]:
                shutil.rmtree(folder, ignore_errors=True)
