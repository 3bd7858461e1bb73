"""What data is by its files: names, sizes, times, labels and folds; and which files the system kept back.

A file may be there and yet not be readable for a while: a drive that is away, a permission. It then counts as another
file than the same one once it can be read, so that it is tried again. What opening it does not tell is noted beside the
cache.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from hashlib import sha256
from pathlib import Path
from typing import Any

from scratchnet.data.source import Source
from scratchnet.errors import InputError
from scratchnet.sound.io import load_clip, may_pass


def fingerprint(source: Source, files: list[list[Any]] | None = None, shut: Collection[str] = ()) -> str:
    """What the data is: every file's path, size, time of change, label and fold. Equal for equal data, else not.

    A file that cannot be read, when it is opened or (`shut`) later, counts as another than the same one once it can: it
    is tried again then. `files`: what `files_of` has found already.
    """
    files = [row + ["shut"] if row[0] in shut and "shut" not in row else row for row in files or files_of(source)]
    return digest([source.name, source.classes, files, source.unusable])


def files_of(source: Source) -> list[list[Any]]:
    """Path, size, time of change, label and fold of every clip's file; "shut" behind them where it does not open."""
    found = []
    for clip in source.clips:
        path = source.root / clip.path
        stat, kept = path.stat(), [] if _opens(path) else ["shut"]
        found.append([clip.path, stat.st_size, stat.st_mtime_ns, clip.label, clip.fold, *kept])
    return found


def _opens(path: Path) -> bool:
    try:
        path.open("rb").close()
    except OSError:
        return False
    return True


def digest(value: Any) -> str:
    """Of anything that JSON can hold, in hexadecimal digits."""
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def note_shut(cache: Path, paths: Collection[str]) -> None:
    """Beside where a cache would be: which files could not be read to the end when it was made."""
    _note(cache).write_text(json.dumps(sorted(paths)), encoding="utf-8")


def still_shut(source: Source, cache: Path, sample_rate: int) -> set[str]:
    """Those of a note's files of which that is still so."""
    try:
        noted = json.loads(_note(cache).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    return {path for path in noted if _fails(source.root / path, sample_rate)}


def _note(cache: Path) -> Path:
    return cache.with_name(f"{cache.name}.shut")


def _fails(path: Path, sample_rate: int) -> bool:
    try:
        load_clip(path, sample_rate)
    except InputError as error:
        return may_pass(error)
    return False
