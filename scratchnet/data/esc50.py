"""ESC-50 as published today (Piczak 2015): `meta/esc50.csv` and `audio/*.wav`; its ESC-10 subset on request."""

from __future__ import annotations

from pathlib import Path

from scratchnet.data.source import Clip, Source, class_names, make_source, read_table, whole_number
from scratchnet.errors import InputError

TABLE = Path("meta") / "esc50.csv"


def recognise(root: Path) -> bool:
    """Whether `root` is laid out like this data set."""
    return (root / TABLE).is_file()


def read(root: Path, esc10: bool = False) -> Source:
    """Read the metadata table; `esc10` keeps the ten classes of ESC-10. Raises `InputError` as `make_source`."""
    path = root / TABLE
    rows = read_table(path, ("filename", "fold", "target", "category", "esc10", "src_file"))
    if esc10:
        rows = [row for row in rows if row["esc10"].strip().lower() == "true"]
        if not rows:
            raise InputError(f"{path} marks no file as part of ESC-10: leave the subset out")
    targets = [whole_number(row, "target", path) for row in rows]
    names = class_names(targets, (row["category"] for row in rows), path)
    order = list(names)
    clips = [
        Clip(f"audio/{row['filename']}", order.index(target), whole_number(row, "fold", path), row["src_file"])
        for row, target in zip(rows, targets)
    ]
    return make_source("esc10" if esc10 else "esc50", root, list(names.values()), clips)
