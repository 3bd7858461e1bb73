"""Eq. 2: the filter bank, the log-Mel-spectrogram and the networks' 60 x 41 spectrograms, against librosa."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchnet.sound import (
    SoundSettings,
    log_melspectrogram,
    mel_filters,
    melspectrogram,
    power_to_db,
    segment_log_mel,
    stft,
)
from scratchnet.sound import mel as mel_module
from scratchnet.sound.mel import hz_to_mel, mel_to_hz
from tests.support import rounding


def power_error(filters):
    """By how much two Mel powers in float32 differ, relatively. No term, one a bin of the triangle, is negative:
    two sums of them, and 15 roundings of spectrum, modulus, power, weights and products, there and here."""
    return rounding("float32", 2 * np.count_nonzero(filters, axis=1).max() + 15)


def decibel_error(filters, size=100):
    """The same in dB up to this size: the logarithm rounds by 2 half units, the factor and the floor by one, twice."""
    return 10 * np.log10(1 + power_error(filters)) + 8 * size * 2.0**-24


@pytest.fixture
def librosa():
    return pytest.importorskip("librosa", reason="librosa is the oracle here")


def theirs(librosa, x, top_db=80.0, cut=41, **options):
    options = dict(sr=22050, n_fft=1024, hop_length=512, n_mels=60, pad_mode="reflect") | options
    power = librosa.feature.melspectrogram(y=x, **options)
    return librosa.power_to_db(power[..., :cut], top_db=top_db)


@pytest.mark.parametrize("top_db", [80.0, None])
def test_spectrograms_of_real_segments_are_librosas_to_1e4_db(librosa, real_segments, top_db):
    ours = segment_log_mel(real_segments, SoundSettings(top_db=top_db))
    assert ours.shape == (len(real_segments), 60, 41) and ours.dtype == np.float32 and ours.flags.c_contiguous
    expected = np.stack([theirs(librosa, x, top_db) for x in real_segments])
    assert np.abs(ours - expected).max() < decibel_error(mel_filters())


def test_log_mel_of_a_whole_recording_is_librosas(librosa, recordings):
    x = recordings[2][1]
    assert np.abs(log_melspectrogram(x) - theirs(librosa, x, cut=None)).max() < decibel_error(mel_filters())


@settings(deadline=None, max_examples=40)
@given(
    sr=st.sampled_from([8000, 22050, 44100]),
    n_fft=st.sampled_from([256, 1024, 2048]),
    n_mels=st.integers(1, 128),
    fmin=st.floats(0, 500),
    top=st.floats(0.3, 0.5),
    htk=st.booleans(),
    norm=st.sampled_from(["slaney", None]),
)
@pytest.mark.filterwarnings("ignore:Empty filters")
def test_filters_are_librosas(sr, n_fft, n_mels, fmin, top, htk, norm):
    librosa = pytest.importorskip("librosa", reason="librosa is the oracle here")
    options = dict(sr=sr, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=top * sr, htk=htk)
    ours = mel_filters(**options, norm=norm)
    expected = librosa.filters.mel(**options, norm=norm)
    assert ours.shape == expected.shape and ours.dtype == expected.dtype
    # librosa rounds to float32 before the area is taken and after, we after: 4 roundings with the area's own. At a
    # corner float64 leaves 1e-15 or so of 22050 Hz, 2e-11, over the width of a triangle, which is above 10 Hz.
    np.testing.assert_allclose(ours, expected, rtol=rounding("float32", 4), atol=2e-12)


@pytest.mark.parametrize("power", [1.0, 2.0])
@pytest.mark.parametrize("center", [True, False])
def test_melspectrogram_is_librosas(librosa, rng, power, center):
    x = rng.standard_normal((3, 5000)).astype(np.float32)
    options = dict(
        sr=16000, n_fft=512, hop_length=200, win_length=400, n_mels=40, power=power, fmin=50, fmax=7000, htk=True,
        norm=None, center=center, pad_mode="constant",
    )  # fmt: skip
    expected = librosa.feature.melspectrogram(y=x, **options)
    filters = mel_filters(16000, 512, 40, fmin=50, fmax=7000, htk=True, norm=None)
    np.testing.assert_allclose(melspectrogram(x, **options), expected, rtol=power_error(filters))


@given(st.floats(0, 20000), st.booleans())
def test_mel_scales_are_invertible(hz, htk):
    # Logarithm, factors, power: some 30 roundings in all, of 1 + f/700 with HTK, so of f + 700 < 20 700: 7e-11.
    assert mel_to_hz(hz_to_mel(hz, htk), htk) == pytest.approx(hz, rel=0, abs=1e-10)


def test_a_slaney_triangle_has_area_one():
    # 8192 bins, h = 1.35 Hz apart: the sum over bins is the integral but for the corners, each of which adds h²/12
    # times its change of slope. The narrowest triangle is 317 Hz wide: slopes of ±2/317/158, 1 + 2 + 1 changes: 2.4e-5.
    area = mel_filters(n_fft=16384, n_mels=20, dtype=np.float64).sum(axis=1) * 22050 / 16384
    np.testing.assert_allclose(area, 1, rtol=0, atol=2.5e-5)


def test_blocks_and_threads_do_not_matter(rng, monkeypatch):
    x = rng.standard_normal((70, 20992)).astype(np.float32)
    whole = segment_log_mel(x, SoundSettings(), workers=1)
    # Every segment is a product of its own, of the same shape in any batch.
    for other in (segment_log_mel(x, SoundSettings(), workers=3), segment_log_mel(x, SoundSettings())):
        np.testing.assert_array_equal(other, whole)
    one_by_one = np.concatenate([segment_log_mel(x[i : i + 1], SoundSettings()) for i in range(70)])
    np.testing.assert_array_equal(one_by_one, whole)
    # BLAS may add in another order for another number of frames: 513 terms in float32 are off by 513 * 2^-24 = 3e-5 of
    # the value at most, 1.3e-4 dB, and by the root of that count as a rule.
    monkeypatch.setattr(mel_module, "BLOCK_FRAMES", 7)
    np.testing.assert_allclose(segment_log_mel(x[:3], SoundSettings()), whole[:3], rtol=0, atol=2e-5)


@pytest.mark.parametrize("n_mels", [1, 3, 60, 128])
def test_bands_of_the_bank_give_the_whole_product(rng, n_mels):
    x = rng.standard_normal((2, 5000)).astype(np.float32)
    energy = np.abs(stft(x.astype(np.float64), 512, 256)) ** 2
    options = dict(n_fft=512, n_mels=n_mels, fmin=300.0)
    with np.errstate(all="raise"):
        found = melspectrogram(x, hop_length=256, **options)
    assert found.flags.c_contiguous
    # energy, weights and product are rounded to float32, then at most 257 terms, none negative, are added
    expected = mel_filters(22050, dtype=np.float64, **options) @ energy
    np.testing.assert_allclose(found, expected, rtol=(257 + 3) * 2.0**-24, atol=0)


def test_the_floor_is_taken_after_the_cut():
    """A click in the 42nd frame alone must not lift the floor of the 41 frames that are kept."""
    x = (1e-4 * np.sin(np.arange(20992))).astype(np.float32)
    loud = x.copy()
    loud[-1] = 1.0  # the middle of frame 41, the very end of frame 40, whose window is 1e-5 there
    quiet = segment_log_mel(x[None], SoundSettings(top_db=20.0))[0]
    cut = segment_log_mel(loud[None], SoundSettings(top_db=20.0))[0]
    # Frame 40 hears 1e-5 of the click beside its sine, 1e-4 · 256: at worst 3e-3 dB more, which lifts the floor. In the
    # phases that meet here it is one step of float32, 7.6e-6 dB; 1e-4 leaves room for a dozen. Uncut, it is 10 dB.
    np.testing.assert_allclose(cut[:, :40], quiet[:, :40], rtol=0, atol=1e-4)
    uncut = log_melspectrogram(loud, top_db=20.0)
    assert uncut.shape == (60, 42) and uncut[:, 0].min() > quiet[:, 0].min() + 10


def test_silence_and_power_to_db():
    # Amin, logarithm (2), factor, and what is taken off are rounded.
    five = {dtype: rounding(dtype, 5) for dtype in ("float32", "float64")}
    silence = segment_log_mel(np.zeros((2, 20992), np.float32), SoundSettings())
    np.testing.assert_allclose(silence, -100, rtol=five["float32"])
    np.testing.assert_allclose(power_to_db(np.array([1.0, 10.0, 1e-30])), [0, 10, -70], rtol=five["float64"])
    np.testing.assert_allclose(power_to_db(np.array([1.0, 10.0]), ref=10.0), [-10, 0], rtol=five["float64"])
    np.testing.assert_allclose(power_to_db(np.array([1.0, 10.0]), -10.0), [-10, 0], rtol=five["float64"])  # |ref|
    np.testing.assert_allclose(power_to_db(np.array([1.0, 1e-30]), top_db=None), [0, -100], rtol=five["float64"])


def test_empty_batch_and_bad_arguments():
    assert segment_log_mel(np.zeros((0, 20992), np.float32), SoundSettings()).shape == (0, 60, 41)
    with pytest.raises(ValueError, match="no sample"):
        melspectrogram(np.zeros(0))
    with pytest.raises(ValueError, match="fmax"):
        mel_filters(fmin=9000, fmax=8000)
    with pytest.raises(ValueError, match="norm"):
        mel_filters(norm="l2")
    with pytest.raises(ValueError, match="amin"):
        power_to_db(np.ones(3), amin=0)
    with pytest.raises(ValueError, match="top_db"):
        power_to_db(np.ones(3), top_db=-1)


def test_settings_reach_the_spectrogram(rng):
    x = rng.standard_normal((2, 16000)).astype(np.float32)
    settings = SoundSettings(
        16000, segment_length=16000, n_fft=512, hop_length=160, n_mels=40, n_frames=90, window="rectangular",
        center=False, top_db=None,
    )  # fmt: skip
    power = np.abs(stft(x, 512, 160, window="rectangular", center=False)) ** 2
    expected = 10 * np.log10(mel_filters(16000, 512, 40) @ power)[..., :90]
    bound = decibel_error(mel_filters(16000, 512, 40), size=np.abs(expected).max())
    np.testing.assert_allclose(segment_log_mel(x, settings), expected, rtol=0, atol=bound)


def test_the_reference_may_be_a_function_as_librosas_is(rng):
    s = rng.random((3, 4)) + 0.5
    np.testing.assert_array_equal(power_to_db(s, ref=np.max), power_to_db(s, ref=float(s.max())))
    assert power_to_db(0.5) == pytest.approx(10 * np.log10(0.5)) and power_to_db(np.float32(10)) == pytest.approx(10)
    x = rng.standard_normal((2, 3, 5000)).astype(np.float32) * np.array([1, 10, 100], np.float32)[:, None]
    found = log_melspectrogram(x, ref=np.max)
    assert found.dtype == np.float32 and np.all(found.max(axis=(-2, -1)) == 0)
    np.testing.assert_array_equal(found[1, 2], log_melspectrogram(x[1, 2], ref=np.max))
    assert log_melspectrogram(x[:0], ref=np.max).shape == (0, *found.shape[1:])


@pytest.mark.parametrize("dtype", ["float16", ">f4", ">f8", "longdouble"])
@pytest.mark.parametrize("center", [True, False])
def test_samples_of_any_floating_type(dtype, center):
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3000)).astype(dtype)
    assert np.array_equal(melspectrogram(x, center=center), melspectrogram(x.astype("float64"), center=center))


def test_no_worker_is_refused():
    with pytest.raises(ValueError, match="workers must be at least 1, not 0"):
        melspectrogram(np.zeros(2000), workers=0)
