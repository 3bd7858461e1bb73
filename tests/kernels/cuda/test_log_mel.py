"""The log-Mel-spectrogram, run on the CPU, against the definition."""

import numpy as np
import pytest

from scratchnet.kernels import cuda
from scratchnet.kernels.cuda import front_end
from scratchnet.kernels.cuda.arrays import real_name
from scratchnet.sound import log_melspectrogram, mel_filters
from scratchnet.sound.stft import fft_window
from tests.kernels.cuda.drawing import REALS, draw
from tests.support import assert_within


@pytest.mark.parametrize(
    "n, n_fft, hop, how",
    [
        (1500, 256, 100, {}),
        (900, 64, 64, {"center": False, "top_db": None}),
        (700, 96, 40, {"n_frames": 7, "top_db": 30.0}),  # no power of two: summed as eq. 1 is written
        (40, 128, 16, {}),  # reflected more than once over
        (1, 16, 4, {"top_db": None}),  # one sample, which is its own mirror image
        (20, 1, 3, {"top_db": None}),  # frames of one sample: nothing to be transformed
        (500, 63, 20, {}),  # one less than a power of two
    ],
)
def test_log_mel(host, n, n_fft, hop, how):
    x = draw((2, n))
    x[1] *= 1e-3
    x[:, n // 2 :] *= 1e-5  # these frames lie far under the peak
    n_mels = 12
    filters, window = mel_filters(22050, n_fft, n_mels), fft_window("hann", n_fft)
    options = {"center": True, "top_db": 80.0, **how}
    actual = cuda.log_mel(x, filters, window, hop, **options)
    expected = np.stack(
        [log_melspectrogram(row, 22050, n_fft=n_fft, hop_length=hop, n_mels=n_mels, **options) for row in x]
    )
    # The CPU rounds each power and each sum of up to n_fft powers to float32: 10 log10 turns a relative error e into
    # 4.35 e dB; then a value of up to 160 dB is rounded.
    assert_within(actual, expected, 4.35 * (n_fft + 4) * 2.0**-24 + 4 * 160 * 2.0**-24)


@pytest.mark.parametrize("top_db", [None, 80.0])
def test_a_sample_that_is_no_number_is_not_taken_for_silence(host, top_db):
    x, filters, window = draw((2, 300)), mel_filters(22050, 64, 5), fft_window("hann", 64)
    x[1, 150] = np.nan
    actual = cuda.log_mel(x, filters, window, 32, center=True, top_db=top_db)
    expected = [log_melspectrogram(row, 22050, n_fft=64, hop_length=32, n_mels=5, top_db=top_db) for row in x]
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected))
    assert np.isnan(actual[1]).any() and not np.isnan(actual[0]).any()


@REALS
@pytest.mark.parametrize("place", [0, 40, 255, 256, 599])
def test_what_lies_under_the_peak_is_lifted_wherever_the_peak_is(host, dtype, place):
    db = draw((3, 600), dtype)
    db[:, place] = 5, 9, 60
    expected = np.maximum(db, db.max(axis=1, keepdims=True) - dtype(6.5))
    host.launch("log_mel.cu", "floor_under_peak", 3, 256, (db, np.int64(600), dtype(6.5)), {"REAL": real_name(dtype)})
    np.testing.assert_array_equal(db, expected)


@pytest.mark.parametrize("n_fft", [2, 21, 32])
def test_log_mel_takes_any_filters(host, n_fft):
    """Also such that see the constant part, which Mel's triangles do not; and a window that sees the first sample."""
    x, window = draw((2, 200)), fft_window("hamming", n_fft)
    filters = np.abs(draw((5, n_fft // 2 + 1), seed=1))
    frames = np.stack([x[:, i : i + n_fft] for i in range(0, 201 - n_fft, 9)], axis=1) * window
    power = np.abs(np.fft.rfft(frames.astype(np.float64))) ** 2
    expected = 10 * np.log10(np.maximum(power @ filters.T.astype(np.float64), 1e-10)).transpose(0, 2, 1)
    actual = cuda.log_mel(x, filters, window, 9, center=False, top_db=None)
    assert_within(actual, expected, 4 * 160 * 2.0**-24)  # float64 until a value of up to 160 dB is rounded


def test_one_value_is_its_own_peak(host):
    x, window = draw((2, 16)), fft_window("hann", 16)
    filters = mel_filters(22050, 16, 1)
    lifted = cuda.log_mel(x, filters, window, 16, center=False, top_db=10.0)
    np.testing.assert_array_equal(lifted, cuda.log_mel(x, filters, window, 16, center=False, top_db=None))


def test_log_mel_of_frames_too_long_for_shared_memory(host, monkeypatch):
    """Each frame has room of its own in global memory, and fills it."""
    monkeypatch.setattr(host, "shared_limit", 1000)
    made, empty = [], host.empty
    monkeypatch.setattr(host, "empty", lambda shape, dtype: made.append(empty(shape, dtype)) or made[-1])
    test_log_mel(host, 1500, 256, 100, {})
    assert [a.size for a in made if a.ndim == 1] == [2 * 16 * (2 * 256 + 129)]
    assert not any(np.isnan(a).any() for a in made)


def test_log_mel_a_few_rows_at_a_time(host, monkeypatch):
    monkeypatch.setattr(front_end, "_rows_at_once", lambda *args: 2)
    x, window, filters = draw((5, 300)), fft_window("hann", 64), mel_filters(22050, 64, 12)
    few = cuda.log_mel(x, filters, window, 32)
    monkeypatch.setattr(host, "shared_limit", 1000)
    for whole in (few, cuda.log_mel(x, filters, window, 32)):
        np.testing.assert_array_equal(whole, np.stack([cuda.log_mel(row[None], filters, window, 32)[0] for row in x]))


def test_log_mel_of_too_little(host):
    with pytest.raises(ValueError, match="n_fft"):
        cuda.log_mel(draw((1, 10)), np.ones((3, 33), np.float32), np.ones(64), 16, center=False)
