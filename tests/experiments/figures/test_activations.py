"""Figures 5, 6 and 9 to 12: what PiczakNet gets to see."""

import json

import numpy as np
import pytest
import soundfile

from experiments.figures import activations
from experiments.figures.runs import one
from scratchnet import backend, model
from scratchnet.data import open_source, prepare
from scratchnet.errors import InputError
from scratchnet.nets import build
from scratchnet.sound import SoundSettings

NAMES, CODES = ["siren", "dog bark", "car horn"], ["SI", "DO", "CA"]


@pytest.mark.parametrize(
    ("words", "places"),
    [(None, [0, 1, 2]), (["dog bark", "SI"], [1, 0]), (["2-3"], [1, 2]), (["3"], [2]), (["1", "CA"], [0, 2])],
)
def test_classes_are_named_in_every_way(words, places):
    assert activations.chosen(words, NAMES, CODES) == places


@pytest.mark.parametrize("word", ["cow", "0", "4", "2-4", "3-2", "-", "1-"])
def test_other_classes_are_named(word):
    if word == "1-":  # a range without an end is its beginning
        assert activations.chosen([word], NAMES, CODES) == [0]
        return
    with pytest.raises(InputError, match="--classes"):
        activations.chosen([word], NAMES, CODES)


def test_examples_are_drawn_from_the_test_fold_for_each_class_by_itself():
    label, test = np.arange(60) % 3, np.arange(30, 60)
    for seed in range(5):
        three = activations.examples(label, test, [0, 1, 2], seed)
        assert label[three].tolist() == [0, 1, 2]
        assert set(three) <= set(test.tolist())
        assert activations.examples(label, test, [2], seed)[0] == three[2]
    assert len({activations.examples(label, test, [0], seed)[0] for seed in range(20)}) > 3
    with pytest.raises(InputError, match="class 4"):
        activations.examples(label, test, [3], 0)


@pytest.mark.parametrize("name", ["heurinet", "mstnet", "melnet"])
def test_time_axis_is_where_the_network_listens(name):
    """Change one sample: of all positions that notice, the one whose time is nearest lies in their middle."""
    backend.use("cpu")
    network = build(name, rng=np.random.default_rng(0))
    first, step = activations.seconds(network, 20992, 22050)
    x = np.random.default_rng(1).normal(size=(1, 1, 20992)).astype(np.float32)
    still = activations.activations(network, x)
    sample = 10_000
    x[..., sample - 2 : sample + 3] += 50
    # MelNet's floor (top_db) hangs on the loudest value anywhere; what lies far above it notices the click alone.
    change = np.abs(activations.activations(network, x) - still).max(axis=(0, 1))
    heard = change > 0.5 * change.max()
    middle = np.flatnonzero(heard).mean()
    assert first + middle * step == pytest.approx(sample / 22050, abs=2 * step)
    assert first + 40 * step < 20992 / 22050 + step


def test_activations_are_the_features_of_the_phases(runs):
    x = np.random.default_rng(0).normal(size=(2, 1, 20992)).astype(np.float32) / 5
    backend.use("cpu")
    run = one(runs / "heurinet")
    shown = {phase: activations.activations(activations.network_of(run, phase), x) for phase in "123"}
    assert shown["1"].shape == (2, 60, 41)
    last = model.load(runs / "heurinet").network
    assert np.array_equal(shown["3"], last.front().forward(x))
    assert not np.array_equal(shown["1"], shown["2"])


@pytest.mark.parametrize(("name", "classes"), [("heurinet", ["ST"]), ("mstnet", ["1-3"])])
def test_activations_are_drawn(runs, draw, name, classes):
    one_row, said = draw(activations.main, runs / name, "--classes", *classes, "--backend", "cpu")
    assert said.count(".wav from ") == (1 if name == "heurinet" else 3)  # which recordings they are
    assert "-9-0-0.wav" in said or name == "mstnet"  # street_music is class 9 of UrbanSound8K


def test_a_segment_is_said_to_begin_where_it_does(tmp_path):
    """Three seconds of silence, of which the cache keeps nothing, then sound."""
    x = np.concatenate([np.zeros(3 * 22050), np.random.default_rng(0).uniform(-0.5, 0.5, 2 * 22050)])
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        soundfile.write(tmp_path / "data" / name / "x.wav", x if name == "a" else x[::-1], 22050, subtype="FLOAT")
    source = open_source(tmp_path / "data")
    segments = prepare(source, cache_dir=tmp_path / "cache")
    late = next(number for number, clip in enumerate(segments.clips) if clip.startswith("a"))
    waveforms = segments.waveforms(np.arange(len(segments)))[:, 0]
    x = x / np.abs(x).max()
    for index, waveform in enumerate(waveforms):
        if segments.clip[index] == late:
            first = round(activations.beginning(segments, source, index) * 22050)
            assert first + 20992 > 3 * 22050
            np.testing.assert_allclose(waveform, x[first : first + 20992], atol=1e-6)


def test_no_variants_are_made_for_a_picture(runs, draw, tmp_path, monkeypatch):
    def seen(config, source, screen):
        raise InputError(f"augment {config.augment}")

    monkeypatch.setattr(activations.dataset, "prepare_data", seen)
    config = json.loads((runs / "heurinet" / "config.json").read_text())
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(json.dumps({**config, "augment": 4}))
    assert "augment 0" in draw(activations.main, tmp_path / "run", "--backend", "cpu", status=2)


def test_bad_input_is_one_line(runs, draw, figure_data, tmp_path):
    given = [runs / "heurinet", "--backend", "cpu"]
    assert "--classes" in draw(activations.main, *given, "--classes", "cow", status=2)
    assert "--seed" in draw(activations.main, tmp_path / "absent", "--seed=-1", status=2)
    assert "no phase 5" in draw(activations.main, *given, "--phases", "5", "--classes", "ST", status=2)
    assert "--phases 0" in draw(activations.main, *given, "--phases", "0", "--classes", "ST", status=2)
    assert "absent" in draw(activations.main, *given, "--data", tmp_path / "absent", status=2)
    piczak = tmp_path / "piczak"
    piczak.mkdir()
    config = json.loads((runs / "heurinet" / "config.json").read_text())
    (piczak / "config.json").write_text(json.dumps({**config, "net": "piczaknet"}))
    assert "no front end" in draw(activations.main, piczak, status=2)


@pytest.mark.parametrize("rate", [16000, 44100])
def test_axes_reach_as_far_as_a_segment_at_any_rate(rate):
    sound = SoundSettings(sample_rate=rate).to_dict()
    maps = np.random.default_rng(0).random((2, 60, 41))
    figure = activations._figure(maps, {"Phase 1": maps}, ["a", "b"], sound, (0.01, 512 / rate), "HeuriNet")
    for axis in figure.axes[:4]:
        assert axis.get_xlim()[1] == pytest.approx(20992 / rate)
    low, high = figure.axes[0].get_ylim()
    assert (low, high) == (-0.5, 59.5)  # no empty band above half the rate
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()][-1] == ("3000" if rate == 16000 else "9000")


def test_places_are_told_from_classes_that_are_numbers():
    assert activations.chosen(["1-1", "3-3"], ("0", "1", "2"), ("0", "1", "2")) == [0, 2]
    assert activations.chosen(["1"], ("0", "1", "2"), ("0", "1", "2")) == [1]
