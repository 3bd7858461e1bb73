"""What a run says of how it reads the paper; other readings of its sound, trained from end to end by --config."""

import json
from dataclasses import fields

import numpy as np
import pytest

from scratchnet import evaluate, train
from scratchnet.training.config import Config, kinds, option
from scratchnet.training.readings import TABLE, readings, readings_markdown
from scratchnet.training.resolve import resolve

soundfile = pytest.importorskip("soundfile", reason="needs soundfile")
RATE = 22050

READINGS = {
    "Piczak's segments, nothing cut or dropped": {
        "segment_length": 20480,
        "segment_hop": 10240,
        "top_db": "none",
        "silence_db": "none",
        "short": "drop",
        "augment": 1,
        "augment_pitch_draw": "highest",
    },
    "eq. 1 and 2 as they stand": {
        "center": False,
        "segment_length": 21504,
        "window": "rectangular",
        "top_db": "none",
        "peak": "segment",
        "standardize": "none",
    },
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "tones"
    for label, name in enumerate(("low", "high")):
        (root / name).mkdir(parents=True)
        for take in range(4):
            rng = np.random.default_rng([label, take])
            wave = np.sin(2 * np.pi * (300, 3000)[label] * np.arange(int(1.6 * RATE)) / RATE)
            sound = 0.5 * wave + 0.05 * rng.normal(size=len(wave))
            soundfile.write(root / name / f"{name}-{'abcd'[take]}.wav", sound, RATE)
    return root


@pytest.mark.parametrize("given", READINGS.values(), ids=READINGS)
def test_a_run_with_other_sound_settings(given, tree, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SCRATCHNET_CACHE", str(tmp_path / "cache"))
    file, out = tmp_path / "reading.toml", tmp_path / "run"
    file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in given.items()))
    common = ["--net", "piczaknet", "--backend", "cpu", "--epochs", "1", "--batch-size", "8", "--lr", "1e-4"]
    assert train.main([*common, "--config", str(file), "--data", str(tree), "--out", str(out), "--quiet"]) == 0
    capsys.readouterr()
    written = (out / "readings.md").read_text(encoding="utf-8")
    assert (
        readings_markdown([resolve(({"net": "piczaknet", **given, "epochs": 1, "batch_size": 8, "lr": 1e-4}, None))])
        in written
    )
    stored = json.loads((out / "config.json").read_text())
    assert all(stored[name] == value for name, value in given.items() if value != "none")
    assert evaluate.main([str(out), "--backend", "cpu", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["confusion"] == json.loads((out / "result.json").read_text())["test"]["confusion"]


# Where and how a run is made, and what has a name of its own: nothing that the paper could be read by.
NO_READING = {"data", "subset", "net", "back_end", "phase0", "preset", "backend", "threads", "seed", "out", "strict"}
NO_READING |= {"quiet", "grad_norms"}


def test_every_setting_is_a_reading_or_none():
    named = [name for reading in TABLE for name in reading.settings]
    assert sorted(named) == sorted({f.name for f in fields(Config)} - NO_READING)


def other(name, value):
    """Another value of a setting."""
    meta, (kind, _) = Config.__dataclass_fields__[name].metadata, kinds()[name]
    if kind is bool:
        return not value
    if meta["choices"]:
        return next(choice for choice in meta["choices"] if choice != value)
    return {"mel_power": 1, "lr_final": 1e-4}.get(name, kind(value / 2 if value else 1))


SHOWN = {
    "piczaknet": {"augment": 4, "augment_limits": "one", "patience": 4, "clip_norm": 3.0},
    "minivgg": {"back_end": "minivgg", "augment": 4, "augment_limits": "one", "clip_norm": 3.0},
    **dict.fromkeys(("heurinet", "mstnet", "melnet"), {"augment": 4, "augment_limits": "one", "clip_norm": 3.0}),
}
CASES = [
    (net, reading, name)
    for reading in TABLE
    for net in SHOWN
    if reading.asked(Config(net=net, **SHOWN[net]))
    for name in reading.settings
]


@pytest.mark.parametrize("net, reading, name", CASES, ids=[f"{net}-{name}" for net, _, name in CASES])
def test_another_value_is_another_answer(net, reading, name):
    before = Config(net=net, **SHOWN[net])
    if name.endswith("_random"):
        before = Config(init="random")
    elif name == "init" or name.endswith(("_phase1", "_phase2", "_phase3")):
        before = Config()
    after = before.with_(**{name: other(name, getattr(before, name))})
    assert reading.answer(after) != reading.answer(before)


def test_runs_that_answer_differently_are_told_together():
    mine = {question: (answer, options) for question, answer, options in readings([Config(), Config(peak="segment")])}
    assert mine["scaled to full range"] == ("every clip; or: every segment", option("peak"))
    assert mine["window"] == ("Hann, periodic", "--window")
    assert "MSTNet's padding" not in mine and "MelNet's modulus" not in mine


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ({"net": "piczaknet", "standardize": "none"}, "spectrograms in decibels as they are"),
        ({}, "in Phase 0 spectrograms standardised by the training folds; then what its front end gives, as it is"),
        ({"init": "random"}, "what its front end gives, as it is"),
        ({"net": "mstnet"}, "spectrograms standardised by the training folds; what its front end gives likewise"),
        (
            {"net": "mstnet", "standardize": "none"},
            "spectrograms as its front end is forced to give them; what its front end gives likewise",
        ),
    ],
)
def test_what_the_back_end_sees(given, answer):
    assert ("what the back end sees", answer, "--standardize") in readings([Config(**given)])


def test_a_rival_is_asked_nothing_of_piczaknet():
    questions = {question for question, _, _ in readings([resolve(({"net": "minivgg"}, None))])}
    assert not questions & {"PiczakNet's initial weights", "pools' last, incomplete window"}


def answers(**given):
    return {question: answer for question, answer, _ in readings([resolve((given, None))])}


def test_a_rate_that_cannot_fall_to_the_final_one_is_kept():
    assert answers(net="sbcnn", lr=5e-4)["steps"].endswith("phase 0: 0.0005 kept")
    assert answers(net="sbcnn", lr=0.1)["steps"].endswith("phase 0: 0.1 decaying to 0.001")
    assert "phase 1: 0.0005 kept, phase 2: 0.01 decaying to 0.001" in answers(lr_phase1=5e-4)["steps"]


def test_nothing_is_forced_from_random_weights():
    paper = answers(net="mstnet", init="random", preset="paper")
    assert paper["what the back end sees"] == "what its front end gives, as it is" and "forcing" not in paper
    assert "forcing's target" not in paper
    quick = answers(net="mstnet", init="random")  # there it tells the numbers between front end and PiczakNet
    assert quick["forcing's target"].startswith("scaled to ±1") and "forcing" not in quick
