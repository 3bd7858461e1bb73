"""Other readings of the paper's sound settings, trained and tested from end to end by a --config file."""

import json

import numpy as np
import pytest

from scratchnet import evaluate, train

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
    stored = json.loads((out / "config.json").read_text())
    assert all(stored[name] == value for name, value in given.items() if value != "none")
    assert evaluate.main([str(out), "--backend", "cpu", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["confusion"] == json.loads((out / "result.json").read_text())["test"]["confusion"]
