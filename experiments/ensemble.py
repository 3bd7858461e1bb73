"""Several systems as one:   python -m experiments.ensemble RUN RUN…

The class of a clip is that of the highest mean, over the systems, of their mean probabilities: every system has one
vote, none is weighted, nothing is learned. The runs are cross-validations, or single splits, of the same data; prints
for each and for all together how many of each fold's test clips were right.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.paired import predictions
from experiments.table import find, mean_sd, percent, row_of, same_recordings, same_splits, sha256
from scratchnet.cli import Parser, guard
from scratchnet.errors import InputError
from scratchnet.training.markdown import markdown
from scratchnet.training.runfolder import MODEL

Fold = dict[str, tuple[str, dict[str, float]]]  # clip -> its class, and the probability of each


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    made = Parser(prog="python -m experiments.ensemble", description="Test several systems as one.")
    made.add_argument("runs", nargs="+", metavar="RUN", help="a finished run of each system")
    given = made.parse(argv).runs
    folders = find(given)
    same_recordings(folders)
    same_splits(row_of(folder, hashed=False) for folder in folders)
    systems = {str(Path(path).resolve()): read(path) for path in given}
    models = [sha256(folder / MODEL) for folder in folders if (folder / MODEL).is_file()]
    if len(systems) < len(given) or len({*models}) < len(models):  # a copy of a run has another path
        raise InputError(f"{', '.join(given)}: a run that is named twice would have two votes")
    folds = sorted(next(iter(systems.values())))
    scores = [(Path(path).name, accuracies(tested)) for path, tested in systems.items()]
    scores.append(("**together**", accuracies(together(systems))))
    rows = [[name, *(percent(score) for score in each), mean_sd(each)] for name, each in scores]
    print(markdown(["clips, mean probability (%)", *(f"fold {fold}" for fold in folds), "mean ± sd"], rows))
    return 0


def read(path: str) -> dict[int, Fold]:
    """The test clips of a run by fold. Raises `InputError` where there is more than one run of a fold."""
    folds: dict[int, Fold] = {}
    for folder in find([path]):
        fold = row_of(folder, hashed=False)["fold"]
        if fold in folds:
            raise InputError(f"{path}: more than one run on fold {fold}; name one of them")
        folds[fold] = {row["clip"]: (row["label"], _probabilities(row)) for row in predictions(folder)}
    return folds


def _probabilities(row: Mapping[str, str]) -> dict[str, float]:
    return {name[2:-1]: float(value) for name, value in row.items() if name.startswith("p(")}


def together(systems: Mapping[str, dict[int, Fold]]) -> dict[int, Fold]:
    """The systems' mean probabilities. Raises `InputError` where they were tested on other clips."""
    first, *others = systems.items()
    for name, other in others:
        if _shape(first[1]) != _shape(other):
            raise InputError(f"{first[0]} and {name} were not tested on the same clips of the same folds and classes")
    every = [folds for _, folds in (first, *others)]
    return {
        fold: {
            clip: (label, {name: float(np.mean([f[fold][clip][1][name] for f in every])) for name in mine})
            for clip, (label, mine) in clips.items()
        }
        for fold, clips in first[1].items()
    }


def _shape(folds: Mapping[int, Fold]) -> dict[int, dict[str, tuple[str, set[str]]]]:
    return {fold: {clip: (label, set(p)) for clip, (label, p) in clips.items()} for fold, clips in folds.items()}


def accuracies(folds: Mapping[int, Fold]) -> list[float]:
    """The share of clips that are right, fold by fold."""
    return [
        float(np.mean([label == max(p, key=p.__getitem__) for label, p in folds[fold].values()]))
        for fold in sorted(folds)
    ]


if __name__ == "__main__":
    sys.exit(main())
