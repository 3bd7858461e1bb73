"""Data sources, the cache of segments, folds, mini-batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from scratchnet.data import esc10, esc50, folder, urbansound8k
from scratchnet.data.batches import Batches
from scratchnet.data.cache import prepare
from scratchnet.data.segments import Segments, open_cache
from scratchnet.data.source import Clip, Source, unreadable_folder
from scratchnet.data.split import split
from scratchnet.data.variants import Variants
from scratchnet.errors import InputError

__all__ = ["Batches", "Clip", "Segments", "Source", "Variants", "open_cache", "open_source", "prepare", "split"]


def open_source(
    path: str | Path | None = None,
    *,
    subset: str | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], Any] | None = None,
) -> Source:
    """The data set in a folder, recognised by its layout; None: the synthetic one, which is made on first use.

    UrbanSound8K, ESC-10 as first published, ESC-50 as published today, else one sub-folder for each class. The layouts
    of the first three are also found one folder down, where an archive was unpacked. `subset="esc10"` keeps ESC-50's
    ten classes of ESC-10. `workers` threads (None: one a core) make the synthetic set, telling `progress(done, total)`.
    Raises `InputError` where the folder is missing, empty, or holds no data set.
    """
    if subset not in (None, "esc10"):
        raise InputError(f'subset {subset!r} is unknown: "esc10" is the one there is')
    if path is None:
        from scratchnet.data import synthetic

        root = synthetic.make(synthetic.default_root(), workers=workers, progress=progress)
        source = urbansound8k.read(root, "synthetic")
    else:
        try:
            source = _read(_checked(Path(path)), subset)
        except OSError as error:
            raise unreadable_folder(error) from error
    if subset is not None and source.name != subset:
        raise InputError(f"{source.root} holds {source.name}, which has no subset {subset!r}: take --subset none")
    return source


def _checked(root: Path) -> Path:
    if not root.exists():
        raise InputError(f"{root} does not exist: name the folder of a data set")
    if not root.is_dir():
        raise InputError(f"{root} is a file: name the folder of a data set")
    try:
        if not any(root.iterdir()):
            raise InputError(f"{root} is empty: put a data set there, or name another folder")
    except OSError as error:
        raise InputError(f"{root} cannot be read ({error.strerror}): see to its permissions") from error
    return root


def _read(root: Path, subset: str | None) -> Source:
    below = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    for place in (root, *below) if len(below) <= 3 else (root,):
        if _recognised(urbansound8k, place):
            return urbansound8k.read(place)
        if _recognised(esc50, place):
            return esc50.read(place, esc10=subset == "esc10")
        if _recognised(esc10, place):
            return esc10.read(place)
    return folder.read(root)


def _recognised(layout: Any, place: Path) -> bool:
    try:
        return layout.recognise(place)
    except PermissionError:  # a folder that may not be read is none of these data sets; as a class it is named
        return False
