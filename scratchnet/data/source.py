"""What a data source tells: its classes, its clips, their folds. The audio itself is read later, by `cut.py`."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

from scratchnet.errors import InputError, check_utf8

# What libsndfile reads, by the names that such files usually have.
AUDIO = {".wav", ".wave", ".bwf", ".amb", ".ogg", ".oga", ".opus", ".flac", ".mp3", ".mp2", ".mpga", ".aif", ".aiff"}
AUDIO |= {".aifc", ".au", ".snd", ".caf", ".w64", ".rf64", ".voc", ".sph", ".nist", ".avr", ".htk", ".iff", ".svx"}
AUDIO |= {".8svx", ".16sv", ".pvf", ".paf", ".fap", ".sf", ".ircam", ".xi", ".sds", ".sd2", ".wve", ".mpc", ".gsm"}
AUDIO |= {".vox"}
# Sound as well, which it does not read.
FOREIGN = {".m4a", ".m4b", ".mp4", ".aac", ".alac", ".wma", ".ape", ".amr", ".mka", ".weba", ".webm", ".3gp", ".ac3"}
FOREIGN |= {".dts", ".dsf", ".dff", ".wv", ".tta", ".tak", ".ra", ".rm", ".spx"}


@dataclass(frozen=True)
class Clip:
    """One sound file: its path relative to the source's root, class index, fold, and the recording it was cut from."""

    path: str
    label: int
    fold: int
    group: str


@dataclass(frozen=True)
class Source:
    """A data set on disk. `unusable`: (path, reason) of files known from the start to be of no use, as absent ones."""

    name: str
    root: Path
    classes: tuple[str, ...]
    codes: tuple[str, ...]
    clips: list[Clip]
    folds: tuple[int, ...]
    beside: tuple[str, ...] = ()  # sound files in no class's folder, which are not used
    absent_folds: tuple[int, ...] = ()  # of which the metadata name files, and none is there
    unusable: tuple[tuple[str, str], ...] = ()


def names_digest(source: Source) -> str:
    """What the data is by name: equal for a copy elsewhere."""
    clips = [(clip.path, clip.label, clip.fold) for clip in source.clips]
    return sha256(json.dumps([source.name, source.classes, clips]).encode()).hexdigest()[:32]


def make_source(
    name: str, root: Path, classes: Sequence[str], clips: list[Clip], unusable: Sequence[tuple[str, str]] = ()
) -> Source:
    """Put clips that may or may not be there into order, and sort the absent ones out.

    Raises `InputError` where no clip is named, none is there, a class has none, or one is named twice.
    """
    if not clips:
        raise InputError(f"{root} names no sound file: put the {name} data set there, or name its folder")
    check_utf8([*classes, *(clip.path for clip in clips)], root)
    for what, names in (("class", classes), ("sound file", [clip.path for clip in clips])):
        if twice := [one for one, count in Counter(names).items() if count > 1]:
            raise InputError(f"{root} has the {what} {twice[0]!r} twice: rename one, or leave it out")
    there = _files_below(root, {os.path.dirname(clip.path) for clip in clips})
    found = [clip for clip in clips if clip.path in there]
    absent = [(clip.path, _absent(root / clip.path)) for clip in clips if clip.path not in there]
    if not found:
        raise InputError(
            f"{root} has the metadata of {name}, but none of the {len(clips)} sound files it names "
            f"(the first: {clips[0].path}): put the audio beside it"
        )
    empty = [name for label, name in enumerate(classes) if all(clip.label != label for clip in found)]
    if empty:
        raise InputError(f"{root}: class {empty[0]!r} has no sound file: add some, or remove the class")
    found.sort(key=lambda clip: (clip.fold, clip.label, clip.path))
    folds = {clip.fold for clip in found}
    lost = tuple(sorted({clip.fold for clip in clips} - folds))
    every = (*unusable, *absent)
    return Source(name, root, tuple(classes), codes(classes), found, tuple(sorted(folds)), (), lost, every)


def _absent(path: Path) -> str:
    return f"{path} is {'a link that leads nowhere: remove it' if path.is_symlink() else 'listed, but not there'}"


def unreadable_folder(error: OSError) -> InputError:
    """What to say of a folder that cannot be listed."""
    what = "its permissions" if isinstance(error, PermissionError) else "it"
    return InputError(f"{error.filename} cannot be read ({error.strerror}): see to {what}")


