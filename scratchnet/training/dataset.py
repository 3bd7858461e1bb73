"""What a run learns from: its source, opened; its segments, prepared or found in the cache; its folds."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from scratchnet.cache_folder import cache_folder
from scratchnet.data import Segments, Source, open_source, prepare
from scratchnet.data.cut import TOO_SHORT
from scratchnet.data.mistaken import further_down
from scratchnet.data.split import check_folds, fold_before
from scratchnet.errors import InputError, say
from scratchnet.sound.workers import cores
from scratchnet.training.config import Config
from scratchnet.training.screen import Screen


def called(name: str, folder: str | None) -> str:
    """What a run calls its data: the data set's name, or of a collection of the user's own that of its folder."""
    own = Path(os.path.abspath(folder)).name if name == "folder" and folder is not None else ""
    return own or name


def open_data(config: Config, screen: Screen, classes: int = 2) -> Source:
    """The data source of the settings. Raises `InputError` as `open_source`, and where it has not so many `classes`."""
    if config.data is not None:
        source = open_source(config.data, subset=config.subset)
        if len(source.classes) < classes:
            what = f"{source.root} has the one class {source.classes[0]!r}"
            raise InputError(f"{what}: {further_down(source) or 'a classifier needs at least two'}")
        return source
    progress = _Progress(screen, "making the synthetic sounds")
    try:
        return open_source(None, subset=config.subset, workers=_workers(config), progress=progress)
    finally:
        screen.close()


def prepare_data(config: Config, source: Source, screen: Screen) -> Segments:
    """The segments of a source, made now or found in the cache; bad files are named."""
    progress, workers = _Progress(screen, "preparing segments"), _workers(config)
    sound, augmentation = config.sound(), config.augmentation()
    try:
        segments = prepare(source, sound, augmentation, strict=config.strict, workers=workers, progress=progress)
    finally:
        screen.close()
    short = [path for path, reason in segments.skipped if TOO_SHORT in reason]
    for path, reason in segments.skipped:
        if path not in short or len(short) < 4:
            screen.say(f"skipped: {reason if str(path) in reason else f'{path}: {reason}'}")
    if len(short) > 3:
        screen.say(f"skipped: {len(short)} clips shorter than a segment, as {short[0]}; --short pad keeps them")
    if segments.skipped:
        words = f"{len(segments.skipped)} of {len(segments.skipped) + len(segments.clips)} files skipped"
        screen.say(words)
        if screen.quiet:
            say(f"{words}; the first: {segments.skipped[0][1]}")
    return segments


def _workers(config: Config) -> int:
    """Threads that prepare data: `--threads`, but no more than cores, for each holds a recording."""
    return min(config.threads or cores(), cores())


class _Progress:
    """Opens a bar (or says a line) when the work turns out to be needed, not before."""

    def __init__(self, screen: Screen, text: str) -> None:
        self.screen, self.text, self.opened = screen, text, False

    def __call__(self, done: int, total: int) -> None:
        if not self.opened:
            self.opened = True
            self.screen.say(f"{self.text}: {total} clips, once; kept in {cache_folder()}")
            self.screen.progress(self.text, total, "clip")
        self.screen.advance(done)


def folds_of(folds: Iterable[int], config: Config) -> list[tuple[int, int]]:
    """(test fold, validation fold) of every split to run: all for `--cv`, else the last fold or the one asked for."""
    folds = sorted({int(fold) for fold in folds})
    check_folds(folds)
    tests = folds if config.cv else [folds[-1] if config.test_fold is None else config.test_fold]
    pairs = []
    for test in tests:
        if test not in folds:
            raise InputError(f"--test-fold {test}: the data has folds {', '.join(map(str, folds))}")
        valid = fold_before(test, folds) if config.valid_fold is None else config.valid_fold
        if valid not in folds:
            raise InputError(f"--valid-fold {valid}: the data has folds {', '.join(map(str, folds))}")
        pairs.append((test, valid))
    return pairs


def copies(segments: Segments) -> list[tuple[str, str]]:
    """(clip, one after it of the same contents) in another fold, or of another class."""
    first: dict[str, tuple[str, int, int]] = {}
    found = []
    clips = zip(
        segments.clips, segments.contents, segments.clip_fold.tolist(), segments.clip_label.tolist(), strict=True
    )
    for clip, content, *place in clips:
        known, *its_place = first.setdefault(content, (clip, *place))
        if its_place != place:
            found.append((known, clip))
    return found


def check_classes(segments: Segments, splits: list[tuple[int, int]]) -> None:
    """Raise `InputError` where a split leaves a single class to train on."""
    for split in splits:
        if len(set(segments.clip_label[~np.isin(segments.clip_fold, split)].tolist())) < 2:
            raise InputError(
                f"without folds {split[0]} and {split[1]} there is one class alone to train on: add recordings, or cut "
                "long ones into several files"
            )


def without(segments: Segments, fold: int) -> list[str]:
    """The classes that a fold has no clip of."""
    there = set(segments.clip_label[segments.clip_fold == fold].tolist())
    return [name for label, name in enumerate(segments.classes) if label not in there]


def untrained(segments: Segments, splits: list[tuple[int, int]]) -> list[str]:
    """The classes that some split (test fold, validation fold) has no clip of in training."""
    learned = [set(segments.clip_label[~np.isin(segments.clip_fold, split)].tolist()) for split in splits]
    return [name for label, name in enumerate(segments.classes) if not all(label in labels for labels in learned)]
