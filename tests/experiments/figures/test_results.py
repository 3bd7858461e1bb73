"""Figures 2, 3, 4 and the gradient norms show what stands in the run folders."""

import json
import shutil

import numpy as np
import pytest

from experiments.figures import confusion, gradients, kernels, phases, spectra, systems
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
    one, _ = draw(confusion.main, runs / "heurinet")
    two, _ = draw(confusion.main, runs / "heurinet", runs / "mstnet")
    assert two.shape[1] > 1.5 * one.shape[1]
    assert draw(confusion.main, runs)[0].shape == two.shape  # systems are never summed up with others


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
    mean, spread = phases.mean_and_spread(table + np.array([[0.0], [0.2]]))
    np.testing.assert_allclose(mean, [0.1, 0.2], rtol=1e-12)  # a third epoch would be of the second run alone
    np.testing.assert_allclose(spread, [0.1 * np.sqrt(2)] * 2, rtol=1e-12)
    np.testing.assert_array_equal(phases.mean_and_spread(table[1:]), [table[1], [0, 0, 0]])


def test_fig_4_shows_the_test_figures(runs, draw):
    found = systems.bars(find([runs, runs / "mstnet"]), "segment_balanced_accuracy")
    assert [bar.name for bar in found] == ["PiczakNet, Phase 0", "HeuriNet, IceBreaker", "MSTNet, IceBreaker"]
    heuri, mst = (result(runs, name) for name in ("heurinet", "mstnet"))
    assert found[0].scores == [heuri["phases"]["0"]["segment_balanced_accuracy"]]
    assert found[1].scores == [heuri["test"]["segment_balanced_accuracy"]]
    assert found[2].scores == [mst["test"]["segment_balanced_accuracy"]]  # named twice, there once
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


def test_a_phase_0_that_variants_share_is_one_score(runs, tmp_path):
    for number in range(2):
        shutil.copytree(runs / "heurinet", tmp_path / str(number))
        config = tmp_path / str(number) / "config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), "lr_phase3": 0.01 * (1 + number)}))
    first, *others = systems.bars(find([tmp_path]), "segment_balanced_accuracy")
    assert (first.name, len(first.scores), len(others)) == ("PiczakNet, Phase 0", 1, 2)
    made = json.loads((tmp_path / "1" / "result.json").read_text())  # with a Phase 0 of its own
    made["phases"]["0"]["segment_balanced_accuracy"] = 0.9
    (tmp_path / "1" / "result.json").write_text(json.dumps(made))
    (first, *_) = systems.bars(find([tmp_path]), "segment_balanced_accuracy")
    assert len(first.scores) == 2 and 0.9 in first.scores


def test_bars_of_other_numbers_of_classes_do_not_stand_side_by_side(runs, tmp_path, draw):
    shutil.copytree(runs / "mstnet", tmp_path / "few")
    result = json.loads((tmp_path / "few" / "result.json").read_text())
    result["test"]["classes"] = result["test"]["classes"][:4]
    (tmp_path / "few" / "result.json").write_text(json.dumps(result))
    assert "few has 4 classes: bars" in draw(systems.main, runs, tmp_path / "few", status=2)


def test_long_names_are_wrapped_and_not_cut_off(runs, tmp_path, draw):
    for number in range(3):
        shutil.copytree(runs / "heurinet", tmp_path / str(number))
        config = tmp_path / str(number) / "config.json"
        changes = {"conv1_kernel": 155 + number, "conv1_channels": 80 + number, "lr_phase3": 0.01 * (1 + number)}
        config.write_text(json.dumps({**json.loads(config.read_text()), **changes}))
    for main in (systems.main, phases.main):
        draw(main, tmp_path, runs)  # which looks at the edges
    lines = systems._lines("HeuriNet, IceBreaker (conv1_kernel=310 conv1_channels=40)").split("\n")
    assert max(map(len, lines)) <= 17


def test_the_folds_of_a_system_are_told_apart_in_rows_of_panels(runs, draw, tmp_path):
    for number in range(7):
        shutil.copytree(runs / "heurinet", tmp_path / f"fold{number}")
    image, _ = draw(spectra.main, tmp_path)
    assert image.shape[0] == 2 * 3.0 * 150 and image.shape[1] <= 15 * 150


def test_an_unfinished_run_is_said_to_be(runs, tmp_path, draw):
    shutil.copytree(runs / "mstnet", tmp_path / "run")
    for name in ("result.json", "model.safetensors"):
        (tmp_path / "run" / name).unlink()
    for main, options in ((kernels.main, []), (spectra.main, []), (spectra.main, ["--phase", "3"])):
        assert "not finished; go on with" in draw(main, tmp_path / "run", *options, status=2)
