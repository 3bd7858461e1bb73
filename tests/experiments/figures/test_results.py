"""Figures 2, 3, 4 and the gradient norms show what stands in the run folders."""

import json

import numpy as np
import pytest

from experiments.figures import confusion, gradients, phases, systems
from experiments.figures.runs import find
from scratchnet.errors import InputError


def result(runs, name):
    return json.loads((runs / name / "result.json").read_text())


def rows(runs, name):
    return [json.loads(line) for line in (runs / name / "metrics.jsonl").read_text().splitlines()]


def test_fig_2_sums_up_runs(runs, draw):
    both = np.array(result(runs, "heurinet")["test"]["confusion"]) + result(runs, "mstnet")["test"]["confusion"]
    assert np.array_equal(confusion.pooled(find([runs])), both)
    clips = confusion.pooled(find([runs / "mstnet"]), clips=True)
    assert clips.sum() == result(runs, "mstnet")["test"]["clips"]
    one, _ = draw(confusion.main, runs)
    two, _ = draw(confusion.main, runs / "heurinet", runs / "mstnet")
    assert two.shape[1] > 1.5 * one.shape[1]


def test_fig_2_needs_the_same_classes(runs, draw, tmp_path):
    other = result(runs, "heurinet")
    other["test"]["classes"] = [*other["test"]["classes"][:-1], "thunder"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text((runs / "heurinet" / "config.json").read_text())
    (tmp_path / "other" / "result.json").write_text(json.dumps(other))
    assert "other classes" in draw(confusion.main, runs, tmp_path / "other", status=2)
    (tmp_path / "other" / "result.json").unlink()
    assert "not finished" in draw(confusion.main, tmp_path / "other", status=2)


def test_fig_3_shows_the_lines_of_metrics_jsonl(runs, draw):
    mine = find([runs / "heurinet"])
    for phase in (1, 2, 3):
        written = [row["valid_balanced_accuracy"] for row in rows(runs, "heurinet") if row["phase"] == phase]
        assert phases.accuracies(mine, str(phase), phases.VALIDATION).tolist() == [written]
    assert phases.accuracies(mine, "random", phases.TRAINING).shape == (1, 0)
    draw(phases.main, runs)
    assert "random" in draw(phases.main, runs, "--phases", "random", status=2)


def test_fig_3_runs_that_stopped_early_end_early(runs, tmp_path):
    for number, epochs in enumerate((2, 3)):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        (folder / "config.json").write_text((runs / "heurinet" / "config.json").read_text())
        lines = [{"phase": 1, "epoch": n + 1, "train_accuracy": 0.1 * n} for n in range(epochs)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    table = phases.accuracies(find([tmp_path]), "1", phases.TRAINING)
    np.testing.assert_array_equal(table, [[0, 0.1, np.nan], [0, 0.1, 0.2]])
    several, low, high = phases.band(table + np.array([[0.0], [0.2]]))
    assert several.tolist() == [True, True, False]
    np.testing.assert_allclose(low, np.array([0.1, 0.2]) - 0.1 * np.sqrt(2), rtol=1e-12)
    np.testing.assert_allclose(high, np.array([0.1, 0.2]) + 0.1 * np.sqrt(2), rtol=1e-12)


def test_fig_4_shows_the_test_figures(runs, draw):
    found = systems.bars(find([runs, runs / "mstnet"]), "segment_balanced_accuracy")
    assert [bar.name for bar in found] == ["PiczakNet, Phase 0", "HeuriNet, IceBreaker", "MSTNet, IceBreaker"]
    heuri, mst = (result(runs, name) for name in ("heurinet", "mstnet"))
    assert found[0].scores == [heuri["phases"]["0"]["segment_balanced_accuracy"]]
    assert found[1].scores == [heuri["test"]["segment_balanced_accuracy"]]
    assert found[2].scores == [mst["test"]["segment_balanced_accuracy"]] * 2  # named twice
    bar = systems.Bar("x", "heurinet", [0.5, 0.7])
    assert (bar.mean, bar.deviation) == (pytest.approx(0.6), pytest.approx(0.02**0.5))
    draw(systems.main, runs, "--measure", "clip_accuracy_probability")
    assert "--measure" in draw(systems.main, runs, "--measure", "luck", status=2)


def test_phase_0_of_another_back_end_is_not_piczaknet(runs, tmp_path):
    config = json.loads((runs / "heurinet" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "back_end": "sbcnn"}))
    (tmp_path / "result.json").write_text((runs / "heurinet" / "result.json").read_text())
    names = [bar.name for bar in systems.bars(find([tmp_path]), "segment_balanced_accuracy")]
    assert names == ["HeuriNet before SB-CNN, IceBreaker"]


def test_gradient_norms_are_those_recorded(runs, draw, tmp_path):
    lines = rows(runs, "mstnet")
    norms = gradients.norms(lines)
    assert gradients.layers_of(norms) == [
        *(f"deepfourier.conv{n}" for n in (1, 2, 3)),
        *(f"piczak.{name}" for name in ("conv1", "conv2", "dense1", "dense2", "output")),
    ]
    rival = ["sbcnn.conv1.weight", "sbcnn.output.bias", "deepfourier.conv1.weight"]
    assert gradients.layers_of(rival) == ["deepfourier.conv1", "sbcnn.conv1", "sbcnn.output"]
    phases_of_lines = [row["phase"] for row in lines]
    assert phases_of_lines == [0, "forcing", 1, 2, 3]
    trained = np.isfinite(norms["piczak.dense1.weight"])  # by Phases 0 and 3 alone
    assert trained.tolist() == [True, False, False, False, True]
    assert norms["piczak.dense1.weight"][4] == lines[4]["grad_norms"]["piczak.dense1.weight"]
    assert gradients.phase_parts([{"phase": 0}, {"phase": 0}, {"phase": 1}]) == [slice(0, 2), slice(2, 3)]
    draw(gradients.main, runs / "mstnet")
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_text((runs / "heurinet" / "config.json").read_text())
    (bare / "metrics.jsonl").write_text(json.dumps({"phase": 0, "epoch": 1}) + "\n")
    assert "--grad-norms" in draw(gradients.main, bare, status=2)


def test_a_figure_of_one_run_takes_one(runs, draw):
    assert "2 runs" in draw(gradients.main, runs, status=2)
    with pytest.raises(InputError, match="no phase"):
        find([runs])[0].weights("7")
