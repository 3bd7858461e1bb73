"""What is odd about a run's data and folds: told before it begins, and on its page beside the scores."""

from __future__ import annotations

import numpy as np

from scratchnet.data import Segments, Source
from scratchnet.errors import listed
from scratchnet.training import dataset
from scratchnet.training.config import Config

UNEQUAL = 10  # times as many clips of one class as of another, from which `--balanced` is worth a word
LARGE = 0.25  # of all segments, from which one recording decides the scores
MANY = 10  # clips, from which that is odd


def remarks(config: Config, source: Source, segments: Segments, splits: list[tuple[int, int]]) -> list[tuple[str, str]]:
    """(what it is about, in words) of all that a reader of the scores has to know."""
    return [("copies", words) for words in _too_good(source, segments)] + [
        *(("folds", words) for words in _folds(source, splits)),
        *(("classes", words) for words in _classes(config, segments, splits)),
        *(("length", words) for words in _length(segments)),
    ]


def _too_good(source: Source, segments: Segments) -> list[str]:
    """What is heard in training and test alike: then the scores are too good."""
    found = []
    if twins := dataset.copies(segments):
        first, second = twins[0]
        words = f"{len(twins)} recordings are copies of one in another fold or class, as {second} of {first}"
        found.append(f"{words}: keep one of each, or the scores are too good")
    folds: dict[str, set[int]] = {}
    for clip in source.clips:
        folds.setdefault(clip.group, set()).add(clip.fold)
    if parted := [group for group, its in folds.items() if len(its) > 1]:
        words = f"{len(parted)} of {len(folds)} recordings have clips in more than one fold, as {parted[0]}"
        found.append(f"{words}: of these the scores are too good")
    return found


def _folds(source: Source, splits: list[tuple[int, int]]) -> list[str]:
    """Folds of the metadata that no file is there of: the test fold is another then."""
    if not source.absent_folds:
        return []
    absent, tests = (", ".join(map(str, folds)) for folds in (source.absent_folds, (test for test, _ in splits)))
    return [f"no file of fold {absent} is there: tested on fold {tests}, which is another experiment"]


def _classes(config: Config, segments: Segments, splits: list[tuple[int, int]]) -> list[str]:
    found = []
    if names := dataset.untrained(segments, splits):
        where = "training on some fold" if config.cv else "training"
        found.append(f"without a clip in {where}: {listed(names)}; to be learned, they need more recordings")
    clips = np.bincount(segments.clip_label)
    if clips.max() > UNEQUAL * clips.min() and not config.balanced:
        found.append(f"of {clips.min()} to {clips.max()} clips: --balanced takes them equally often")
    for what, fold in zip(("test", "validation"), splits[0]) if not config.cv else ():
        if names := dataset.without(segments, fold):
            words = f"without a clip in the {what} fold: {listed(names)}"
            found.append(f"{words}; its scores are of the others alone: more recordings, or --cv, mend that")
    return found


def _length(segments: Segments) -> list[str]:
    """Folds are even by clips: a very long one fills its fold, and training or test with it."""
    counts = np.bincount(segments.clip[segments.originals], minlength=len(segments.clips))
    most, share = int(counts.argmax()), counts.max() / counts.sum()
    if len(counts) < MANY or share < LARGE:
        return []
    return [f"{segments.clips[most]} is {share:.0%} of all segments: cut or shorten it, or it decides the scores"]
