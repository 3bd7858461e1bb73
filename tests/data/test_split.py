"""Splits by fold."""

from types import SimpleNamespace

import numpy as np
import pytest

from scratchnet.data import split
from scratchnet.errors import InputError


def folds(*values):
    values = np.array(values)
    return SimpleNamespace(fold=np.repeat(values, 2), clip_fold=values, variant=np.zeros(2 * len(values), int))


def test_the_validation_fold_is_the_one_before():
    segments = folds(1, 2, 3, 4, 5)
    for test_fold, valid_fold in ((3, 2), (1, 5), (5, 4)):
        train, valid, test = split(segments, test_fold)
        assert set(segments.fold[valid]) == {valid_fold} and set(segments.fold[test]) == {test_fold}
        assert set(segments.fold[train]) == {1, 2, 3, 4, 5} - {test_fold, valid_fold}
        assert sorted(np.concatenate([train, valid, test])) == list(range(10))


def test_another_validation_fold():
    train, valid, _ = split(folds(1, 2, 4), 1, valid_fold=2)
    assert valid.tolist() == [2, 3] and train.tolist() == [4, 5]


@pytest.mark.parametrize("arguments, word", [((7,), "7"), ((1, 9), "9"), ((1, 1), "both")])
def test_bad_folds(arguments, word):
    with pytest.raises(InputError, match=word):
        split(folds(1, 2, 3), *arguments)


def test_too_few_folds():
    with pytest.raises(InputError, match="three"):
        split(folds(1, 2), 1)
