"""Bad input gets one line and leaves nothing behind."""

import json
import os
import shutil
import sys

import pytest

from scratchnet import evaluate, predict, train
from tests.cli.conftest import QUICK, fails, write_tree


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--netz", "heurinet"], ["--netz", "did you mean --net?"]),
        (["--net", "heurnet"], ["--net", "heurnet", "did you mean heurinet?"]),
        (["--lr", "fast"], ["--lr", "fast", "number"]),
        (["--lr"], ["--lr"]),
        (["--epochs", "0"], ["--epochs", "above 0"]),
        (["--batch", "3"], ["--batch", "did you mean --batch-size?"]),
        (["--preset", "piczak"], ["--preset", "did you mean piczak2015?"]),
        (["--backend", "gpu"], ["--backend", "gpu"]),
        (["--data", "absent-folder"], ["absent-folder"]),
        (["--silence-db", "-1e2", "--data", "absent-folder"], ["absent-folder"]),  # a number, and no option
        (["--config", "absent.toml"], ["absent.toml"]),
        (["--resume", "absent-run"], ["absent-run"]),
        (["--resume", "absent-run", "--lr", "1"], ["--lr", "--resume"]),
        (["--resume", "absent-run", "--cv"], ["--cv: --resume"]),
        (["--seed", "9" * 400 + ".5"], ["--seed", "whole number"]),
        (["--lr", "9" * 400], ["--lr", "number"]),
        (["heurinet"], ["heurinet"]),
    ],
)
def test_bad_options_are_named_and_leave_nothing_behind(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fails(capsys, train.main, arguments, *words)
    assert list(tmp_path.iterdir()) == []


def test_a_run_folder_that_holds_a_run_is_not_touched(trained, tree, capsys):
    before = {path.name: path.stat().st_mtime_ns for path in trained.iterdir()}
    fails(capsys, train.main, [*QUICK, "--data", tree, "--out", trained], trained, f"--resume {trained}")
    assert before == {path.name: path.stat().st_mtime_ns for path in trained.iterdir()}


def test_out_may_not_be_a_file(tree, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    fails(capsys, train.main, [*QUICK, "--data", tree, "--out", tmp_path / "file"], tmp_path / "file", "is a file")
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "gone").symlink_to("nowhere")
    for name in ("round", "gone"):
        fails(capsys, train.main, [*QUICK, "--data", tree, "--out", tmp_path / name], name, "a link that leads nowhere")


def test_a_fold_that_is_not_there_is_named_and_no_folder_stays(tree, tmp_path, capsys):
    out = tmp_path / "run"
    fails(capsys, train.main, [*QUICK, "--data", tree, "--out", out, "--test-fold", "9", "--quiet"], "--test-fold 9")
    fails(capsys, train.main, [*QUICK, "--data", tree, "--out", out, "--valid-fold", "9", "--quiet"], "9")
    assert not out.exists()


def test_a_bad_file_is_named_counted_and_skipped_or_stops_a_strict_run(tree, tmp_path, capsys):
    data, out = tmp_path / "data", tmp_path / "run"
    shutil.copytree(tree, data)
    (data / "low" / "broken-z.wav").write_bytes(b"RIFF no sound")
    given = [*QUICK, "--epochs", "1", "--data", str(data), "--out", str(out)]
    fails(capsys, train.main, [*given, "--strict", "--quiet"], "broken-z.wav")
    assert not out.exists()
    assert train.main(given) == 0
    said = capsys.readouterr().out
    assert "broken-z.wav" in said
    assert "1 of 16 files skipped" in said
    assert "broken-z.wav" in json.loads((out / "result.json").read_text())["skipped"][0][0]


def test_a_rate_that_explodes_is_told_from_a_crash(tree, tmp_path, capsys):
    out = tmp_path / "run"
    given = [*QUICK, "--epochs", "20", "--lr", "1e30", "--lr-final", "none", "--data", tree, "--out", out, "--quiet"]
    fails(capsys, train.main, given, "diverged", "--lr", "--clip-norm")
    assert not out.exists()  # no epoch was whole: the same command with a smaller rate may follow


@pytest.mark.parametrize("main", [predict.main, evaluate.main])
def test_what_is_no_run_is_named(main, tmp_path, capsys):
    (tmp_path / "model.safetensors").write_text("none")
    files = [tmp_path / "file.wav"] if main is predict.main else []
    fails(capsys, main, [tmp_path / "absent", *files, "--backend", "cpu"], tmp_path / "absent")
    fails(capsys, main, [tmp_path, *files, "--backend", "cpu"], tmp_path)


def test_the_data_folder_is_no_run_folder(tmp_path, monkeypatch, capsys):
    before = sorted(write_tree(tmp_path, 1).iterdir())
    monkeypatch.chdir(tmp_path)
    for out in (".", tmp_path):
        given = [*QUICK, "--data", ".", "--out", out, "--quiet"]
        fails(capsys, train.main, given, f"--out {out}: ", "the data's folder", "runs/1")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no folder can have such a name")
def test_a_folder_whose_name_is_no_text_is_named(tree, tmp_path, monkeypatch, capsys):
    data = tmp_path / os.fsdecode(b"t\xf6ne")
    shutil.copytree(tree, data)
    given = [*QUICK, "--out", tmp_path / "run"]
    fails(capsys, train.main, [*given, "--data", data], "--data", r"t\xf6ne", "rename")
    monkeypatch.chdir(data)
    fails(capsys, train.main, [*given, "--data", "."], "--data", r"t\xf6ne", "rename")
    assert not (tmp_path / "run").exists()
