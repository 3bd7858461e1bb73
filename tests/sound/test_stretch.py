"""The phase vocoder: against librosa, and by what it promises: length, pitch, level."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchnet.sound import pitch_shift, stretch, time_stretch

RATE = 22050


def pitch_of(x):
    """Frequency of the loudest bin, Hz; a second of sound resolves 1 Hz."""
    spectrum = np.abs(np.fft.rfft(x * np.hanning(len(x))))
    return spectrum.argmax() * RATE / len(x)


def tone(frequency, seconds=2.0):
    return np.sin(2 * np.pi * frequency * np.arange(int(seconds * RATE)) / RATE)


@pytest.mark.parametrize("n", [5, 700, 20000, 110250])
@pytest.mark.parametrize("rate", [0.8, 0.95, 1.0, 1.3, 2.0])
def test_stretch_is_librosas(rng, n, rate):
    """A phase is off by its bin's rounding, about 1e-16 times the loudest over this bin's size, in every frame: over
    270 frames of noise, whose weakest bins lie some 1e-6 under its loudest, 270 * 1e-10 at the worst."""
    effects = pytest.importorskip("librosa", reason="needs librosa").effects
    x = rng.standard_normal(n)
    with pytest.warns(UserWarning) if n < 2048 else _nothing():  # librosa warns of a window longer than the sound
        expected = effects.time_stretch(x, rate=rate)
    np.testing.assert_allclose(time_stretch(x, rate), expected, rtol=0, atol=3e-8)


@pytest.mark.parametrize("semitones", [-4, -1, 0.5, 6])
def test_shift_is_librosas(rng, semitones):
    """Both end in the same resampler, which computes in float32: a few of its steps (2^-23) at a peak of 5."""
    effects = pytest.importorskip("librosa", reason="needs librosa").effects
    x = rng.standard_normal(20000)
    expected = effects.pitch_shift(x, sr=RATE, n_steps=semitones)
    np.testing.assert_allclose(pitch_shift(x, RATE, semitones), expected, rtol=0, atol=5 * 5 * 2.0**-23)


class _nothing:
    def __enter__(self):
        pass

    def __exit__(self, *error):
        pass


@given(st.integers(1, 9000), st.floats(0.5, 2.0))
def test_length(n, rate):
    x = np.ones(n, np.float32)
    stretched = time_stretch(x, rate)
    assert stretched.shape == (round(n / rate),) and stretched.dtype == np.float32
    shifted = pitch_shift(x, RATE, 12 * (rate - 1))
    assert shifted.shape == x.shape and shifted.dtype == np.float32


# The vocoder keeps every bin's own course, not the relation between neighbouring bins (Laroche & Dolson 1999), so that
# frames overlap with phases that fit less and less. Frames w * w * x that do not fit at all add up to the energy
# sum w^4 / (sum w^2)^2 of that of x, for Hann windows w in steps of a quarter 4 * (35 / 128) / (4 * 3 / 8)^2 = 0.486.
# Sizes mixed halfway between two independent frames of Gaussian noise keep (1 + pi / 4) / 2 = 0.893 of their energy.
LEAST_ENERGY = 0.893 * 4 * (35 / 128) / (4 * 3 / 8) ** 2


def energy(x):
    """Mean square, away from both ends, where a window reaches into the silence around the sound."""
    return np.mean(x[4096:-4096] ** 2)


@pytest.mark.parametrize("rate", [0.8, 1.2])
@pytest.mark.parametrize("frequency", [220.0, 1000.0, 5000.0])
def test_a_stretched_tone_keeps_its_pitch(frequency, rate):
    y = time_stretch(tone(frequency), rate)
    assert pitch_of(y) == pytest.approx(frequency, rel=0.01)
    assert LEAST_ENERGY < 2 * energy(y) < 1.01


@pytest.mark.parametrize("semitones", [-4, -1, 3, 6])
def test_a_shifted_tone_has_the_pitch_asked_for(semitones):
    y = pitch_shift(tone(1000.0), RATE, semitones)
    assert pitch_of(y) == pytest.approx(1000 * 2 ** (semitones / 12), rel=0.01)
    assert LEAST_ENERGY < 2 * energy(y) < 1.01


@pytest.mark.parametrize("rate", [0.8, 0.95, 1.25])
def test_stretched_noise_keeps_half_of_its_energy_and_its_colour(rng, rate):
    x = rng.standard_normal(10 * RATE)
    y = time_stretch(x, rate)
    assert LEAST_ENERGY < energy(y) / energy(x) < 1.01
    low, high = (energy(np.diff(z)) / energy(z) for z in (x, y))  # of white noise: 2
    assert high == pytest.approx(low, rel=0.02)  # 1 / sqrt(200,000) on either side, tripled for what windows correlate


def test_rate_one_gives_the_sound_back(rng):
    x = rng.standard_normal(30000)
    np.testing.assert_allclose(time_stretch(x, 1.0), x, rtol=0, atol=1e-8)


def test_the_size_of_the_blocks_does_not_matter(rng, monkeypatch):
    x = rng.standard_normal(40000)
    whole = time_stretch(x, 0.9)
    monkeypatch.setattr(stretch, "BLOCK_FRAMES", 7)
    np.testing.assert_allclose(time_stretch(x, 0.9), whole, rtol=0, atol=1e-8)


def test_silence_stays_silence():
    assert not time_stretch(np.zeros(5000), 1.1).any() and not pitch_shift(np.zeros(5000), RATE, 3).any()


def test_bad_arguments():
    for rate in (0, -1.0, np.nan):
        with pytest.raises(ValueError, match="rate"):
            time_stretch(np.ones(10), rate)
    with pytest.raises(ValueError, match="no sample"):
        time_stretch(np.ones(0), 1.0)
