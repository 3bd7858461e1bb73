"""Eq. 1 and 2 are convolutions (section 2.1): Conv1D and Conv2D give what scipy and librosa give by FFT and product."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import signal

from scratchnet.layers import Conv1D, Conv2D, Modulus
from scratchnet.sound import fourier_kernels, mel_filters
from tests.support import assert_within, on_backend, rounding, run, seeds

WINDOWS = ["hann", "rectangular", "hamming", "blackman", "any"]
n_ffts = st.sampled_from([2, 4, 5, 8, 16, 31, 64, 128])  # odd ones too: no bin of its own at half the rate


def values_of(window, n_fft, seed):
    """The window's n_fft numbers by scipy; of "any" window, numbers from 0.1 to 1."""
    if window == "any":
        return np.random.default_rng(seed + 1).uniform(0.1, 1, n_fft)
    return signal.get_window("boxcar" if window == "rectangular" else window, n_fft)


def stft_by_convolution(x, n_fft, hop, window):
    """Complex (N, bins, frames) of x (N, n), uncentred, by a Conv1D whose kernels are Fourier's."""
    kernels = fourier_kernels(n_fft, window, "float64")
    layer = Conv1D(1, len(kernels), n_fft, hop, bias=False, dtype="float64")
    layer.params["weight"] = kernels
    parts = run(on_backend(layer), x[:, None])[0]
    half = len(kernels) // 2
    return parts[:, :half] + 1j * parts[:, half:]


def bound(x, n_fft):
    """A bin sums n_fft products of |w| ≤ 1 and x. An FFT is at least as exact; the kernels' angles are right to a few
    units: twice, and 10 roundings more."""
    return 2 * rounding("float64", n_fft + 10) * n_fft * max(1.0, np.abs(x).max())


@given(seed=seeds, n_fft=n_ffts, hop=st.integers(1, 70), extra=st.integers(0, 300), window=st.sampled_from(WINDOWS))
def test_eq_1_is_scipys_stft(backend, seed, n_fft, hop, extra, window):
    hop = min(hop, n_fft)
    x = np.random.default_rng(seed).standard_normal((2, n_fft + extra))
    values = values_of(window, n_fft, seed)
    assume(values.sum() > 1e-3)  # scipy divides by it
    found = stft_by_convolution(x, n_fft, hop, values if window == "any" else window)
    how = {"nperseg": n_fft, "noverlap": n_fft - hop, "boundary": None, "padded": False, "detrend": False}
    _, _, theirs = signal.stft(x, window=values, **how)
    # scipy scales by 1 / Σ w
    assert_within(np.abs(found - theirs * values.sum()), np.zeros(found.shape), 4 * bound(x, n_fft))


@given(seed=seeds, n_fft=n_ffts, hop=st.integers(1, 70), extra=st.integers(0, 300), window=st.sampled_from(WINDOWS))
def test_eq_1_is_librosas_stft(backend, seed, n_fft, hop, extra, window):
    librosa = pytest.importorskip("librosa", reason="librosa is an oracle, not a dependency")
    x = np.random.default_rng(seed).standard_normal((2, n_fft + extra))
    values = values_of(window, n_fft, seed)
    theirs = librosa.stft(x, n_fft=n_fft, hop_length=hop, window=values, center=False)
    found = stft_by_convolution(x, n_fft, hop, values if window == "any" else window)
    assert_within(np.abs(found - theirs), np.zeros(theirs.shape), 4 * bound(x, n_fft))


@given(seed=seeds, n_fft=st.sampled_from([8, 31, 64]), hop=st.integers(1, 40), power=st.sampled_from([1, 2]))
def test_eq_1_with_the_modulus_is_the_spectrogram(backend, seed, n_fft, hop, power):
    x = np.random.default_rng(seed).standard_normal((1, n_fft + 200))
    kernels = fourier_kernels(n_fft, "hann", "float64")
    layer = Conv1D(1, len(kernels), n_fft, hop, bias=False, dtype="float64")
    layer.params["weight"] = kernels
    found = run(Modulus(power), run(on_backend(layer), x[:, None])[0])[0]
    expected = np.abs(stft_by_convolution(x, n_fft, hop, "hann")) ** power
    assert_within(found, expected, 8 * rounding("float64", 1) * expected + 1e-300)


