"""Folders that are made beside their place, by one process at a time, and renamed when they are whole."""

from __future__ import annotations

import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from scratchnet.errors import say
from scratchnet.interrupt import as_ctrl_c
from scratchnet.lock import abandoned, alone

STALE = 24 * 3600.0  # seconds after which a draft is taken for what a killed process left, where locks do not tell
DRAFT = re.compile(r"\.(.+)-[a-z0-9_]{8}\.(\w+)\.draft")  # .NAME-RANDOM.MACHINE.draft
HERE = re.sub(r"\W", "_", platform.node()) or "here"  # a lock of another machine cannot be seen on every network drive


@contextmanager
def draft_of(target: Path) -> Iterator[Path]:
    """A new folder beside `target` to make that in; it is gone afterwards unless it was renamed, however this ends.

    One process at a time: the others wait, and should then look whether `target` is there.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with as_ctrl_c(), alone(_lock_of(target.name, target.parent), lambda: _say_waiting(target)) as sure:
        _remove_stale(target, sure)
        draft = Path(tempfile.mkdtemp(f".{HERE}.draft", f".{target.name}-", target.parent))
        try:
            yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _lock_of(name: str, folder: Path) -> Path:
    return folder / f".{name}.lock"


def _say_waiting(target: Path) -> None:
    say(f"another process makes {target} already: waiting for it")


def _remove_stale(target: Path, sure: bool) -> None:
    """Take drafts away that killed processes left, of `target`, which nobody else makes if `sure`, and beside it."""
    for folder in target.parent.glob(".*.draft"):
        if (match := DRAFT.fullmatch(folder.name)) is None:
            continue
        (name, machine), left = match.groups(), None
        if machine == HERE:
            left = (sure or None) if name == target.name else abandoned(_lock_of(name, target.parent))
        if left or (left is None and _age(folder) > STALE):
            shutil.rmtree(folder, ignore_errors=True)


def _age(folder: Path) -> float:
    """Seconds since anything in it was written."""
    times = []
    for path in (folder, *folder.rglob("*")):
        with suppress(OSError):
            times.append(path.stat().st_mtime)
    return time.time() - max(times, default=time.time())
