"""ESC-10 as first published (Piczak 2015): folders `NNN - class name`, files `FOLD-FREESOUNDID-TAKE.ogg`.

The first publication of ESC-50 is laid out alike and is read here too.
"""

from __future__ import annotations

import re
from pathlib import Path

from scratchnet.data.source import AUDIO, FOREIGN, Clip, Source, make_source, sounds_below
from scratchnet.errors import InputError
from scratchnet.sound.io import unreadable

FOLDER = re.compile(r"(\d{3}) ?- ?(.+)")
FILE = re.compile(r"(\d{1,9})-(\d+)-([A-Z]+)")


def _class_folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and FOLDER.fullmatch(path.name))


def _sounds(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in AUDIO and not path.name.startswith("."))


def recognise(root: Path) -> bool:
    """Whether `root` is laid out like this data set."""
    folders = _class_folders(root)
    named = [FILE.fullmatch(path.stem) is not None for folder in folders for path in _sounds(folder)]
    return bool(named) and 2 * sum(named) >= len(named)


def read(root: Path) -> Source:
    """Read folds and recordings from the file names. Raises `InputError` as `make_source`, or for an empty class."""
    folders = _class_folders(root)
    clips, unusable = [], []
    for label, folder in enumerate(folders):
        sounds = _sounds(folder)
        if not sounds:
            raise InputError(f"{folder} is a class without a sound file: add some, or remove the folder")
        for path in sounds:
            name = f"{folder.name}/{path.name}"
            if match := FILE.fullmatch(path.stem):
                clips.append(Clip(name, label, int(match.group(1)), match.group(2)))
            else:
                unusable.append((name, f"{path} is not named FOLD-FREESOUNDID-TAKE, so its fold is unknown: rename it"))
    used = {clip.path for clip in clips} | {name for name, _ in unusable}
    for path in sounds_below(root):
        if (name := path.relative_to(root).as_posix()) in used:
            continue
        if path.suffix.lower() in FOREIGN:
            unusable.append((name, unreadable(path)))
        else:
            unusable.append((name, f"{path} does not lie right in a folder called NNN - class name: move it into one"))
    names = [FOLDER.fullmatch(folder.name).group(2) for folder in folders]  # type: ignore[union-attr]
    return make_source("esc10" if len(folders) <= 10 else "esc50", root, names, clips, unusable)