def _stop(error: OSError) -> NoReturn:
    raise unreadable_folder(error) from error


def in_order(path: Path) -> tuple[str, ...]:
    """What paths are sorted by, the same on every system: Windows' own order takes capitals for small letters."""
    return path.parts


def sounds_below(folder: Path, onerror: Callable[[OSError], Any] = _stop) -> list[Path]:
    """The files at any depth in a folder that are sound by their names, `AUDIO` or `FOREIGN`, sorted.

    Hidden files, those in hidden folders, and pipes are left out. Links to folders are followed, to none twice.
    Raises `InputError` for a folder that cannot be read, unless `onerror` does something else with the error.
    """
    found, seen = [], set(folder.resolve().parents)
    for place, folders, files in os.walk(folder, followlinks=True, onerror=onerror):
        real = Path(place).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        # A folder itself before the links to it: its files keep their names when a link comes along.
        below = sorted((Path(place, name) for name in folders if not name.startswith(".")), key=in_order)
        folders[:] = [path.name for path in sorted(below, key=Path.is_symlink)]
        found += [Path(place, name) for name in files if not name.startswith(".")]
    sounds = [path for path in found if path.suffix.lower() in AUDIO | FOREIGN and not path.is_fifo()]
    return sorted(sounds, key=in_order)


def _files_below(root: Path, folders: Iterable[str]) -> set[str]:
    """Paths, relative to root, of all files in these folders: one listing a folder instead of one look-up a file."""
    there: set[str] = set()
    for folder in folders:
        try:
            with os.scandir(root / folder) as entries:
                listed = list(entries)
        except PermissionError as error:
            _stop(error)
        except (OSError, ValueError):  # not there, or no name of a folder
            continue
        there.update(f"{folder}/{entry.name}" if folder else entry.name for entry in listed if _is_file(entry))
    return there


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself, for one
        return False


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file. Raises `InputError` where it is no text, or lacks one of the columns or every row."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table ({error}): fetch the metadata again") from error
    if not rows:
        raise InputError(f"{path} has no row: fetch the metadata again")
    absent = [column for column in columns if column not in rows[0] or any(row[column] is None for row in rows)]
    if absent:
        raise InputError(f"{path} lacks the column {absent[0]!r}, or a value in it: fetch the metadata again")
    return rows


def whole_number(row: dict[str, str], column: str, path: Path) -> int:
    """The integer in a row's column; `InputError` naming the table where there is none, or none of a fold or class."""
    try:
        if abs(number := int(row[column])) < 2**31:
            return number
    except ValueError:
        pass
    raise InputError(f"{path}: {row[column]!r} in column {column!r} is no whole number of 32 bits: correct it")


def class_names(numbers: Iterable[int], names: Iterable[str], path: Path) -> dict[int, str]:
    """Class number -> name, in the numbers' order; `InputError` naming the table where a number has two names."""
    found: dict[int, str] = {}
    for number, name in zip(numbers, names):
        if found.setdefault(number, name) != name:
            raise InputError(f"{path}: class {number} is called {found[number]!r} and {name!r}: correct it")
    return dict(sorted(found.items()))


# Appendix A of the paper
PAPER_CODES = {
    "air_conditioner": "AI", "car_horn": "CA", "children_playing": "CH", "dog_bark": "DO", "drilling": "DR",
    "engine_idling": "EN", "gun_shot": "GU", "jackhammer": "JA", "siren": "SI", "street_music": "ST",
}  # fmt: skip


def codes(classes: Sequence[str]) -> tuple[str, ...]:
    """Two characters for each class, all different: the paper's, else the name's first letter and a later one."""
    taken: dict[str, None] = {PAPER_CODES[name]: None for name in classes if name in PAPER_CODES}
    result = []
    for number, name in enumerate(classes):
        code = PAPER_CODES.get(name)
        if code is None:
            letters = [c for c in name.upper() if c.isalnum()] or ["X"]
            wanted = [letters[0] + c for c in letters[1:] + list("0123456789")] + [f"{number % 100:02d}"]
            wanted += [a + b for a in letters for b in "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"]
            code = next((c for c in wanted if c not in taken), f"{number}")
            taken[code] = None
        result.append(code)
    return tuple(result)
