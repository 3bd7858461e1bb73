"""Training that is stopped and goes on."""

import json
import os
import shutil
import signal
from types import SimpleNamespace

import numpy as np
import pytest

from scratchnet import evaluate, predict, train
from scratchnet.data import Segments
from scratchnet.training import dataset, run
from scratchnet.training.files import read_arrays
from scratchnet.training.runfolder import RunFolder
from scratchnet.training.screen import Screen
from tests.cli.conftest import ALL_PHASES, QUICK, fails, write_tree


def interrupt_at(monkeypatch, step):
    """Ctrl-C at the end of mini-batch `step`."""
    count = 0
    original = Screen.step

    def counting(self, *arguments):
        nonlocal count
        count += 1
        if count == step:
            os.kill(os.getpid(), signal.SIGINT)
        original(self, *arguments)

    monkeypatch.setattr(Screen, "step", counting)


def numbers(out):
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("seconds", "waited")} for row in rows]


def same_run(one, two):
    assert numbers(one) == numbers(two)
    results = [json.loads((out / "result.json").read_text()) for out in (one, two)]
    assert results[0]["phases"] == results[1]["phases"]
    weights = [read_arrays(out / "model.safetensors")[0] for out in (one, two)]
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_an_interrupted_run_goes_on_to_the_same_bits(trained, tree, tmp_path, capsys, monkeypatch):
    out = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        interrupt_at(patch, 4)  # the first of the second epoch
        given = [*QUICK, "--data", tree, "--out", out, "--quiet"]
        fails(capsys, train.main, given, f"python -m scratchnet.train --resume {out}", status=130)
    assert not (out / "result.json").exists()
    assert (out / "checkpoint" / "state.safetensors").exists()
    assert train.main(["--resume", str(out), "--quiet"]) == 0
    assert not (out / "checkpoint" / "state.safetensors").exists()
    same_run(trained, out)


def test_an_interrupted_icebreaker_goes_on_to_the_same_bits(icebroken, tree, tmp_path, capsys, monkeypatch):
    out = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        interrupt_at(patch, 14)  # four mini-batches an epoch: in Phase 3
        fails(capsys, train.main, [*ALL_PHASES, "--data", tree, "--out", out], "--resume", status=130)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 1)
        fails(capsys, train.main, ["--resume", out, "--quiet"], "--resume", status=130)
    assert train.main(["--resume", str(out), "--quiet"]) == 0
    same_run(icebroken, out)


def test_ctrl_c_at_the_end_of_a_phase_is_heard(icebroken, tree, tmp_path, capsys, monkeypatch):
    """After the last look at the test fold, while its figures are written: the next phase does not begin."""
    out, save = tmp_path / "stopped", RunFolder.save_scores

    def interrupted(folder, phase, found):
        os.kill(os.getpid(), signal.SIGINT)
        save(folder, phase, found)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save_scores", interrupted)
        fails(capsys, train.main, [*ALL_PHASES, "--data", tree, "--out", out], "--resume", status=130)
    assert {row["phase"] for row in numbers(out)} == {0}
    assert train.main(["--resume", str(out), "--quiet"]) == 0
    same_run(icebroken, out)


def test_ctrl_c_while_data_is_prepared(trained, tmp_path, capsys, monkeypatch):
    tree, out = write_tree(tmp_path / "fresh"), tmp_path / "run"

    def interrupted(self, done, total):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(dataset._Progress, "__call__", interrupted)
        given = [*QUICK, "--data", tree, "--out", out, "--quiet"]
        fails(capsys, train.main, given, f"--resume {out}", status=130)
    assert train.main(["--resume", str(out), "--quiet"]) == 0
    assert json.loads((out / "result.json").read_text())["test"]["segments"] == 6


def test_a_killed_run_goes_on_from_its_last_checkpoint(trained, tree, tmp_path):
    """A folder as SIGKILL leaves it: settings, an epoch that no checkpoint knows of, half a line."""
    out = tmp_path / "killed"
    (out / "checkpoint").mkdir(parents=True)
    shutil.copy(trained / "config.json", out)
    line = (trained / "metrics.jsonl").read_text().splitlines()[0]
    (out / "metrics.jsonl").write_text(line + "\n" + line[:30])
    assert train.main(["--resume", str(out), "--quiet"]) == 0
    same_run(trained, out)


