"""`python -m scratchnet.evaluate RUN`: the test figures of a run, computed again from its model and the data."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scratchnet.cli import Parser, add_backend, guard
from scratchnet.data.source import codes
from scratchnet.errors import InputError, listed, say
from scratchnet.model import load, warn_if_unfinished
from scratchnet.training import metrics, run
from scratchnet.training.config import Config, convert
from scratchnet.training.dataset import folds_of, open_data, prepare_data
from scratchnet.training.report import line, title
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
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    options = parser.parse(argv)
    folder, config = RunFolder.open(Path(options.run))
    given = {name: convert(name, told) for name in ("data", "subset") if (told := getattr(options, name)) is not None}
    trained, config = config, config.with_(backend=options.backend, augment=0, **given)
    screen = Screen(quiet=options.json)
    run.choose_backend(config)
    if options.data is None:
        run.check_data(folder, config)
    segments = prepare_data(config, open_data(config, screen), screen)
    known = folder.trained_on(segments)
    if not known:
        _refuse_what_was_learned(folder, config, trained)
    if config.cv:
        if not known:
            raise InputError(
                f"{folder.path}: a cross-validation; name one of its folds for other data, such as {folder.fold(1)}"
            )
        results = {
            k: _figures(RunFolder.open(folder.fold(k))[0], segments, k, screen) for k in _finished(folder, segments)
        }
        figures = metrics.gather(results)
    else:
        test = folds_of(segments, config)[0][0] if known else None
        figures = _figures(folder, segments, test, screen)
    if options.json:
        print(json.dumps(figures, indent=1))
    else:
        unfinished = "" if (folder.path / RESULT).is_file() else " (not finished)"
        print(f"{title(config)}{unfinished}: {line(figures)}")
        print(confusion_text(figures, codes(figures["classes"])))
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


def _refuse_what_was_learned(folder: RunFolder, config: Config, trained: Config) -> None:
    """Raise `InputError` for the run's own data, which has changed: most of it was learned, and nobody knows which."""
    if config.subset != trained.subset:
        return
    if trained.data is None and config.data is None:
        raise InputError(
            f"{folder.path}: learned from synthetic sounds that are made otherwise now; test on recordings with --data"
        )
    if config.data and trained.data and os.path.realpath(config.data) == os.path.realpath(trained.data):
        raise InputError(
            f"{config.data}: has changed since {folder.path} was trained, and holds recordings that were learned; "
            "put back what was changed or removed, or test on others with --data"
        )


def _figures(folder: RunFolder, segments: Any, test_fold: int | None, screen: Screen) -> dict[str, Any]:
    """Figures on the test fold, or on everything where the data is other than the run's."""
    model = load(folder.path, as_trained=True)
    warn_if_unfinished(folder.path, model)
    both = model.classes, segments.classes
    alike = _composed if all(len(set(map(_composed, names))) == len(names) for names in both) else str
    known, given = ({alike(name): k for k, name in enumerate(names)} for names in both)
    if known.keys() != given.keys():
        others = [
            f"{word} {listed(sorted(names))}"
            for word, names in (("without", known.keys() - given.keys()), ("with", given.keys() - known.keys()))
            if names
        ]
        raise InputError(f"the data's classes are not those of {folder.path}: {', and '.join(others)}")
    indices = np.arange(len(segments)) if test_fold is None else np.flatnonzero(segments.fold == test_fold)
    what = "all of it, it is not the data of the run" if test_fold is None else f"test fold {test_fold}"
    said = f"{segments.name}: {what}, {len(indices)} segments"
    screen.say(said)
    if screen.quiet and test_fold is None:
        say(said)
    probs = model.probabilities(segments, indices)
    number = np.array([known[name] for name in given])  # other data may have another order
    return metrics.figures(probs, number[segments.label[indices]], segments.clip[indices], model.classes)


def _composed(name: str) -> str:
    """Accents with their letters, whichever way a file system keeps them."""
    return unicodedata.normalize("NFC", name)


def confusion_text(figures: dict[str, Any], codes: Sequence[str]) -> str:
    """The confusion matrix of segments as text, rows true."""
    confusion = np.array(figures["confusion"])
    width = max(4, len(str(confusion.max())) + 1, *(len(code) + 1 for code in codes))
    lines = ["true \\ predicted", " " * width + "".join(f"{code:>{width}}" for code in codes)]
    for code, name, row in zip(codes, figures["classes"], confusion):
        lines.append(f"{code:>{width}}" + "".join(f"{n:>{width}}" for n in row) + f"   {name}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
