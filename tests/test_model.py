"""A model loaded from its file hears what the network that was stored hears."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

import scratchnet
from scratchnet.data import Segments
from scratchnet.errors import InputError
from scratchnet.model import Model
from scratchnet.nets import build
from scratchnet.sound import SoundSettings, log_melspectrogram
from scratchnet.sound.segments import segment_clip
from scratchnet.training.evaluation import softmax
from scratchnet.training.files import write_arrays

CLASSES = ["bark", "rain", "siren"]
RATE = 22050


def about(net, **changes):
    return {
        "format": 1,
        "network": net.spec,
        "phase": 3,
        "classes": CLASSES,
        "codes": ["BA", "RA", "SI"],
        "sound": SoundSettings().to_dict(),
        "feature": "logmel" if net.spec["name"] == "piczaknet" else "waveform",
        "offset": -30.0,
        "scale": 12.0,
        "dropout_seed": 1,
        **changes,
    }


def store(name, folder):
    """A run folder's model with random weights, and the network itself."""
    net = build(name, 3, rng=np.random.default_rng(0))
    write_arrays(folder / "model.safetensors", net.state_dict(), about(net))
    return folder, net


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    return store("piczaknet", tmp_path_factory.mktemp("piczaknet"))


@pytest.fixture(scope="module")
def waveform():
    rng = np.random.default_rng(3)
    return (0.3 * rng.normal(size=int(2.5 * RATE)) * np.linspace(0.2, 1, int(2.5 * RATE))).astype(np.float32)


def expected(net, x):
    """By hand: peak 1, segments half overlapping, the front end's input, softmax."""
    x = x / np.abs(x).max()
    segments = np.stack([x[first : first + 20992] for first in range(0, len(x) - 20991, 10496)])
    if net.spec["name"] == "piczaknet":
        power = [log_melspectrogram(s, sr=RATE, n_fft=1024, hop_length=512, n_mels=60)[:, :41] for s in segments]
        inputs = ((np.stack(power) + 30) / 12)[:, None].astype(np.float32)
    else:
        inputs = segments[:, None].astype(np.float32)
    return softmax(net.forward(inputs))


@pytest.mark.parametrize("name", ["piczaknet", "heurinet"])
def test_a_prediction_is_the_mean_over_the_segments(name, waveform, tmp_path):
    folder, net = store(name, tmp_path)
    prediction = scratchnet.load(folder).predict(waveform)
    by_hand = expected(net, waveform)
    # float32 sums over up to 5000 terms in another order: some 1e-6 of probabilities of order 1; the floor of 80 dB
    # under the maximum is applied before or after the cut to 41 frames, which these sounds do not reach.
    np.testing.assert_allclose(prediction.segment_probabilities, by_hand, atol=2e-5)
    np.testing.assert_allclose(prediction.probabilities, by_hand.mean(axis=0), atol=2e-5)
    assert prediction.label == CLASSES[int(by_hand.mean(axis=0).argmax())]
    names, probabilities = prediction
    assert names == tuple(CLASSES)
    # In float64: a sum of 3 exponentials, the quotient by it, the mean over 4 segments, the sum of 3 are 9 roundings.
    assert probabilities.sum() == pytest.approx(1, rel=0, abs=9 * 2.0**-53)
    np.testing.assert_array_equal(prediction.start, np.arange(4) * 10496 / RATE)
    # Seconds, under 4 in float64: the two times, the end's sum, the difference and the expected one are rounded.
    np.testing.assert_allclose(prediction.end - prediction.start, 20992 / RATE, rtol=0, atol=5 * 4 * 2.0**-53)


def test_a_file_is_heard_like_its_waveform_at_any_rate(stored, waveform, tmp_path):
    model = scratchnet.load(stored[0] / "model.safetensors")
    soundfile.write(tmp_path / "x.wav", waveform, RATE, subtype="FLOAT")
    from_array = model.predict(waveform).probabilities
    np.testing.assert_array_equal(model.predict(tmp_path / "x.wav").probabilities, from_array)
    np.testing.assert_array_equal(model.predict(str(tmp_path / "x.wav")).probabilities, from_array)
    assert len(model.predict(waveform, sample_rate=2 * RATE).start) == 1  # half as long


def test_a_short_sound_is_padded_even_where_training_dropped_it(tmp_path):
    net = build("piczaknet", 3, rng=np.random.default_rng(0))
    sound = SoundSettings(short="drop").to_dict()
    write_arrays(tmp_path / "model.safetensors", net.state_dict(), about(net, sound=sound))
    prediction = scratchnet.load(tmp_path).predict(np.sin(np.arange(3000)))
    assert len(prediction.start) == 1


def test_deltas_are_made_for_a_model_that_wants_them(tmp_path, waveform):
    net = build("piczaknet", 3, in_channels=2, rng=np.random.default_rng(0))
    sound = SoundSettings(deltas="savgol").to_dict()
    write_arrays(tmp_path / "model.safetensors", net.state_dict(), about(net, sound=sound))
    assert scratchnet.load(tmp_path).predict(waveform).segment_probabilities.shape == (4, 3)


@pytest.mark.parametrize("deltas", [None, "savgol", "librosa031"])
def test_spectrograms_are_standardised_to_the_bit_as_in_training(tmp_path, waveform, deltas):
    net = build("piczaknet", 3, in_channels=1 + (deltas is not None), rng=np.random.default_rng(0))
    sound = SoundSettings(deltas=deltas).to_dict()
    write_arrays(tmp_path / "model.safetensors", net.state_dict(), about(net, sound=sound, offset=-31.7, scale=17.3))
    model = scratchnet.load(tmp_path)
    logmel = segment_clip(waveform, model.settings)[3]
    trained = np.empty((len(logmel), model.settings.channels, 60, 41), np.float32)
    prepared = SimpleNamespace(logmel=logmel, settings=model.settings)
    Segments.logmels(prepared, range(len(logmel)), out=trained, mean=-31.7, std=17.3)
    np.testing.assert_array_equal(model.inputs(waveform)[0], trained)


