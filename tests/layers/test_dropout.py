"""Dropout: masks from a counter, the same on every backend, and honest odds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchnet import backend as backends
from scratchnet.kernels import reference
from scratchnet.layers import Dropout
from tests.support import run, seeds


def dropout(p, seed=0, offset=0):
    layer = Dropout(p)
    layer.reseed(seed, offset)
    return layer


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(seed=st.integers(0, 2**63 - 1), offset=st.integers(0, 2**40), p=st.floats(0.01, 0.99), size=st.integers(1, 70))
def test_every_backend_draws_the_same_mask(backend, dtype, seed, offset, p, size):
    x = np.full((1, size), 3, dtype)
    y, dx, _ = run(dropout(p, seed, offset), x)
    kept = reference.dropout_mask((1, size), p, seed, offset)
    # x times 1/(1 − p), both rounded to dtype: two roundings.
    assert np.allclose(y, np.where(kept, 3 / (1 - p), 0), rtol=2 * np.finfo(dtype).eps, atol=0)
    assert np.array_equal(y * dx > 0, kept) and np.array_equal(dx == 0, ~kept)


def test_a_word_at_the_threshold_is_kept(backend):
    """Kept where the word is at least round(p · 2³²): here the third word is exactly that."""
    word = int(reference.philox(1, 5, 0)[0, 2])
    assert run(dropout(word / 2**32, 5), np.ones((1, 3)))[0][0, 2] > 0
    assert run(dropout((word + 1) / 2**32, 5), np.ones((1, 3)))[0][0, 2] == 0


def test_evaluation_is_the_identity(backend):
    x = backends.asarray(np.arange(12, dtype="float32").reshape(3, 4))
    layer = dropout(0.5)
    assert layer.forward(x) is x and layer.backward(x) is x
    assert layer.offset == -1  # and draws nothing


def test_always_drops_in_evaluation_too(backend):
    layer = Dropout(0.5, always=True)
    layer.reseed(3, 0)
    x = np.ones((1, 64), "float32")
    assert np.array_equal(np.asarray(backends.to_numpy(layer.forward(backends.asarray(x)))), run(dropout(0.5, 3), x)[0])


def test_p_zero_keeps_everything(backend):
    x, layer = np.ones((2, 3), "float32"), dropout(0.0)
    assert np.array_equal(run(layer, x)[0], x) and layer.offset == -1


def test_the_mask_changes_with_each_forward_and_comes_back_with_reseed(backend):
    x, layer = np.ones((1, 256), "float32"), dropout(0.5, 11, 5)
    first, second = run(layer, x)[0], run(layer, x)[0]
    assert not np.array_equal(first, second)
    layer.reseed(11, 6)
    assert np.array_equal(run(layer, x)[0], second)
    assert not np.array_equal(run(dropout(0.5, 12, 5), x)[0], first)


def test_the_mask_does_not_depend_on_what_stands_behind(backend):
    """Element i takes the i-th random word: a longer array begins with the same mask."""
    short, long = run(dropout(0.3, 9), np.ones((1, 13)))[0], run(dropout(0.3, 9), np.ones((1, 1000)))[0]
    assert np.array_equal(long[:, :13], short)


@given(seed=seeds, p=st.floats(0.05, 0.95))
def test_the_odds(seed, p):
    """Of 40 000 elements a share p is dropped, within six standard deviations (chance is outside once in 500 million
    times), and neighbours are independent."""
    kept = reference.dropout_mask((40_000,), p, seed, 0)
    deviation = (p * (1 - p) / kept.size) ** 0.5
    assert abs((1 - kept.mean()) - p) < 6 * deviation
    centred = kept - kept.mean()
    for lag in (1, 2, 3, 4):
        assert abs((centred[lag:] * centred[:-lag]).mean()) < 6 * p * (1 - p) / (kept.size - lag) ** 0.5


def test_the_mean_is_kept(backend):
    y = run(dropout(0.25, 1), np.ones((1, 100_000), "float32"))[0]
    assert abs(y.mean() - 1) < 6 * (0.25 / 0.75 / y.size) ** 0.5


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5, float("nan")])
def test_wrong_odds_are_refused(p):
    with pytest.raises(ValueError, match="p must be"):
        Dropout(p)
