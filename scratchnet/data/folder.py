"""Any collection of sounds: a folder with one sub-folder for each class.

Such a collection has no folds, so they are made: always the same, balanced by class, and with the files that were cut
from one recording in one fold where their names tell (else a network is tested on recordings that it knows).
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from dataclasses import replace
from hashlib import sha256
from pathlib import Path, PurePosixPath

from scratchnet.data import mistaken
from scratchnet.data.source import AUDIO, FOREIGN, Clip, Source, in_order, make_source, sounds_below
from scratchnet.errors import InputError, check_utf8, listed
from scratchnet.sound.io import unreadable

FOLDS = 5
# Names of ESC-50 (FOLD-FREESOUNDID-TAKE[-TARGET]) and UrbanSound8K (FREESOUNDID-CLASS-OCCURRENCE-SLICE). Neither pads
# numbers with zeros, and a year is no Freesound number: 2024-05-17-01 and 2024-5-17-1 are dates.
FREESOUND = (
    re.compile(r"\d-(\d+)-[A-Z](?:-\d+)?"),
    re.compile(r"(?!(?:19|20)\d\d-)([1-9]\d{2,})-\d-(?:0|[1-9]\d*)-(?:0|[1-9]\d*)"),
)
# A number of a part behind the recording's name: "rain_03", "rain-part2", "rain (2)", "rain.7".
WORD = "(?:part|seg|segment|chunk|slice|clip|take)"
PART = re.compile(rf"(.+?)(?: *\(\d+\)|[ _.-]+{WORD}?[ _.-]*\d+)", re.IGNORECASE)
PART_ALONE = re.compile(rf"{WORD}[ _.-]*\d+", re.IGNORECASE)  # "part_3": the recording's name is its folder's


def freesound_id(stem: str) -> str | None:
    """The Freesound recording that a file was cut from, where its name follows ESC-50 or UrbanSound8K."""
    matches = (pattern.fullmatch(stem) for pattern in FREESOUND)
    return next((match.group(1) for match in matches if match), None)


def without_part(stem: str) -> str:
    """The name without a part's number behind it: "rain_03" -> "rain", "rain" -> "rain"."""
    match = PART.fullmatch(stem)
    return match.group(1) if match else stem


def recordings(names: dict[str, list[str]], folds: int = FOLDS) -> dict[str, str]:
    """File path -> recording, for the files of each class: {class: [path]}, paths beginning with the class's folder.

    A Freesound number always tells. Else a recording is a name without a part's number, in whatever folder below the
    class's, or, of files called part_1, part_2, ..., such a folder. That holds only where it leaves a class enough
    recordings for its folds: where all files are called dog_001, dog_002, ... the number just counts, and each file
    stands for itself.
    """
    result = {}
    for label, paths in names.items():
        counted = {}
        for path in map(PurePosixPath, paths):
            number = freesound_id(path.stem)
            if number is not None:
                result[str(path)] = f"freesound {number}"
            elif PART_ALONE.fullmatch(path.stem) and len(path.parts) > 2:
                counted[str(path)] = str(path.parent)
            else:
                counted[str(path)] = f"{label}/{without_part(path.stem)}"
        enough = len(set(counted.values())) >= min(folds, len(counted))
        result.update(counted if enough else {path: path for path in counted})
    return result


def make_folds(clips: list[tuple[str, int, str]], folds: int = FOLDS) -> dict[str, int]:
    """Recording -> fold (1 .. folds) for clips (path, label, recording).

    The largest recordings are dealt out first, each to the fold that has least of its class so far. Ties are broken by
    the name's hash, so that an order in the names (by date, say) does not become an order of the folds.
    """
    contents: dict[str, Counter[int]] = defaultdict(Counter)
    for _, label, recording in clips:
        contents[recording][label] += 1
    order = sorted(contents, key=lambda name: (-contents[name].total(), sha256(name.encode()).digest()))
    of_class = [Counter[int]() for _ in range(folds)]
    result = {}
    for recording in order:
        labels = contents[recording]
        fold = min(range(folds), key=lambda f: (sum(of_class[f][label] for label in labels), of_class[f].total(), f))
        of_class[fold].update(labels)
        result[recording] = fold + 1
    return result


def holds_runs(folder: Path) -> bool:
    """Whether a folder is a run's, or one is at any depth in it: who trains in the data's folder has runs/ there. So
    has who stopped `experiments.reproduce` before its first run."""
    runs = (config for config in folder.rglob("config.json") if (config.parent / "checkpoint").is_dir())
    return any(runs) or any(folder.rglob("experiments.json"))


def _beside(root: Path) -> tuple[str, ...]:
    """The sound files beside the classes' folders, by names that can be written down."""
    sounds = (path.name for path in root.iterdir() if path.suffix.lower() in AUDIO | FOREIGN and path.is_file())
    names = (os.fsencode(name).decode("utf-8", "backslashreplace") for name in sounds if not name.startswith("."))
    return tuple(sorted(names))


def read(root: Path, folds: int = FOLDS) -> Source:
    """Read the sub-folders as classes, sounds at any depth in them. Raises `InputError` as `make_source`.

    Hidden files, files of other kinds and folders of runs are passed over; sounds of formats that libsndfile does not
    read are among the `unusable`.
    """
    folders = sorted((p for p in root.iterdir() if p.is_dir() and not p.name.startswith((".", "__"))), key=in_order)
    sounds = {folder: sounds_below(folder) for folder in folders}
    sounds = {folder: paths for folder, paths in sounds.items() if paths or not holds_runs(folder)}
    mistaken.check_table(root, [folder.name for folder, paths in sounds.items() if paths])
    if not sounds:
        raise InputError(f"{root} has no sub-folder: put the sound files of each class into a folder of its own there")
    if empty := [folder.name for folder, paths in sounds.items() if not paths]:
        words = "each sub-folder is a class: add some there, or remove the folder"
        raise InputError(f"{root} has no sound file in {listed(empty)}, and {words}")
    names: dict[str, list[str]] = {}
    unusable = []
    for folder, paths in sounds.items():
        local = [path.relative_to(root).as_posix() for path in paths]
        check_utf8(local, root)
        names[folder.name] = [name for name in local if Path(name).suffix.lower() in AUDIO]
        if not names[folder.name]:
            what = f"a sound file that libsndfile reads: convert {paths[0].name}"
            raise InputError(f"{folder} is a class without {what}, or remove the folder")
        unusable += [(name, unreadable(name)) for name in local if Path(name).suffix.lower() in FOREIGN]
    mistaken.check_classes(root, names)
    recording = recordings(names, folds)
    labelled = [(path, label, recording[path]) for label, paths in enumerate(names.values()) for path in paths]
    fold = make_folds(labelled, folds)
    clips = [Clip(path, label, fold[recording], recording) for path, label, recording in labelled]
    source = make_source("folder", root, list(names), clips, unusable)
    return replace(source, beside=_beside(root))
