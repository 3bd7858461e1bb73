"""Reading: every format to the same mono samples, and one clear line for every file that cannot be used."""

import os
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scratchnet.data.source import sounds_below
from scratchnet.errors import InputError
from scratchnet.sound import load, load_clip, normalize_peak
from scratchnet.sound.io import BLOCK

soundfile = pytest.importorskip("soundfile", reason="needs soundfile")

RATE = 22050


def tone(seconds=0.5, rate=RATE, hertz=440.0, level=0.5):
    return level * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


# Half a step of the quantiser, times two for the rounding of the encoder: 16 bit, 24 bit, 8 bit.
@pytest.mark.parametrize(
    "kind, subtype, error",
    [
        ("WAV", "PCM_16", 2.0**-15),
        ("WAV", "PCM_24", 2.0**-23),
        ("WAV", "PCM_U8", 2.0**-7),
        ("WAV", "FLOAT", 2.0**-25),
        ("WAV", "DOUBLE", 2.0**-25),
        ("WAVEX", "PCM_16", 2.0**-15),
        ("FLAC", "PCM_16", 2.0**-15),
        ("AIFF", "PCM_24", 2.0**-23),
    ],
)
def test_formats_give_the_samples_written(tmp_path, kind, subtype, error):
    x = tone()
    soundfile.write(tmp_path / "x", x, RATE, format=kind, subtype=subtype)
    y = load(tmp_path / "x")
    assert y.dtype == np.float32 and y.shape == x.shape and y.flags.c_contiguous
    assert np.abs(y - x).max() <= error


@pytest.mark.parametrize("kind, subtype", [("WAV", "MS_ADPCM"), ("WAV", "IMA_ADPCM"), ("OGG", "VORBIS"), ("MP3", None)])
def test_lossy_formats_sound_alike(tmp_path, kind, subtype):
    x = tone(1.0, 48000)
    soundfile.write(tmp_path / "x", x, 48000, format=kind, subtype=subtype)
    y = load(tmp_path / "x", 48000)[: len(x)]
    # Empirical: the encoders come to 1 − 2e-5. 0.99, an error 17 dB under the tone, leaves room for other versions of
    # them, not for another tone, a shift or noise as loud as that.
    assert np.corrcoef(x[: len(y)], y)[0, 1] > 0.99


def test_channels_that_cancel_out_are_told_from_silence(tmp_path):
    x = 0.3 * np.sin(np.arange(3000) / 9)
    late = np.concatenate([x, np.zeros(BLOCK)])  # the last block is silent
    sounds = {"opposite": [x, -x], "late": [late, -late], "silent": [0 * x, 0 * x], "quiet": [x, -0.99 * x]}
    for name, channels in sounds.items():
        soundfile.write(tmp_path / f"{name}.wav", np.stack(channels, axis=1), RATE, subtype="PCM_16")
    for name in ("opposite", "late"):
        with pytest.raises(InputError, match=f"{name}.wav: its channels cancel each other out: keep one of them"):
            load(tmp_path / f"{name}.wav")
    assert not load(tmp_path / "silent.wav").any() and load(tmp_path / "quiet.wav").any()


def test_channels_are_averaged(tmp_path):
    left, right = tone(), tone(hertz=1000.0)
    soundfile.write(tmp_path / "x.wav", np.stack([left, right], axis=1), RATE, subtype="FLOAT")
    # |x| ≤ 0.5: each channel is rounded by 2⁻²⁶, their sum by 2⁻²⁵, and half of all that is left.
    np.testing.assert_allclose(load(tmp_path / "x.wav"), (left + right) / 2, rtol=0, atol=2.0**-25)


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_the_average_is_numpys_to_the_bit(rng, tmp_path, channels):
    x = rng.uniform(-1, 1, (1000, channels)).astype(np.float32)
    soundfile.write(tmp_path / "x.wav", x, RATE, subtype="FLOAT")
    np.testing.assert_array_equal(load(tmp_path / "x.wav"), x.mean(axis=1))


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000, 96000, 192000])
def test_a_tone_keeps_its_pitch_and_level_at_every_rate(tmp_path, rate):
    soundfile.write(tmp_path / "x.wav", tone(1.0, rate), rate, subtype="FLOAT")
    y = load(tmp_path / "x.wav")
    assert abs(len(y) - RATE) <= 1
    middle = slice(2000, 20000)  # away from the borders, where a filter sees the silence outside
    # soxr's high quality is 20 bits: a step of 2⁻¹⁹ in [−1, 1].
    assert np.abs(y[middle] - tone(1.0)[middle]).max() < 2.0**-19


