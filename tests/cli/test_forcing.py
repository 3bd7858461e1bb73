"""Spectrogram forcing: before the IceBreaker's Phase 1, and alone."""

import json
import shutil

import numpy as np
import pytest

import scratchnet
from scratchnet import train
from scratchnet.data import open_source, prepare
from scratchnet.model import load_phase
from scratchnet.training.files import read_arrays
from scratchnet.training.runfolder import RunFolder
from tests.cli.conftest import ALL_PHASES, fails, finished

MSTNET = [*ALL_PHASES, "--net", "mstnet", "--mst-batch-norm"]
TEST, VALID = 5, 4  # folds


@pytest.fixture(scope="module")
def icebroken(tree, tmp_path_factory, prepared):
    """A finished run of MSTNet through all phases, not to be changed."""
    return finished(tmp_path_factory.mktemp("runs") / "icebroken", tree, prepared, MSTNET)


@pytest.fixture(scope="module")
def forced(tree, tmp_path_factory, prepared):
    """A finished run of MSTNet's front end forced and left so, not to be changed."""
    return finished(tmp_path_factory.mktemp("runs") / "forced", tree, prepared, [*MSTNET, "--init", "forcing"])


def metrics(path):
    """The lines of metrics.jsonl."""
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def result(path):
    """result.json"""
    return json.loads((path / "result.json").read_text())


def test_mstnet_is_forced_to_the_spectrogram_before_phase_1(icebroken):
    rows = metrics(icebroken)
    assert [row["phase"] for row in rows] == [0, "forcing", 1, 2, 3]
    assert rows[1]["valid_loss"] < 1  # both prediction and target lie in [-1, 1]: less than noise against noise
    assert rows[1]["train_accuracy"] is None
    weights, _ = read_arrays(icebroken / "checkpoint" / "phase-forcing.safetensors")
    params = {name: array for name, array in weights.items() if ".norm" not in name}
    assert sum(array.size for array in params.values()) == 964_412
    assert list(result(icebroken)["phases"]) == ["0", "forcing", "1", "2", "3"]


def test_forcing_alone_ends_where_the_icebreaker_goes_on(icebroken, forced):
    """The same bits, one phase fewer: what it is before Phase 1."""
    assert [row["phase"] for row in metrics(forced)] == [0, "forcing"]
    mine, theirs = result(forced), result(icebroken)
    assert list(mine["phases"]) == ["0", "forcing"]
    assert mine["phases"] == {name: theirs["phases"][name] for name in mine["phases"]}
    assert mine["test"] == mine["phases"]["forcing"]
    phases = [load_phase(icebroken, name).network.state_dict() for name in (0, "forcing")]
    weights = load_phase(forced, "forcing").network.state_dict()
    assert weights.keys() == phases[1].keys()
    assert all(np.array_equal(weights[name], phases[1][name]) for name in weights)
    assert all(np.array_equal(weights[name], array) for name, array in phases[0].items())  # its back end is Phase 0's


def test_its_figures_are_those_of_the_model_that_it_leaves(forced, tree):
    """By the model on the segments, in other sums than the training's; the model's batch normalisation is folded."""
    model = scratchnet.load(forced)
    assert model.about["phase"] == "forcing" and model.network.spec["batch_norm"] is False
    segments = prepare(open_source(tree), model.settings)
    test, valid = (np.flatnonzero(segments.clip_fold[segments.clip] == fold) for fold in (TEST, VALID))
    figures = result(forced)["test"]
    for indices, name in ((test, "segment_accuracy"), (valid, "valid_accuracy")):
        right = model.probabilities(segments, indices).argmax(axis=1) == segments.label[indices]
        assert figures[name] == pytest.approx(right.mean())
    waves = segments.waveforms(test)
    wanted = segments.logmel[test]
    low, high = target_range(segments, {*test, *valid})
    heard = model.network.front().forward(waves).astype(np.float64) * (high - low) / 2 + (high + low) / 2
    assert figures["decibels"] == pytest.approx(np.sqrt(np.mean((heard - wanted) ** 2)), rel=1e-4)
    scale = (high - low) / 2
    assert figures["mean_square_error"] == pytest.approx((figures["decibels"] / scale) ** 2)
    assert result(forced)["phases"]["forcing"]["valid_loss"] == metrics(forced)[-1]["valid_loss"]


def target_range(segments, apart):
    """The least and the largest decibel of the training segments."""
    train = np.array([i for i in segments.originals if i not in apart])
    logmel = segments.logmel[train]
    return float(logmel.min()), float(logmel.max())


def test_it_classifies_and_says_how_far_off_it_is(forced, tree, tmp_path, capsys):
    out = tmp_path / "run"
    shutil.copytree(forced, out)
    (out / "result.json").unlink()
    (out / "checkpoint" / "phase-forcing.json").unlink()
    assert train.main(["--resume", str(out), "--no-quiet"]) == 0
    said = capsys.readouterr().out
    off = result(forced)["test"]["decibels"]
    assert f"forcing done: best epoch 1, {off:.1f} dB off the spectrograms in test, balanced accuracy" in said
    assert "test     forcing (mstnet): balanced accuracy" in said
    assert result(out)["test"] == result(forced)["test"]
    assert RunFolder(out).load_scores("forcing") == RunFolder(forced).load_scores("forcing")
    names, p = scratchnet.load(out).predict(tree / "high" / "high-a.wav")
    assert names == ("high", "low", "middle") and p.sum() == pytest.approx(1)


def test_only_mstnet_is_forced(tree, capsys):
    for net in ("heurinet", "melnet", "piczaknet"):
        fails(capsys, train.main, ["--net", net, "--init", "forcing", "--data", tree], "--init forcing", "--net mstnet")


def test_forcing_that_explodes_names_its_own_rate(tree, tmp_path, capsys):
    given = ["--net", "mstnet", "--init", "forcing", "--epochs", "3", "--batch-size", "8", "--forcing-lr", "1e30"]
    fails(capsys, train.main, [*given, "--backend", "cpu", "--data", tree, "--out", tmp_path / "run", "--quiet"],
          "diverged in forcing", "take a smaller --forcing-lr than 1e+30")  # fmt: skip
