"""UrbanSound8K (Salamon, Jacoby, Bello 2014): `metadata/UrbanSound8K.csv` and `audio/fold1` ... `audio/fold10`.

The folds are the authors' and are kept as they are: slices of one recording share one, which a new draw would undo.
"""

from __future__ import annotations

from pathlib import Path

from scratchnet.data.source import Clip, Source, make_source, read_table, whole_number
from scratchnet.errors import InputError

TABLE = Path("metadata") / "UrbanSound8K.csv"


def recognise(root: Path) -> bool:
    """Whether `root` is laid out like this data set."""
    return (root / TABLE).is_file()


def read(root: Path, name: str = "urbansound8k") -> Source:
    """Read the metadata table. Raises `InputError` as `make_source`, or for a table that is not in order."""
    path = root / TABLE
    names: dict[int, str] = {}
    rows = []
    for row in read_table(path, ("slice_file_name", "fsID", "fold", "classID", "class")):
        number = whole_number(row, "classID", path)
        if names.setdefault(number, row["class"]) != row["class"]:
            raise InputError(f"{path}: class {number} is called {names[number]!r} and {row['class']!r}: correct it")
        rows.append((row["slice_file_name"], number, whole_number(row, "fold", path), row["fsID"]))
    order = sorted(names)
    clips = [
        Clip(f"audio/fold{fold}/{file}", order.index(number), fold, recording) for file, number, fold, recording in rows
    ]
    return make_source(name, root, [names[number] for number in order], clips)