def test_blocks_are_joined(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "x.wav", np.stack([tone(), tone()], 1), RATE, subtype="FLOAT")
    whole = load(tmp_path / "x.wav")
    monkeypatch.setattr("scratchnet.sound.io.BLOCK", 1000)
    np.testing.assert_array_equal(load(tmp_path / "x.wav"), whole)


@pytest.mark.parametrize("rate", [8000, 44100, 48000, 96000])
@pytest.mark.parametrize("frames", [2, 999, 1000, 1001, 5000, 12345])
def test_blocks_are_resampled_as_the_whole_is(tmp_path, monkeypatch, rate, frames):
    soxr = pytest.importorskip("soxr", reason="needs soxr")
    x = np.random.default_rng(frames).uniform(-1, 1, frames).astype(np.float32)
    soundfile.write(tmp_path / "x.wav", x, rate, subtype="FLOAT")
    monkeypatch.setattr("scratchnet.sound.io.BLOCK", 1000)
    expected = soxr.resample(x, rate, RATE, quality="HQ")
    if len(expected) < 2:
        pytest.skip("what is left of it is no sound")
    np.testing.assert_array_equal(load(tmp_path / "x.wav"), expected)


def test_a_sound_that_the_memory_does_not_hold_is_named(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "x.wav", tone(), RATE)

    def full(*given, **options):
        raise MemoryError

    monkeypatch.setattr(soundfile.SoundFile, "read", full)
    with pytest.raises(InputError, match=r"x\.wav is too long for the memory there is: cut it into several files"):
        load(tmp_path / "x.wav")


def test_equal_to_librosa_on_real_recordings(recordings):
    librosa = pytest.importorskip("librosa", reason="librosa is the oracle here")
    for path, x in recordings[:3]:
        expected, _ = librosa.load(path, sr=RATE)
        np.testing.assert_array_equal(x, expected)


def write(folder, name):
    """A file of each bad sort; returns its path."""
    path = folder / f"{name}.wav"
    if name == "empty_file":
        path.write_bytes(b"")
    elif name == "no_sound":
        path.write_bytes(b"this is no sound at all" * 100)
    elif name == "header_alone":
        soundfile.write(path, tone(), RATE)
        path.write_bytes(path.read_bytes()[:44])
    elif name == "half_a_header":
        soundfile.write(path, tone(), RATE)
        path.write_bytes(path.read_bytes()[:20])
    elif name == "zero_length":
        soundfile.write(path, np.zeros(0), RATE)
    elif name == "one_sample":
        soundfile.write(path, np.ones(1) * 0.5, RATE)
    elif name in ("nan", "inf"):
        x = tone()
        x[77] = float(name)
        soundfile.write(path, x, RATE, subtype="FLOAT")
    elif name == "folder":
        path.mkdir()
    return path


BAD = ["missing", "folder", "empty_file", "no_sound", "header_alone", "half_a_header", "zero_length", "one_sample"]


@pytest.mark.parametrize("name", [*BAD, "nan", "inf"])
@pytest.mark.parametrize("rate", [RATE, 8000])
def test_bad_files_are_named_in_one_line(tmp_path, name, rate):
    path = write(tmp_path, name)
    with pytest.raises(InputError) as caught:
        load(path, rate)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and ": " in message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 1, 500, -2, -1])
@pytest.mark.parametrize("rate", [8000, 22051, 44100, 192000])
def test_no_resampling_hides_a_bad_sample(tmp_path, rate, place, value):
    x = np.zeros(1000, np.float32)
    x[place] = value
    soundfile.write(tmp_path / "x.wav", x, rate, subtype="FLOAT")
    with pytest.raises(InputError, match="NaN or infinite"):
        load(tmp_path / "x.wav")


def test_a_truncated_file_gives_what_is_left(tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, tone(), RATE)
    path.write_bytes(path.read_bytes()[: 44 + 2 * 500])
    assert len(load(path)) == 500


def test_a_silent_file_loads_but_is_no_clip(tmp_path):
    soundfile.write(tmp_path / "x.wav", np.zeros(1000), RATE)
    assert not load(tmp_path / "x.wav").any()
    with pytest.raises(InputError, match="silent"):
        load_clip(tmp_path / "x.wav")


