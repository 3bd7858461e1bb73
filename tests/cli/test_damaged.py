"""A run folder whose files are damaged is named with the way out."""

import json
import shutil

import pytest

from scratchnet import evaluate, train
from tests.cli.conftest import ALL_PHASES, fails

WAY_OUT = "damaged; move the run away and train it again"


@pytest.fixture
def out(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("text", ["{}", "[1]", "{", '{"test": {}}'])
@pytest.mark.parametrize("file", ["result.json", "config.json"])
def test_a_finished_run_with_a_damaged_file_is_not_finished_already(out, file, text, capsys):
    (out / file).write_text(text)
    fails(capsys, train.main, ["--resume", out], f"{out / file}: {WAY_OUT}")


def test_settings_of_an_older_version_may_lack_some(out, capsys):
    settings = json.loads((out / "config.json").read_text())
    del settings["mixup"]
    (out / "config.json").write_text(json.dumps(settings))
    assert train.main(["--resume", str(out)]) == 0
    assert "finished already" in capsys.readouterr().out


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"{\n", b"[1]\n", b"{}\n"])
def test_an_unfinished_run_with_damaged_epochs_is_not_gone_on_with(out, data, capsys):
    (out / "result.json").unlink()
    (out / "metrics.jsonl").write_bytes(data)
    fails(capsys, train.main, ["--resume", out, "--quiet"], f"{out / 'metrics.jsonl'}: {WAY_OUT}")


def test_phase_0_with_damaged_figures_is_not_taken_over(out, tree, tmp_path, capsys):
    file = out / "checkpoint" / "phase-0.json"
    file.write_text("{}")
    given = [*ALL_PHASES, "--epochs", "2", "--batch-size", "8", "--data", tree, "--out", tmp_path / "new"]
    fails(capsys, train.main, [*given, "--phase0", out], f"{file}: {WAY_OUT}")


def test_a_model_is_evaluated_whatever_its_result_says(trained, out, capsys):
    (out / "result.json").write_text("{}")
    said = []
    for run in (trained, out):
        assert evaluate.main([str(run), "--backend", "cpu"]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
