"""What is odd about a run's data and folds: told before it begins, and on its page beside the scores."""

from __future__ import annotations

import numpy as np

from scratchnet.data import Segments, Source
from scratchnet.errors import listed
from scratchnet.training import dataset
from scratchnet.training.config import Config

UNEQUAL = 10  # times as many clips of one class as of another, from which `--balanced` is worth a word
LARGE = 0.25  # of all segments, from which one recording decides the scores
MANY = 10  # recordings, from which that is odd


def remarks(config: Config, source: Source, segments: Segments, splits: list[tuple[int, int]]) -> list[tuple[str, str]]:
    """(what it is about, in words) of all that a reader of the scores has to know; `splits`: (test, validation)."""
    found = {
        "copies": _copies(segments, splits),
        "absent": _absent(config, source, splits),
        "folds": _parted(source, splits),
        "classes": _classes(config, segments, splits),
        "length": _length(source, segments, splits),
        "files": _beside(source),
    }
    return [(head, words) for head, those in found.items() for words in those]


def _copies(segments: Segments, splits: list[tuple[int, int]]) -> list[str]:
    """Copies in a test fold and in another, or of two classes, one of which must be wrong."""
    tests = {test for test, _ in splits}
    place = dict(zip(segments.clips, zip(segments.clip_fold.tolist(), segments.clip_label.tolist())))
    twins = [
        (first, second)
        for first, second in dataset.copies(segments)
        if place[first][1] != place[second][1] or not tests.isdisjoint((place[first][0], place[second][0]))
    ]
    if not twins:
        return []
    first, second = twins[0]
    many = "1 recording is a copy" if len(twins) == 1 else f"{len(twins)} recordings are copies"
    words = f"{many} of one in another fold or class, as {second} of {first}"
    return [f"{words}: keep one of each, or the scores mislead"]


def _absent(config: Config, source: Source, splits: list[tuple[int, int]]) -> list[str]:
    """Folds of the metadata that no file is there of: where it is the last, another is tested on."""
    last = max(*source.folds, *source.absent_folds, 0)
    instead = last if config.test_fold is None and not config.cv else None
    then = {fold: "it takes no part" for fold in source.absent_folds}
    then |= {instead: f"tested on fold {splits[0][0]} instead"} if instead in then else {}
    return [f"no file of fold {fold} is there: {words}" for fold, words in then.items()]


def _parted(source: Source, splits: list[tuple[int, int]]) -> list[str]:
    """Recordings of which a test fold has clips, and another fold, too."""
    folds: dict[str, set[int]] = {}
    for clip in source.clips:
        folds.setdefault(clip.group, set()).add(clip.fold)
    tests = {test for test, _ in splits}
    parted = [group for group, its in folds.items() if len(its) > 1 and its & tests]
    if not parted:
        return []
    words = f"clips of one recording are in the test fold and in others, of {len(parted)} of {len(folds)} recordings"
    return [f"{words}, as {parted[0]}: of these the scores are too good"]


def _classes(config: Config, segments: Segments, splits: list[tuple[int, int]]) -> list[str]:
    found = []
    if names := dataset.untrained(segments, splits):
        where = "training on some fold" if config.cv else "training"
        found.append(f"without a clip in {where}: {listed(names)}; to be learned, they need more recordings")
    clips = np.bincount(segments.clip_label)
    if clips.max() > UNEQUAL * clips.min() and not config.balanced:
        found.append(f"of {clips.min()} to {clips.max()} clips: --balanced takes them equally often")
    tests = sorted({test for test, _ in splits})
    if names := [name for name in segments.classes if any(name in dataset.without(segments, fold) for fold in tests)]:
        where = "some test fold" if config.cv else "the test fold"
        found.append(f"without a clip in {where}: {listed(names)}; its scores are of the others alone")
    if not config.cv and (names := dataset.without(segments, splits[0][1])):
        found.append(f"without a clip in the validation fold: {listed(names)}; its scores are of the others alone")
    return found


def _length(source: Source, segments: Segments, splits: list[tuple[int, int]]) -> list[str]:
    """Folds are even by clips: a very long recording fills its fold, in however many files it is."""
    groups = {clip.path: clip.group for clip in source.clips}
    owners = [groups.get(clip, clip) for clip in segments.clips]
    names, owner = np.unique(owners, return_inverse=True)
    counts = np.bincount(owner[segments.clip[segments.originals]], minlength=len(names))
    most, share = int(counts.argmax()), counts.max() / counts.sum()
    if len(names) < MANY or share < LARGE:
        return []
    its = np.flatnonzero(owner == most)
    whose = segments.clips[its[0]] + (f" and {len(its) - 1} more of its recording" if len(its) > 1 else "")
    tested = segments.clip_fold[its[0]] in {test for test, _ in splits}
    has, mend, s = ("has", "shorten it", "s") if len(its) == 1 else ("have", "keep fewer", "")
    why = f"decide{s} the scores" if tested else f"outweigh{s} the others"
    return [f"{whose} {has} {share:.0%} of all segments, and {why}: {mend}"]


def _beside(source: Source) -> list[str]:
    if not source.beside:
        return []
    return [f"in no class's folder, and not used: {listed(source.beside)}"]