def test_a_clip_has_peak_one(tmp_path):
    soundfile.write(tmp_path / "x.wav", tone(level=0.01), RATE, subtype="FLOAT")
    assert np.abs(load_clip(tmp_path / "x.wav")).max() == 1
    assert np.abs(load_clip(tmp_path / "x.wav", peak=False)).max() < 0.011


finite = st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False)


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=1, max_dims=2, max_side=20), elements=finite))
def test_normalize_peak(x):
    y = normalize_peak(x)
    assert y.dtype == x.dtype and y.shape == x.shape
    peak = np.abs(x).max(axis=-1)
    np.testing.assert_array_equal(np.abs(y).max(axis=-1), np.where(peak > 0, 1, 0))
    np.testing.assert_array_equal(np.sign(y[np.abs(y) > 0]), np.sign(x[np.abs(y) > 0]))


@pytest.mark.parametrize(
    "kind, ending",
    [
        ("AVR", "avr"), ("HTK", "htk"), ("SVX", "iff"), ("MPC2K", "mpc"), ("PAF", "paf"), ("PVF", "pvf"),
        ("SDS", "sds"), ("IRCAM", "sf"), ("WVE", "wve"), ("XI", "xi"), ("MP3", "mp2"), ("RF64", "bwf"), ("NIST", "sph"),
        ("W64", "w64"), ("VOC", "voc"), ("CAF", "caf"), ("AU", "au"), ("RAW", "gsm"), ("RAW", "vox"),
    ],
)  # fmt: skip
def test_every_format_of_libsndfile_is_sound_by_its_usual_name(tmp_path, kind, ending):
    """But for those of Matlab, which may hold anything, and RAW, which says nothing of itself."""
    path = tmp_path / f"x.{ending.upper()}"
    subtype = {"WVE": "ALAW", "gsm": "GSM610", "vox": "VOX_ADPCM"}.get(kind if kind != "RAW" else ending)
    soundfile.write(path, tone(rate=8000), 8000, format=kind, subtype=subtype)
    assert sounds_below(tmp_path) == [path]
    assert np.abs(load(path)).max() > 0.1


@pytest.mark.parametrize("name", ["text.mp3", "text.wav", "text.m4a"])
def test_a_file_that_is_there_is_not_said_to_be_missing(tmp_path, name):
    (tmp_path / name).write_text("this is no sound at all" * 100)
    with pytest.raises(InputError, match=rf"{name} cannot be .* \(no format that libsndfile reads\): convert"):
        load(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_is_read_to_its_end(tmp_path):
    soundfile.write(tmp_path / "x.wav", tone(), RATE, subtype="FLOAT")
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(
        target=lambda: (tmp_path / "pipe").write_bytes((tmp_path / "x.wav").read_bytes()), daemon=True
    )
    writer.start()
    np.testing.assert_array_equal(load(tmp_path / "pipe"), load(tmp_path / "x.wav"))
    writer.join()
    with pytest.raises(InputError, match="/dev/null is neither a file nor a pipe"):
        load("/dev/null")


def test_whole_numbers_have_a_peak():
    np.testing.assert_allclose(normalize_peak(np.array([-32768, 100], np.int16)), [-1, 100 / 32768], rtol=1e-6)


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), 0, -1, "22050", None])
def test_a_rate_that_is_none_is_refused_in_one_line(tmp_path, rate):
    path = tmp_path / "x.wav"
    soundfile.write(path, np.ones(100), 8000)
    with pytest.raises(InputError, match="^sample_rate .*takes hertz"):
        load(path, rate)


def test_a_rate_that_no_sound_has_is_refused(tmp_path):
    """Of a wrong header: a minute of it would become days."""
    for rate, good in ((1, False), (99, False), (100, True)):
        soundfile.write(tmp_path / "x.wav", tone(), rate)
        if good:
            assert len(load(tmp_path / "x.wav")) > len(tone())
        else:
            with pytest.raises(InputError, match=rf"x.wav is said to have {rate} samples a second"):
                load(tmp_path / "x.wav")


def test_what_a_dash_would_mean_elsewhere_is_told():
    with pytest.raises(InputError, match="- does not exist: name a sound file, or /dev/stdin"):
        load("-")