@pytest.mark.parametrize("name", ["piczaknet", "heurinet"])
def test_a_long_sound_is_taken_in_parts(tmp_path, waveform, monkeypatch, name):
    net = build(name, 3, rng=np.random.default_rng(0))
    write_arrays(tmp_path / "model.safetensors", net.state_dict(), about(net))
    model, parts = scratchnet.load(tmp_path), []
    monkeypatch.setattr("scratchnet.model.BATCH", 3)
    monkeypatch.setattr(Model, "classify", lambda self, x: (parts.append(x), np.full((len(x), 3), 1 / 3))[1])
    assert len(model.predict(waveform).start) == 4 and [len(part) for part in parts] == [3, 1]
    np.testing.assert_array_equal(np.concatenate(parts), model.inputs(waveform)[0])


def test_what_was_trained_to_drop_in_evaluation_predicts_without(tmp_path, waveform):
    net = build("piczaknet", 3, rng=np.random.default_rng(0), dropout_in_evaluation=True)
    write_arrays(tmp_path / "model.safetensors", net.state_dict(), about(net))
    model = scratchnet.load(tmp_path)
    assert np.array_equal(model.predict(waveform).probabilities, model.predict(waveform).probabilities)


@pytest.mark.parametrize(
    ("sound", "words"),
    [
        (np.zeros(30000), "silent"),
        (np.array([0.5]), "at least two"),
        (np.ones((2, 30000)), r"\(2, 30000\)"),
        (np.full(30000, np.nan), "not finite"),
        ("absent.wav", "absent.wav"),
        (["a.wav"], "waveform of <U5: takes numbers, or the name of one sound file"),
        (b"a.wav", "waveform of .S5: takes numbers"),
        (np.ones(30000, complex), "waveform of complex128: takes numbers"),
        ([0.1, None, "x"], "holds what is no number"),
        ([[0.1], [0.1, 0.2]], "holds what is no number"),
        ([10**400, 1], "holds what is no number"),
        (np.full(30000, 1e300), "not finite"),
    ],
)
def test_what_cannot_be_heard_is_refused(stored, sound, words):
    with pytest.raises(InputError, match=words):
        scratchnet.load(stored[0]).predict(sound)


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), 0, -8000, "44100", True])
def test_a_sample_rate_that_is_none_is_refused(stored, rate):
    with pytest.raises(InputError, match="^sample_rate .*takes hertz"):
        scratchnet.load(stored[0]).predict(np.ones(30000), sample_rate=rate)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int8", "int16", "int32", "float64", object])
def test_whole_numbers_are_heard_like_fractions(stored, waveform, dtype):
    """SciPy reads 8-bit WAV as unsigned, silence being 128."""
    model, kind = scratchnet.load(stored[0]), np.dtype(dtype).kind
    fine = np.round(waveform / np.abs(waveform).max() * 100) / 128
    size = 8 * np.dtype(dtype).itemsize - 1 if kind in "iu" else 0
    sound = (fine * 2.0**size + (2.0**size if kind == "u" else 0)).astype(dtype)
    np.testing.assert_allclose(model.predict(sound).probabilities, model.predict(fine).probabilities, atol=1e-6)


def test_a_sound_of_which_nothing_is_left_is_too_short(stored):
    with pytest.raises(InputError, match="waveform: too short, 0 samples"):
        scratchnet.load(stored[0]).predict(np.ones(10), sample_rate=1e6)


def test_what_is_no_model_is_refused(stored, tmp_path):
    folder, net = stored
    with pytest.raises(InputError, match="absent"):
        scratchnet.load(tmp_path / "absent")
    with pytest.raises(InputError, match=r"no model\.safetensors"):
        scratchnet.load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:10000])
    with pytest.raises(InputError, match=r"model\.safetensors"):
        scratchnet.load(tmp_path)
    other = tmp_path / "other.safetensors"
    write_arrays(other, {"x": np.zeros(3)}, {})
    with pytest.raises(InputError, match="no model of scratchnet"):
        scratchnet.load(other)
    weights = net.state_dict()
    weights.pop("piczak.output.bias")
    write_arrays(other, weights, about(net))
    with pytest.raises(InputError, match=r"piczak\.output\.bias"):
        scratchnet.load(other)
    write_arrays(other, net.state_dict(), about(net, classes=None))
    with pytest.raises(InputError, match=Path(other).name):
        scratchnet.load(other)


def test_rates_that_no_sound_has_are_refused(stored, tmp_path):
    model = scratchnet.load(stored[0] / "model.safetensors")
    x = np.random.default_rng(0).normal(size=44100).astype(np.float32)
    with pytest.raises(InputError, match="sample_rate 44.1: takes hertz, a number of at least 100"):
        model.predict(x, 44.1)
    with pytest.raises(InputError, match="a file says its sample rate itself"):
        model.predict(tmp_path / "file.wav", 44100)
    with pytest.raises(InputError, match="not finite, or too large"):
        model.predict(x * np.float32(3e37), 44100)


def test_the_time_line_ends_with_the_sound(stored):
    model = scratchnet.load(stored[0] / "model.safetensors")
    prediction = model.predict(np.random.default_rng(0).normal(size=4410).astype(np.float32))
    assert prediction.start.tolist() == [0] and prediction.end.tolist() == [4410 / 22050]
