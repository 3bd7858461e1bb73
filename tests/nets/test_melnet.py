"""MelNet at its start is the Mel-spectrogram: eq. 1 and eq. 2 as layers."""

import numpy as np
import pytest
from hypothesis import given, settings

from scratchnet import backend as backends
from scratchnet import nets
from scratchnet.nets.melnet import TRIANGLE_UNIT
from scratchnet.sound import fourier_kernels, log_melspectrogram, mel_kernels
from tests.support import seeds

FRAMES = 41

# A bin of the Fourier sum has 1024 terms w·x of sizes that add up to 512 at most (a Hann window, |x| ≤ 1), so two
# ways to add it differ by 2·1024·2⁻⁵³·512 = 1.2e-10. The least amplitude that counts is 1e-5 (amin), which that
# changes by 20 log₁₀(1 + 1.2e-5) dB.
FLOAT64 = 20 * np.log10(1 + 2 * 1024 * 2.0**-53 * 512 / 1e-5)


def segments(seed, n=2):
    """Something like sound: noise with a spectrum that falls, a tone, and silence at one end."""
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.standard_normal((n, 1, 20992)), axis=2) * rng.uniform(0, 0.05)
    x += 0.1 * rng.standard_normal(x.shape)
    x += np.sin(2 * np.pi * rng.uniform(50, 10_000) * np.arange(20992) / 22050)
    x[:, :, : int(rng.integers(0, 8000))] = 0
    return (x / np.abs(x).max(axis=2, keepdims=True)).astype("float32")


@pytest.mark.parametrize("top_db", [80.0, None])
@settings(max_examples=5)
@given(seed=seeds)
def test_with_power_it_is_our_log_mel_spectrogram(backend, top_db, seed):
    net = nets.melnet(3, top_db=top_db, mean=-20.0, std=15.0, dtype="float64", rng=np.random.default_rng(0))
    net.to(backend)
    x = segments(seed)
    found = backends.to_numpy(net.features(backends.asarray(x)))[:, 0]
    expected = (log_melspectrogram(x[:, 0], n_frames=FRAMES, top_db=top_db) + 20) / 15
    # log_melspectrogram has filters and sums of 513 powers in float32, at worst 515 roundings; its decibels, up to 100
    # in size, are float32 too.
    bound = 10 * np.log10(1 + 515 * 2.0**-24) + 100 * 2.0**-24
    assert np.abs(found - expected).max() < (bound + FLOAT64) / 15


@pytest.mark.parametrize("power, multiplier, amin", [(2, 10, 1e-10), (1, 20, 1e-5)])
@settings(max_examples=5)
@given(seed=seeds)
def test_it_is_librosas(backend, power, multiplier, amin, seed):
    """|·|² as in eq. 1, and |·| as in footnote 9."""
    librosa = pytest.importorskip("librosa", reason="librosa is an oracle, not a dependency")
    net = nets.melnet(3, power=power, top_db=None, dtype="float64", rng=np.random.default_rng(0))
    net.to(backend)
    x = segments(seed).astype("float64")
    found = backends.to_numpy(net.features(backends.asarray(x)))[:, 0]
    mel = librosa.feature.melspectrogram(
        y=x[:, 0], sr=22050, n_fft=1024, hop_length=512, n_mels=60, power=power, pad_mode="reflect", dtype="float64"
    )
    assert np.abs(found - multiplier * np.log10(np.maximum(mel[..., :FRAMES], amin))).max() < FLOAT64


def test_other_readings_of_the_transform(backend):
    """A rectangular window (its terms add up to 1024, twice a Hann window's), a floor of 1e-6."""
    net = nets.melnet(3, amin=1e-6, window="rectangular", dtype="float64", rng=np.random.default_rng(0))
    net.to(backend)
    x = segments(7)
    found = backends.to_numpy(net.features(backends.asarray(x)))[:, 0]
    expected = log_melspectrogram(x[:, 0], n_frames=FRAMES, window="rectangular", amin=1e-6)
    bound = 10 * np.log10(1 + 515 * 2.0**-24) + 100 * 2.0**-24
    assert np.abs(found - expected).max() < bound + 2 * FLOAT64


@pytest.mark.parametrize("power", [1, 2])
def test_in_float32_it_is_within_a_thousandth_of_a_decibel(power):
    """Empirical: 7e-5 dB are found here. The worst case, 1024 · 2⁻²⁴ · 512 = 0.03 of an amplitude, would say nothing of
    quiet bins. Rounding errors go by the root; 1e-3 leaves ten times what is found for a BLAS of another order."""
    x = segments(3)
    exact = nets.melnet(3, power=power, dtype="float64", rng=np.random.default_rng(0)).features(x.astype("float64"))
    assert np.abs(nets.melnet(3, power=power, rng=np.random.default_rng(0)).features(x) - exact).max() < 1e-3


def test_the_weights_are_those_of_the_equations():
    """Bit for bit: the triangles' unit is a power of two."""
    for power, unit in TRIANGLE_UNIT.items():
        params = nets.melnet(3, power=power, rng=np.random.default_rng(0)).params
        assert np.array_equal(params["deepfourier.conv1.weight"], fourier_kernels())
        assert np.array_equal(params["deepfourier.conv2.weight"] * np.float32(unit), mel_kernels())