def test_resuming_a_finished_run_says_so_and_changes_nothing(trained, capsys):
    before = (trained / "result.json").read_bytes()
    assert train.main(["--resume", str(trained)]) == 0
    assert "finished already" in capsys.readouterr().out
    assert (trained / "result.json").read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="needs the locks of POSIX")
def test_a_run_that_another_process_trains_is_left_alone(trained, tree, tmp_path, capsys):
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    (out / "result.json").unlink()
    before = (out / "metrics.jsonl").read_bytes()
    with run.RunFolder(out).held():
        fails(capsys, train.main, ["--resume", out, "--quiet"], out, "another process trains here")
    assert (out / "metrics.jsonl").read_bytes() == before
    assert train.main(["--resume", str(out), "--quiet"]) == 0


def test_a_fold_that_another_process_trains_is_left_alone(tree, tmp_path, capsys):
    """By a cross-validation, where the fold is trained by itself, and the other way round."""
    out, begins, seen = tmp_path / "cv", run.RunFolder.describe, []
    assert train.main([*QUICK, "--data", str(tree), "--cv", "--quiet", "--epochs", "1", "--out", str(out)]) == 0
    for folder in (out, out / "fold1"):
        (folder / "result.json").unlink()
    with run.RunFolder(out / "fold1").held():
        fails(capsys, train.main, ["--resume", out], out / "fold1", "another process trains here")

    def as_it_begins(folder, *args, **about):
        if folder.path.name == "fold1":
            seen.append(folder.path)
            fails(capsys, train.main, ["--resume", folder.path], folder.path, "another process trains here")
        begins(folder, *args, **about)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run.RunFolder, "describe", as_it_begins)
        assert train.main(["--resume", str(out)]) == 0
    assert seen == [out / "fold1"]


def test_a_run_whose_data_has_changed_is_not_gone_on_with(trained, tree, tmp_path, capsys):
    out, moved = tmp_path / "run", tmp_path / "moved"
    out.mkdir()
    shutil.copy(trained / "config.json", out)
    shutil.copytree(tree, moved)
    (moved / "low" / "low-a.wav").unlink()
    fails(capsys, train.main, ["--resume", out, "--data", moved, "--quiet"], "changed")


@pytest.mark.parametrize("change", ["class", "fold", "path", "content", "order of classes"])
def test_data_that_is_labelled_otherwise_is_other_data(change):
    """The middle one of three clips, at the border of two classes: the order of the clips stays."""
    data = {"classes": ("a", "b"), "clips": ("1", "2", "3"), "contents": ("x", "y", "z")}
    data |= {"clip_label": [0, 0, 1], "clip_fold": [1, 1, 1]}
    other = {
        "class": {"clip_label": [0, 1, 1]},
        "fold": {"clip_fold": [1, 1, 2]},
        "path": {"clips": ("1", "2", "4")},
        "content": {"contents": ("x", "y", "y")},
        "order of classes": {"classes": ("b", "a")},
    }[change]
    one, two = (
        SimpleNamespace(**{k: np.array(v) if "clip_" in k else v for k, v in table.items()})
        for table in (data, data | other)
    )
    one.layout, two.layout = map(Segments.layout.fget, (one, two))
    assert (one.layout == two.layout) == (change == "content")
    assert Segments.digest.fget(one) != Segments.digest.fget(two)


@pytest.mark.parametrize(
    "before, used, after",
    [
        (None, "cpu", "cpu"),
        ("cpu", "cpu", "cpu"),
        ("cpu", "cuda", "cpu, then cuda"),
        ("cpu, then cuda", "cuda", "cpu, then cuda"),
        ("cpu, then cuda", "cpu", "cpu, then cuda, then cpu"),
    ],
)
def test_a_run_that_goes_on_elsewhere_says_so(before, used, after):
    segments = SimpleNamespace(fingerprint="", layout="", digest="", name="tones")
    about = run._about(SimpleNamespace(about={"used_backend": before}.get), segments, used)
    assert about["used_backend"] == after


