"""Folders that are no collection with a sub-folder for each class, though they look like one: what to name instead."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from scratchnet.errors import InputError, listed, quoted

PARTS = {"train", "training", "test", "testing", "valid", "validation", "val", "dev", "eval", "evaluation"}


def check_table(root: Path) -> None:
    """Raise `InputError` where a published data set has everything but its metadata."""
    audio = root / "audio"
    below = [path.name for path in audio.iterdir() if path.is_dir()] if audio.is_dir() else []
    if below and all(re.fullmatch(r"fold\d+", name) for name in below):
        raise InputError(f"{root} looks like UrbanSound8K without metadata/UrbanSound8K.csv: put it there")
    if audio.is_dir() and not below and (root / "meta").is_dir():
        raise InputError(f"{root} looks like ESC-50 without meta/esc50.csv: put it there")


def check_classes(root: Path, names: Mapping[str, Sequence[str]]) -> None:
    """Raise `InputError` where the sub-folders are folds, parts of a data set, or one that has the classes in it;
    `names`: class → files."""
    if all(re.fullmatch(r"fold[ _-]?\d+", name, re.IGNORECASE) for name in names):
        whole = root.parent if (root.parent / "metadata").is_dir() else "the folder that has UrbanSound8K.csv, too"
        raise InputError(
            f"{root} has folds, and no classes: of UrbanSound8K, name {whole}; else sort the sounds by class"
        )
    every = [path for paths in names.values() for path in paths]
    if len(names) == 1:
        _one_class(root, *next(iter(names.items())))
    elif {name.lower() for name in names} <= PARTS and all("/" in path.partition("/")[2] for path in every):
        first, *_, last = (quoted(root / name) for name in sorted(names, key=_training_first))
        words = f"train with --data {first}, then scratchnet evaluate RUN --data {last}"
        raise InputError(f"{root} has {listed(list(names))}, parts of a data set and no classes: {words}")


def _training_first(name: str) -> tuple[bool, bool, str]:
    return not name.lower().startswith("train"), name.lower().startswith("test"), name


def _one_class(root: Path, name: str, paths: Sequence[str]) -> None:
    """Raise `InputError` where the one class has folders: an unpacked archive often has the classes further down."""
    while inner := sorted({path.split("/")[1] for path in paths if path.count("/") > 1}):
        if len(inner) > 1:
            hint = f"if {listed(inner, 3)} are the classes, name {root / name}"
            raise InputError(f"{root} has the one class {name!r}: {hint}")
        root, name, paths = root / name, inner[0], [path.partition("/")[2] for path in paths]
