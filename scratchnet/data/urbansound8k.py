"""UrbanSound8K (Salamon, Jacoby, Bello 2014): `metadata/UrbanSound8K.csv` and `audio/fold1` ... `audio/fold10`, or
`UrbanSound8K.csv` and `fold1` ... `fold10` side by side, as some copies have them.

The folds are the authors' and are kept as they are: slices of one recording share one (but for five recordings of
1297), which a new draw would undo.
"""

from __future__ import annotations

from pathlib import Path

from scratchnet.data.source import Clip, Source, class_names, make_source, read_table, whole_number

TABLE = "UrbanSound8K.csv"


def recognise(root: Path) -> bool:
    """Whether `root` is laid out like this data set."""
    return _is_original(root) or ((root / TABLE).is_file() and (root / "fold1").is_dir())


def _is_original(root: Path) -> bool:
    return (root / "metadata" / TABLE).is_file()


def read(root: Path, name: str = "urbansound8k") -> Source:
    """Read the metadata table. Raises `InputError` as `make_source`, or for a table that is not in order."""
    flat = not _is_original(root)
    path = root / TABLE if flat else root / "metadata" / TABLE
    rows = read_table(path, ("slice_file_name", "fsID", "fold", "classID", "class"))
    numbers, folds = ([whole_number(row, column, path) for row in rows] for column in ("classID", "fold"))
    names = class_names(numbers, (row["class"] for row in rows), path)
    order = list(names)
    clips = [
        Clip(f"{'' if flat else 'audio/'}fold{fold}/{row['slice_file_name']}", order.index(number), fold, row["fsID"])
        for row, number, fold in zip(rows, numbers, folds)
    ]
    return make_source(name, root, list(names.values()), clips)
