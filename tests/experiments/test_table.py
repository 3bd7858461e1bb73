"""Many runs in one table."""

import csv
import hashlib
import json
import shutil
from pathlib import Path

import pytest

from experiments import table
from experiments.figures.runs import Run, by_system, find
from scratchnet import train
from scratchnet.errors import InputError
from scratchnet.training.resolve import resolve
from scratchnet.training.runfolder import RunFolder


@pytest.fixture(scope="module")
def runs(tones, tmp_path_factory):
    """A cross-validation over three folds, and a single split with another seed."""
    root = tmp_path_factory.mktemp("runs")
    given = ["--net", "piczaknet", "--epochs", "1", "--batch-size", "4", "--backend", "cpu", "--quiet"]
    assert train.main([*given, "--data", str(tones), "--cv", "--out", str(root / "cv")]) == 0
    assert train.main([*given, "--data", str(tones), "--seed", "1", "--out", str(root / "one")]) == 0
    return root


def test_a_row_for_each_model_and_one_for_the_system(runs, tmp_path, capsys):
    assert table.main([str(runs), "--out", str(tmp_path)]) == 0
    with open(tmp_path / "runs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted((row["seed"], row["fold"]) for row in rows) == [("0", "1"), ("0", "2"), ("0", "3"), ("1", "3")]
    for row in rows:
        weights = (Path(row["run"]) / "model.safetensors").read_bytes()
        assert row["sha256"] == hashlib.sha256(weights).hexdigest()
        assert (row["net"], row["preset"], row["backend"]) == ("piczaknet", "quick", "cpu")
        assert row["settings"] == "epochs=1 batch_size=4"
        assert float(row["training_seconds"]) > 0
    with open(tmp_path / "systems.csv", newline="") as file:
        (system,) = csv.DictReader(file)
    assert (system["models"], system["folds"], system["seeds"]) == ("4", "3", "2")
    scores = [float(row["clip_accuracy_probability"]) for row in rows]
    mean = sum(scores) / 4
    assert float(system["clip_accuracy_probability"]) == pytest.approx(mean)
    deviation = (sum((score - mean) ** 2 for score in scores) / 3) ** 0.5
    assert float(system["clip_accuracy_probability_sd"]) == pytest.approx(deviation)
    said = capsys.readouterr().out
    assert said.strip() == (tmp_path / "systems.md").read_text().strip()
    assert f"{100 * mean:.1f} ± {100 * deviation:.1f}" in said


def test_of_a_run_on_a_gpu_the_processor_is_the_gpu(runs, tmp_path):
    shutil.copytree(runs / "one", tmp_path / "one")
    config = tmp_path / "one" / "config.json"
    about = json.loads(config.read_text())
    assert about["used_gpu"] is None
    assert table.row_of(tmp_path / "one")["processor"] == about["versions"]["processor"]
    config.write_text(json.dumps({**about, "used_backend": "cuda", "used_gpu": "a GPU"}))
    assert table.row_of(tmp_path / "one")["processor"] == "a GPU"


def test_a_single_model_has_no_deviation(runs):
    (row,) = [table.row_of(folder) for folder in table.find([runs / "one"])]
    made = table.summary([row])
    assert made["clip_accuracy_majority_sd"] is None
    assert "±" not in "".join(table.figures_of(made))


def test_a_run_behind_a_link_counts_once_and_a_circle_ends(runs, tmp_path):
    shutil.copytree(runs / "one", tmp_path / "one")
    (tmp_path / "latest").symlink_to("one")
    (tmp_path / "one" / "round").symlink_to(tmp_path)
    assert table.find([tmp_path]) == [tmp_path / "one"] and find([tmp_path])[0].path == tmp_path / "one"
    (tmp_path / "chosen").mkdir()
    (tmp_path / "chosen" / "best").symlink_to(tmp_path / "one")  # runs may be gathered by links alone
    assert table.find([tmp_path / "chosen"]) == [tmp_path / "chosen" / "best"]
    assert len(find([tmp_path])) == len(table.find([tmp_path / "chosen", tmp_path])) == 1


def test_a_run_given_twice_counts_once(runs):
    assert len(table.find([runs, runs / "cv", runs / "cv" / "fold1"])) == 4


def test_where_phase_0_came_from_makes_no_other_system():
    config = resolve(({"net": "heurinet", "lr_phase1": 0.1}, None))
    assert table.differences(config.with_(phase0="somewhere")) == table.differences(config) == "lr_phase1=0.1"


def test_markdown_and_times():
    assert table.markdown(["a", "b"], [["|x|", "1"]]) == "| a | b |\n| --- | --- |\n| \\|x\\| | 1 |"
    assert table.markdown(["a", "b"], [["x", 1]], numbers=True) == "| a | b |\n| --- | --: |\n| x | 1 |"
    assert [table.minutes(s) for s in (3, 600, 36000)] == ["3 s", "10 min", "10.0 h"]
    assert table.percent(0.815, 0.061) == "81.5 ± 6.1"


def test_what_holds_no_run_is_named(tmp_path, capsys):
    for path, words in [(tmp_path, "no finished run"), (tmp_path / "absent", "no such folder")]:
        assert table.main([str(path)]) == 2
        assert words in capsys.readouterr().err


def test_an_unfinished_cross_validation_is_told_of(runs, tmp_path, capsys):
    whole = tmp_path / "cv"
    for fold in (1, 2):
        shutil.copytree(runs / "cv" / f"fold{fold}", whole / f"fold{fold}")
    shutil.copy(runs / "cv" / "config.json", whole)
    assert len(table.find([whole])) == 2
    said = f"{whole}: not finished, has fold1, fold2 alone; go on with python -m scratchnet.train --resume {whole}"
    assert said in capsys.readouterr().err


def test_a_finished_cross_validation_without_one_of_its_folds_is_named(runs, tmp_path, capsys):
    shutil.copytree(runs / "cv", tmp_path / "cv")
    shutil.rmtree(tmp_path / "cv" / "fold2")
    assert table.main([str(tmp_path)]) == 2
    assert "finished, but without fold 2" in capsys.readouterr().err
    assert len(table.find([tmp_path / "cv" / "fold1", tmp_path / "cv" / "fold3"])) == 2  # the way out
    (tmp_path / "cv" / "result.json").unlink()  # one that has yet to train a fold
    assert len(table.find([tmp_path])) == 2


@pytest.mark.parametrize("folds", [None, 5, [1, 2, 3], {}, {"first": "fold1"}])
def test_of_a_finished_cross_validation_the_folds_must_be_numbers(runs, tmp_path, folds):
    shutil.copytree(runs / "cv", tmp_path / "cv")
    result = tmp_path / "cv" / "result.json"
    result.write_text(json.dumps({**json.loads(result.read_text()), "folds": folds}))
    with pytest.raises(InputError, match="result.json: damaged"):
        table.find([tmp_path])


def test_two_collections_are_two_systems(runs, tmp_path, capsys):
    """A run on a folder of sounds is one of that folder's, whatever other folders are called."""
    paths = []
    for number in (1, 2):
        path = tmp_path / str(number)
        shutil.copytree(runs / "one", path)
        config = json.loads((path / "config.json").read_text())
        config |= {"data_name": "folder", "data": f"/sounds/{number}/birds", "layout": f"{number}" * 32}
        (path / "config.json").write_text(json.dumps(config | {"seed": number}))
        paths.append(path)
    assert table.main([str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line.split(" | ")[0] for line in lines] == ["| birds", "| birds"]
    systems = by_system(Run(*RunFolder.open(path)) for path in paths)
    assert list(systems) == ["PiczakNet (11111111)", "PiczakNet (22222222)"]


def test_a_model_too_many_or_too_few_shows(runs, tmp_path, capsys):
    shutil.copytree(runs / "cv", tmp_path / "cv")
    assert table.main([str(tmp_path)]) == 0
    assert "| 3 × 1 |" in capsys.readouterr().out
    shutil.copytree(runs / "cv" / "fold1", tmp_path / "copy")
    assert table.main([str(tmp_path)]) == 0
    assert "| 3 × 1, 4 models |" in capsys.readouterr().out
