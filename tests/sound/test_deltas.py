"""Deltas: today's against librosa and SciPy, that of librosa 0.3.1 against its filter, written out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from scratchnet.sound import delta
from tests.support import rounding


@given(st.sampled_from([3, 5, 9, 11]), st.integers(11, 50), st.integers(0, 99))
def test_savitzky_golay_is_scipys(width, frames, seed):
    x = np.random.default_rng(seed).standard_normal((2, 3, frames))
    expected = signal.savgol_filter(x, width, polyorder=1, deriv=1, axis=-1, mode="interp")
    # Slopes of sums up to 4 in size: ours rounds 13 times at most. SciPy solves least squares for its weights and fits
    # a line to each border; 1e-13 leaves it some 200 roundings.
    np.testing.assert_allclose(delta(x, width), expected, rtol=0, atol=1e-13)


def test_savitzky_golay_is_librosas(rng):
    librosa = pytest.importorskip("librosa", reason="librosa is an oracle, not a dependency")
    x = rng.standard_normal((60, 41)).astype(np.float32)
    ours = delta(x)
    assert ours.dtype == np.float32
    # 9 terms whose sizes add up to 20/60 of |x| at most, rounded 11 times in all; librosa's float64 is rounded once.
    bound = rounding("float32", 9 + 3) * 20 / 60 * np.abs(x).max()
    np.testing.assert_allclose(ours, librosa.feature.delta(x), rtol=0, atol=bound)


def test_the_slope_of_a_line_is_its_slope():
    # 9 terms of sizes that add up to 57 · 20/60 at most; weights and products are rounded, too.
    bound = rounding("float64", 9 + 2) * 57 * 20 / 60
    np.testing.assert_allclose(delta(3.0 * np.arange(20.0)[None]), 3.0, rtol=0, atol=bound)


@pytest.mark.parametrize("width", [3, 9])
def test_librosa_031_is_its_causal_filter(rng, width):
    """Its recipe: repeat the borders half + 1 times, filter from rest with (half, ..., -half), trim."""
    x, half = rng.standard_normal((4, 41)), width // 2
    padded = np.pad(x, [(0, 0), (half + 1, half + 1)], mode="edge")
    filtered = signal.lfilter(np.arange(half, -half - 1, -1.0), 1, padded, axis=-1)
    # 9 products with whole numbers whose sizes add up to 20 at most, added in two orders.
    bound = 2 * rounding("float64", 9) * 20 * np.abs(x).max()
    np.testing.assert_allclose(delta(x, width, "librosa031"), filtered[:, half + 1 : -half - 1], rtol=0, atol=bound)


def test_librosa_031_lags_and_is_not_scaled():
    line = delta(np.arange(40.0)[None], 9, "librosa031")[0]
    np.testing.assert_array_equal(line[8:], 60.0)  # sum of k^2 for k = -4 .. 4, not divided by
    assert delta(np.eye(1, 41, 20), 9, "librosa031")[0, :20].max() == 0  # nothing before it happens


def test_bad_arguments():
    x = np.zeros((2, 20))
    for options in ({"width": 4}, {"width": 1}, {"kind": "other"}):
        with pytest.raises(ValueError):
            delta(x, **options)
    with pytest.raises(ValueError, match="fewer"):
        delta(x[:, :5])
