"""`python -m scratchnet.evaluate RUN`: the test scores of a run, computed again from its model and the data."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scratchnet import backend
from scratchnet.cli import Parser, add_backend, add_threads, guard
from scratchnet.errors import InputError, listed, say
from scratchnet.model import Model, load, warn_if_unfinished
from scratchnet.training import metrics, run
from scratchnet.training.config import Config
from scratchnet.training.dataset import called, folds_of, open_data, prepare_data
from scratchnet.training.report import confusion_text, line, title
from scratchnet.training.resolve import convert
from scratchnet.training.runfolder import RESULT, RunFolder, resume_command
from scratchnet.training.screen import Screen


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate; returns the exit status."""
    parser = Parser(prog="python -m scratchnet.evaluate", description="Test a trained network again.")
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("--data", metavar="FOLDER", help="other recordings of the same classes, or the data moved")
    parser.add_argument("--subset", metavar="esc10|none", help="part of the data set (default: the run's)")
    add_backend(parser)
    add_threads(parser)
    parser.add_argument("--json", action="store_true", help="the scores as JSON")
    options = parser.parse(argv)
    folder, config = RunFolder.open(Path(options.run))
    own = ("data", "subset", "threads")
    given = {name: convert(name, told) for name in own if (told := getattr(options, name)) is not None}
    trained, config = config, config.with_(backend=options.backend, augment=0, **given)
    screen = Screen(quiet=options.json, closed=BrokenPipeError)
    backend.use(config.backend, config.threads)
    if options.data is None:
        run.check_data(folder, config)
    source = open_data(config, screen, classes=1)
    model = None if config.cv else _model(folder, source.classes)  # before it is worth preparing anything
    segments = prepare_data(config, source, screen)
    known, name = folder.trained_on(segments), called(segments.name, config.data)
    if model is None:
        if not known:
            raise InputError(
                f"{folder.path}: a cross-validation; name one of its folds for other data, such as {folder.fold(1)}"
            )
        folds = {k: RunFolder(folder.fold(k)) for k in _finished(folder, segments)}
        results = {
            k: _scores(_model(fold, segments.classes), segments, segments.fold == k, screen, f"{name}: test fold {k}")
            for k, fold in folds.items()
        }
        scores = metrics.gather(results)
    elif known:
        test = folds_of(segments.clip_fold, config)[0][0]
        scores = _scores(model, segments, segments.fold == test, screen, f"{name}: test fold {test}")
    else:
        learned = _learned(folder, config, trained, segments)
        scores = _scores_of_others(model, folder, segments, learned, screen, name)
    if options.json:
        print(json.dumps(scores, indent=1))
    else:
        unfinished = "" if (folder.path / RESULT).is_file() else " (not finished)"
        print(f"{title(config)}{unfinished}: {line(scores)}")
        print(confusion_text(scores))
    return 0


def _finished(folder: RunFolder, segments: Any) -> list[int]:
    folds = [int(k) for k in np.unique(segments.clip_fold)]
    done = [k for k in folds if (folder.fold(k) / RESULT).is_file()]
    if len(done) < len(folds):
        left, path = ", ".join(str(k) for k in folds if k not in done), folder.path
        words = f"{path}: not finished, without fold {left}; go on with {resume_command(path)}"
        if not done:
            raise InputError(words)
        say(words)
    return done


def _learned(folder: RunFolder, config: Config, trained: Config, segments: Any) -> np.ndarray:
    """Which clips of other data the run knows: by their contents, and by their names where the data set is the same.

    Raises `InputError` where the run's own data has changed, and the run has no record of what it knows.
    """
    record = folder.learned()
    paths = [one.data and os.path.realpath(one.data) for one in (config, trained)]
    in_place = paths[0] == paths[1]
    if record is None and in_place:
        raise InputError(
            f"{config.data or 'the synthetic sounds'}: changed since {folder.path} was trained, and part of it was "
            "learned; put back what was changed or removed, or test on others with --data"
        )
    names, digests = record or (set(), set())
    if not (in_place or segments.name == folder.about("data_name") != "folder"):  # a name tells there alone
        names = set()
    known = zip(segments.clips, segments.contents, strict=True)
    return np.array([clip in names or digest in digests for clip, digest in known])


def _model(folder: RunFolder, classes: Sequence[str]) -> Model:
    """The run's model. Raises `InputError` where data of these classes has some that it does not know."""
    model = load(folder.path, as_trained=True)
    warn_if_unfinished(folder.path, model.what)
    alike = _alike(model.classes, classes)
    if strange := sorted({alike(name) for name in classes} - {alike(name) for name in model.classes}):
        theirs = listed(model.classes)
        raise InputError(
            f"{folder.path} does not know the data's {listed(strange)}: name folders as its classes, {theirs}"
        )
    return model


def _alike(*both: Sequence[str]) -> Callable[[str], str]:
    """How names of classes are compared: however their accents are kept, unless that is all that tells two apart."""
    return _composed if all(len(set(map(_composed, names))) == len(names) for names in both) else str


def _scores_of_others(
    model: Model, folder: RunFolder, segments: Any, learned: np.ndarray, screen: Screen, name: str
) -> dict[str, Any]:
    """On all clips of other data than the run's, called `name`, but those that it has learned."""
    what, left = f"{name}: all of it, it is not the data of the run", len(learned) - int(learned.sum())
    if folder.learned() is None:
        what += " (which keeps no record of what it learned)"
    if left == 0:
        raise InputError(f"{folder.path} was trained or validated on every clip there; name others with --data")
    if left < len(learned):
        what = f"{name}: {left} of its {len(learned)} clips: the run was trained or validated on the others"
    chosen = ~learned[segments.clip]
    alike = _alike(model.classes, segments.classes)
    there = {alike(segments.classes[k]) for k in np.unique(segments.label[chosen])}
    if lacking := [name for name in model.classes if alike(name) not in there]:
        say(f"none of these clips is of {listed(lacking)}: the scores are those of the other classes")
    if screen.quiet:
        say(f"{what}, {chosen.sum()} segments")
    return _scores(model, segments, chosen, screen, what)


def _scores(model: Model, segments: Any, chosen: np.ndarray, screen: Screen, what: str) -> dict[str, Any]:
    """Scores on the segments where `chosen` is True; `what` these are."""
    indices = np.flatnonzero(chosen)
    screen.say(f"{what}, {len(indices)} segments")
    alike = _alike(model.classes, segments.classes)
    known = {alike(name): k for k, name in enumerate(model.classes)}
    number = np.array([known[alike(name)] for name in segments.classes])  # other data may have another order
    probs = model.probabilities(segments, indices)
    return metrics.scores(probs, number[segments.label[indices]], segments.clip[indices], model.classes)


def _composed(name: str) -> str:
    """Accents with their letters, whichever way a file system keeps them."""
    return unicodedata.normalize("NFC", name)


if __name__ == "__main__":
    sys.exit(main())