def test_a_run_among_its_recordings_goes_on_and_another_begins(tmp_path, capsys, monkeypatch):
    data = write_tree(tmp_path / "birds", 3)
    monkeypatch.chdir(data)
    given = [*QUICK, "--epochs", "1", "--data", ".", "--quiet"]
    fails(capsys, train.main, [*given, "--test-fold", "9"], "--test-fold 9")
    assert not (data / "runs").exists()
    with monkeypatch.context() as patch:
        interrupt_at(patch, 1)
        fails(capsys, train.main, given, "--resume runs/piczaknet-birds-1", status=130)
    assert train.main(["--resume", "runs/piczaknet-birds-1"]) == 0
    assert train.main(given) == 0
    same_run(data / "runs" / "piczaknet-birds-1", data / "runs" / "piczaknet-birds-2")
    capsys.readouterr()
    assert evaluate.main(["runs/piczaknet-birds-1", "--backend", "cpu"]) == 0
    assert "birds: test fold" in capsys.readouterr().out


def test_commands_to_copy_are_quoted(trained, tree, tmp_path, capsys, monkeypatch):
    out, options = tmp_path / "my run", ["--backend", "cpu"]
    shutil.copytree(trained, out)
    assert train.main(["--resume", str(out), "--no-quiet"]) == 0
    assert f"python -m scratchnet.predict '{out}' FILE" in capsys.readouterr().out
    fails(capsys, train.main, [*QUICK, "--data", tree, "--out", out], f"--resume '{out}'")
    (out / "result.json").unlink()
    go_on = f"python -m scratchnet.train --resume '{out}'"
    assert evaluate.main([str(out), *options]) == 0
    assert go_on in capsys.readouterr().err
    fails(capsys, train.main, [*ALL_PHASES, "--data", tree, "--phase0", out, *QUICK[4:]], f"--resume '{out}'")
    shutil.rmtree(out)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 1)
        fails(capsys, train.main, [*QUICK, "--data", tree, "--out", out, "--quiet"], go_on, status=130)


def test_what_changed_in_the_data_is_named(tree, tmp_path, capsys):
    data, out = tmp_path / "data", tmp_path / "run"
    shutil.copytree(tree, data)
    assert train.main([*QUICK, "--epochs", "1", "--data", str(data), "--out", str(out), "--quiet"]) == 0
    (out / "result.json").unlink()
    (data / "low" / "low-a.wav").rename(data / "low" / "moved.wav")
    shutil.copy(data / "high" / "high-a.wav", data / "high" / "high-b.wav")
    said = (
        "low/low-a.wav is gone: put it back; low/moved.wav is new: take it out; high/high-b.wav is another: restore it"
    )
    fails(capsys, train.main, ["--resume", out, "--quiet"], said)


def test_a_fold_that_was_lost_is_trained_again(tree, tmp_path, capsys):
    out = tmp_path / "run"
    assert train.main([*QUICK, "--epochs", "1", "--cv", "--data", str(tree), "--out", str(out)]) == 0
    assert f"try:  python -m scratchnet.predict {out} FILE" in capsys.readouterr().out.splitlines()
    before = (out / "result.json").read_text()
    shutil.rmtree(out / "fold2")
    assert train.main(["--resume", str(out), "--quiet"]) == 0
    test, again = (json.loads(text)["test"] for text in (before, (out / "result.json").read_text()))
    assert again == test and (out / "fold2" / "result.json").is_file()


def test_a_state_that_is_cut_off_is_named_with_the_way_out(tree, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt_at(patch, 4)
        fails(capsys, train.main, [*QUICK, "--data", tree, "--out", out, "--quiet"], "--resume", status=130)
    fails(capsys, predict.main, [out, "file.wav"], "no trained model", "has not ended", f"--resume {out}")
    os.truncate(out / "checkpoint" / "state.safetensors", 100)
    fails(capsys, train.main, ["--resume", out, "--quiet"], "state.safetensors", "remove it, and --resume begins")
