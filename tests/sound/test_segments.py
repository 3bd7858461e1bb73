"""Cutting clips: half overlapping, short clips padded or dropped, silence dropped but never all of a clip."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchnet.errors import InputError
from scratchnet.sound import SoundSettings, segment_clip, segment_log_mel, segment_starts
from tests.support import rounding

L, HOP = 20992, 10496


@given(st.integers(1, 300000))
def test_starts_are_every_hop_that_fits(n):
    starts = segment_starts(n, SoundSettings())
    expected = [s for s in range(0, n, HOP) if s + L <= n]
    assert starts.tolist() == expected and starts.dtype == np.int64


def noise(seconds, level=1.0):
    return (level * np.random.default_rng(1).uniform(-1, 1, int(seconds * 22050))).astype(np.float32)


def test_a_four_second_clip_has_seven_segments():
    x, starts, scale, logmel = segment_clip(noise(4, 0.1), SoundSettings())
    assert starts.tolist() == [HOP * i for i in range(7)] and (scale == 1).all()
    assert np.abs(x).max() == 1 and x.dtype == np.float32
    windows = np.stack([x[s : s + L] for s in starts])
    np.testing.assert_array_equal(logmel, segment_log_mel(windows, SoundSettings(), workers=1))


@pytest.mark.parametrize("n", [2, 1000, L - 1])
def test_short_clips(n):
    clip = noise(1)[:n]
    x, starts, scale, logmel = segment_clip(clip, SoundSettings())
    assert len(x) == L and starts.tolist() == [0] and logmel.shape == (1, 60, 41)
    np.testing.assert_array_equal(x[:n], clip / np.abs(clip).max())
    assert not x[n:].any()
    x, starts, scale, logmel = segment_clip(clip, SoundSettings(short="drop"))
    assert len(starts) == len(scale) == len(logmel) == 0


def test_silent_segments_are_dropped():
    clip = np.concatenate([noise(1), np.zeros(3 * 22050, np.float32)])
    _, starts, _, _ = segment_clip(clip, SoundSettings())
    assert starts.tolist() == [0, HOP, 2 * HOP]  # noise ends at 22050; the third begins at 20992
    _, starts, _, _ = segment_clip(clip, SoundSettings(silence_db=None))
    assert len(starts) == 7


def test_the_loudest_segment_of_a_silent_clip_stays():
    # a click of 3 samples at full scale, alone in four seconds: no segment's mean is above -20 dB
    clip = np.zeros(4 * 22050, np.float32)
    clip[60000:60003] = 1
    _, starts, _, logmel = segment_clip(clip, SoundSettings(silence_db=-20.0))
    assert len(starts) == 1 and starts[0] <= 60000 < starts[0] + L
    # the same rule by the mean: equal or under is dropped
    level = float(logmel.mean(dtype=np.float64))
    _, starts, _, _ = segment_clip(clip, SoundSettings(silence_db=level - 1e-3))
    assert 1 <= len(starts) <= 2


def test_every_segment_can_have_its_own_peak():
    clip = noise(4) * np.linspace(0.05, 1, 4 * 22050, dtype=np.float32)
    x, starts, scale, logmel = segment_clip(clip, SoundSettings(peak="segment"))
    np.testing.assert_array_equal(x, clip)
    windows = np.stack([x[s : s + L] * a for s, a in zip(starts, scale)])
    # 1/peak is rounded, and so is the product with it.
    np.testing.assert_allclose(np.abs(windows).max(axis=1), 1, rtol=rounding("float32", 2))
    np.testing.assert_array_equal(logmel, segment_log_mel(windows, SoundSettings()))


def test_settings_round_trip_and_reject():
    settings = SoundSettings(n_mels=40, top_db=None, deltas="savgol")
    assert SoundSettings.from_dict(settings.to_dict()) == settings and settings.channels == 2
    assert SoundSettings.from_dict({}) == SoundSettings() and SoundSettings().frames_available == 42
    assert SoundSettings(segment_length=20480, segment_hop=10240).frames_available == 41  # Piczak's own length
    for bad in (
        {"window": "triangle"}, {"peak": "none"}, {"short": "loop"}, {"deltas": "yes"}, {"n_mels": 0}, {"n_fft": 1.5},
        {"amin": 0.0}, {"top_db": -1.0}, {"n_frames": 43}, {"center": False}, {"sample_rate": -1},
    ):  # fmt: skip
        with pytest.raises(InputError):
            SoundSettings(**bad)
    with pytest.raises(InputError, match="n_mel"):
        SoundSettings.from_dict({"n_mel": 3})


def test_a_segment_too_faint_to_scale_is_silence():
    x = np.zeros(2 * 20992, np.float32)
    x[:20992], x[20992:] = 0.5, 1e-40
    settings = SoundSettings(peak="segment", silence_db=None)
    _, _, scale, logmel = segment_clip(x, settings)
    assert np.isfinite(scale).all() and np.isfinite(logmel).all() and scale[-1] == 1
