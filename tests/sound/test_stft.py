"""Eq. 1 by the FFT: against the sum written out, and against librosa and SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from scratchnet.errors import InputError
from scratchnet.sound import SoundSettings, stft
from scratchnet.sound.stft import fft_window, get_window
from tests.support import assert_within, rounding


def definition(x, n_fft, hop, window):
    """The sum of eq. 1, one term after the other, uncentred."""
    count = 1 + (len(x) - n_fft) // hop
    out = np.zeros((1 + n_fft // 2, count), complex)
    for t in range(count):
        for k in range(out.shape[0]):
            for l in range(n_fft):  # noqa: E741
                out[k, t] += x[t * hop + l] * window[l] * np.exp(-2j * np.pi * k * l / n_fft)
    return out


@pytest.mark.parametrize("window", ["hann", "rectangular"])
@pytest.mark.parametrize("n_fft, hop, n", [(8, 4, 30), (9, 5, 31), (16, 3, 16)])
def test_equal_to_the_definition(rng, window, n_fft, hop, n):
    x = rng.standard_normal(n)
    expected = definition(x, n_fft, hop, get_window(window, n_fft))
    # 16 terms of |x| < 2. The definition's angles, up to 47, are rounded twice by 2⁻⁴⁸, and π's error makes 2e-15 of
    # them: 32 · 9e-15 = 2.9e-13. The two sums are off by 16 · 2⁻⁵³ · 32 = 5.7e-14 each: 4.1e-13 in all.
    np.testing.assert_allclose(stft(x, n_fft, hop, window=window, center=False), expected, rtol=0, atol=4.1e-13)


def test_a_real_signal_mirrors_the_bins_above_half():
    """Why 513 of the paper's 1024 bins are enough."""
    x = np.random.default_rng(0).standard_normal(64)
    full = np.fft.fft(x * get_window("hann", 64))
    # A bin passes 6 stages of the FFT, of fewer than 10 roundings each: an error below that of a sum of 64 terms.
    error = rounding("float64", 64) * np.abs(x * get_window("hann", 64)).sum()
    lower = np.abs(full[1:32])[::-1]
    assert_within(np.abs(full[33:]) ** 2, lower**2, 4 * error * lower + 4 * error**2)
    np.testing.assert_allclose(stft(x, 64, 64, center=False)[:, 0], full[:33], rtol=0, atol=2 * error)


@pytest.mark.parametrize("name", ["hann", "hamming", "blackman"])
@pytest.mark.parametrize("length", [1, 2, 7, 1024])
def test_windows_are_scipys(name, length):
    expected = signal.get_window(name, length, fftbins=True)
    # length 1: SciPy's answer is 1, that of the periodic formula 0
    if length > 1:
        # Only Hann's is ours: its angle, 4.7 where the sine is ±1, is rounded twice, SciPy's, from −π to π, three times
        # at 1.6 there. Halved as the cosine is, that is 8e-16; cosines and differences add 2 half units of 1e-16.
        np.testing.assert_allclose(get_window(name, length), expected, rtol=0, atol=1e-15)


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(40, 700),
    n_fft=st.sampled_from([16, 31, 64]),
    hop=st.integers(1, 40),
    shorter=st.integers(0, 9),
    window=st.sampled_from(["hann", "hamming"]),
    center=st.booleans(),
    pad_mode=st.sampled_from(["reflect", "constant", "edge"]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_equal_to_librosa(n, n_fft, hop, shorter, window, center, pad_mode, dtype):
    librosa = pytest.importorskip("librosa", reason="librosa is an oracle, not a dependency")
    if not center and n < n_fft:
        return
    x = np.random.default_rng(n).standard_normal((2, n)).astype(dtype)
    options = dict(hop_length=hop, win_length=n_fft - shorter, window=window, center=center, pad_mode=pad_mode)
    ours, theirs = stft(x, n_fft, **options), librosa.stft(x, n_fft=n_fft, **options)
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    # sums of up to 64 terms of size 1: rounding to about 64 half units in the last place, there and here
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=64 * np.finfo(dtype).eps)


def test_leading_axes_are_kept(rng):
    x = rng.standard_normal((2, 3, 500))
    assert stft(x, 64, 32).shape == (2, 3, 33, 16)
    np.testing.assert_array_equal(stft(x, 64, 32)[1, 2], stft(x[1, 2], 64, 32))


@pytest.mark.parametrize("n", [1, 2, 100, 511, 512, 513])
def test_short_signals_are_reflected_as_often_as_needed(n):
    assert stft(np.ones(n, np.float32)).shape == (513, 1 + n // 512)


def test_bad_arguments():
    with pytest.raises(ValueError, match="no sample"):
        stft(np.zeros(0))
    with pytest.raises(ValueError, match="fewer than n_fft"):
        stft(np.zeros(1000), center=False)
    with pytest.raises(ValueError, match="win_length"):
        fft_window("hann", 8, 9)
    with pytest.raises(ValueError, match="shape"):
        fft_window(np.ones(7), 8)
    np.testing.assert_array_equal(fft_window(np.ones(3), 8, 3), [0, 0, 1, 1, 1, 0, 0, 0])


@pytest.mark.parametrize("n", [1023, 1024, 1025, 2047])
def test_frames_of_an_odd_window_are_counted_right(n):
    settings = SoundSettings(n_fft=1023, segment_length=n, n_frames=1)
    assert stft(np.ones(n), n_fft=1023, hop_length=512).shape[1] == settings.frames_available == 1 + (n - 1) // 512
    with pytest.raises(InputError, match="is more than the"):
        SoundSettings(n_fft=1023, segment_length=20480, n_frames=41)


def test_frames_go_forward():
    with pytest.raises(ValueError, match="hop_length must be at least 1"):
        stft(np.ones(2000), hop_length=-5)
