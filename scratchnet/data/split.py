"""Training, validation and test segments by fold: clips of one fold are never separated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from scratchnet.errors import InputError

if TYPE_CHECKING:
    from scratchnet.data.segments import Segments


def split(
    segments: Segments, test_fold: int, valid_fold: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of the training, validation and test segments, each ascending int64.

    Augmented variants of clips are among the training segments alone.

    The validation fold defaults to the one before the test fold, the last before the first. Raises `InputError` for a
    fold that is not there, the same fold for both, or where no fold is left to train on.
    """
    folds = [int(fold) for fold in np.unique(segments.clip_fold)]
    if test_fold not in folds:
        raise InputError(f"test fold {test_fold} is not there: choose one of {folds}")
    if valid_fold is None:
        valid_fold = fold_before(test_fold, folds)
    if valid_fold not in folds:
        raise InputError(f"validation fold {valid_fold} is not there: choose one of {folds}")
    check_folds(folds)
    if valid_fold == test_fold:
        raise InputError(f"fold {test_fold} cannot be both validation and test fold: choose two")
    test, valid, original = segments.fold == test_fold, segments.fold == valid_fold, segments.variant == 0
    train, valid, test = (np.flatnonzero(part) for part in (~(test | valid), valid & original, test & original))
    for name, part in (("training", train), ("validation", valid), ("test", test)):
        if len(part) == 0:
            raise InputError(f"no {name} segment is left with test fold {test_fold}: choose other folds")
    return train, valid, test


def fold_before(fold: int, folds: Sequence[int]) -> int:
    """The fold before one of `folds`; before the first the last."""
    return folds[folds.index(fold) - 1]


def check_folds(folds: Sequence[int]) -> None:
    """Raise `InputError` for fewer than three folds."""
    if len(folds) < 3:
        raise InputError(
            f"the data has {len(folds)} folds, and training, validation and test need three: add recordings, or cut "
            "long ones into several files"
        )