def test_the_bins_above_the_middle_are_the_mirror(backend):
    """Eq. 1 has F = 1024 bins; those we leave out hold nothing new for a real signal."""
    x = np.random.default_rng(0).standard_normal((1, 64))
    found = stft_by_convolution(x, 64, 64, "rectangular")[0, :, 0]
    whole = np.fft.fft(x[0])
    assert_within(np.abs(found - whole[:33]), np.zeros(33), bound(x, 64))
    assert_within(np.abs(found[1:32][::-1] - whole[33:].conj()), np.zeros(31), bound(x, 64))


@given(seed=seeds, n_mels=st.integers(1, 40), n_fft=st.sampled_from([128, 255, 1024]), frames=st.integers(1, 9))
def test_eq_2_is_the_matrix_product(backend, seed, n_mels, n_fft, frames):
    """The U×F image S, convolved with the 1×F filters Δ_m: a Conv2D, or a Conv1D whose channels are the bins."""
    bins = 1 + n_fft // 2
    s = np.random.default_rng(seed).uniform(0, 1, (2, frames, bins))
    filters = mel_filters(22050, n_fft, n_mels, dtype="float64")
    image = Conv2D(1, n_mels, (1, bins), bias=False, dtype="float64")
    image.params["weight"] = filters[:, None, None]
    expected = np.einsum("nub,mb->nmu", s, filters)
    slack = 2 * rounding("float64", bins) * expected  # all terms are positive
    assert_within(run(on_backend(image), s[:, None])[0][:, :, :, 0], expected, slack)
    line = Conv1D(bins, n_mels, 1, bias=False, dtype="float64")
    line.params["weight"] = filters[:, :, None]
    assert_within(run(on_backend(line), np.ascontiguousarray(s.transpose(0, 2, 1)))[0], expected, slack)


@given(
    n_mels=st.integers(1, 60),
    n_fft=st.sampled_from([256, 1024, 2048]),
    sr=st.sampled_from([8000, 22050, 44100]),
    htk=st.booleans(),
    norm=st.sampled_from(["slaney", None]),
)
@pytest.mark.filterwarnings("ignore:Empty filters detected")
def test_the_triangles_of_eq_2_are_librosas(n_mels, n_fft, sr, htk, norm):
    librosa = pytest.importorskip("librosa", reason="librosa is an oracle, not a dependency")
    theirs = librosa.filters.mel(sr=sr, n_fft=n_fft, n_mels=n_mels, htk=htk, norm=norm, dtype="float64")
    ours = mel_filters(sr, n_fft, n_mels, htk=htk, norm=norm, dtype="float64")
    # A slope is a difference of frequencies up to 22 kHz, right to 4 units each, over a difference of corners: the
    # narrowest lie about one bin (4 Hz) apart, and more filters than bins may lie nearer: a hundredth of it.
    assert_within(ours, theirs, 8 * 2.0**-52 * 22050 / 0.04 * max(1e-300, np.abs(theirs).max()))


@given(seed=seeds)
def test_eq_1_and_2_are_librosas_mel_spectrogram(backend, seed):
    librosa = pytest.importorskip("librosa", reason="librosa is an oracle, not a dependency")
    x = np.random.default_rng(seed).uniform(-1, 1, (1, 2048))
    power = np.abs(stft_by_convolution(x, 1024, 512, "hann")) ** 2
    image = Conv2D(1, 60, (1, 513), bias=False, dtype="float64")
    filters = mel_filters(22050, 1024, 60, dtype="float64")
    image.params["weight"] = filters[:, None, None]
    found = run(on_backend(image), np.ascontiguousarray(power.transpose(0, 2, 1))[:, None])[0][:, :, :, 0]
    theirs = librosa.feature.melspectrogram(
        y=x, sr=22050, n_fft=1024, hop_length=512, n_mels=60, center=False, dtype="float64"
    )
    # A power is off by twice its root times the bin's error; a filter by the bound of the test above, relative to 0.02.
    error = 2 * np.sqrt(power.max()) * bound(x, 1024) * filters.sum(axis=1).max()
    assert_within(found, theirs, error + 8 * 2.0**-52 * 22050 / 0.04 / 0.02 * theirs)


def test_bad_windows_are_refused():
    with pytest.raises(ValueError, match="window has shape"):
        fourier_kernels(8, np.ones(7))
