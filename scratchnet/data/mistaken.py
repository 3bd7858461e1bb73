"""Folders that are no collection with a sub-folder for each class, though they look like one: what to name instead."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from scratchnet.data.source import Source
from scratchnet.errors import InputError, listed, quoted

PARTS = ("train", "dev", "val", "eval", "test")  # how the names of a data set's parts begin, in the order of their use
PART = r"(?:train(?:ing)?|dev|val(?:id(?:ation)?)?|eval(?:uation)?|test(?:ing)?)(?:[ _-]?(?:set|data|split|audio))?"


def check_table(root: Path, names: Sequence[str]) -> None:
    """Raise `InputError` where a published data set lacks its metadata alone; `names`: sub-folders with sounds."""
    if list(names) != ["audio"]:
        return
    below = [path.name for path in (root / "audio").iterdir() if path.is_dir()]
    if below and all(re.fullmatch(r"fold\d+", name) for name in below):
        raise InputError(f"{root} looks like UrbanSound8K without metadata/UrbanSound8K.csv: put it there")
    if not below and (root / "meta").is_dir():
        raise InputError(f"{root} looks like ESC-50 without meta/esc50.csv: put it there")


def check_classes(root: Path, names: Mapping[str, Sequence[str]]) -> None:
    """Raise `InputError` where the sub-folders are folds, or parts of a data set; `names`: class → files."""
    if all(re.fullmatch(r"fold[ _-]?\d+", name, re.IGNORECASE) for name in names):
        whole = root.parent if (root.parent / "metadata").is_dir() else "the folder that has UrbanSound8K.csv, too"
        raise InputError(
            f"{root} has folds, and no classes: of UrbanSound8K, name {whole}; else sort the sounds by class"
        )
    deep = all("/" in path.partition("/")[2] for paths in names.values() for path in paths)
    if len(names) > 1 and deep and all(re.fullmatch(PART, name, re.IGNORECASE) for name in names):
        first, *_, last = sorted(names, key=_in_order_of_use)
        words = f"train with --data {quoted(root / first)}, then scratchnet evaluate RUN --data {quoted(root / last)}"
        raise InputError(f"{root} has {listed(list(names))}, parts of a data set and no classes: {words}")


def _in_order_of_use(name: str) -> int:
    return next(place for place, part in enumerate(PARTS) if name.lower().startswith(part))


def further_down(source: Source) -> str:
    """Where the classes may be if the one class has folders, as in an unpacked archive; "" where it has none."""
    root, name, paths = source.root, source.classes[0], [clip.path for clip in source.clips]
    while inner := sorted({path.split("/")[1] for path in paths if path.count("/") > 1}):
        root, name, paths = root / name, inner[0], [path.partition("/")[2] for path in paths]
        if len(inner) > 1:
            return f"if {listed(inner, 3)} are the classes, name {root}"
    return ""
