"""Whatever ends a run, what it has done stays, and one line says how to go on."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from scratchnet import evaluate, plots, predict, train
from scratchnet.training import loop, run, runfolder
from scratchnet.training.resolve import resolve
from scratchnet.training.stop import stop_on_signal
from tests.cli.conftest import QUICK, fails, write_tree

ROOT = Path(__file__).resolve().parents[2]


def test_a_cross_validation_that_fails_keeps_its_folds(tree, tmp_path, capsys, monkeypatch):
    out, single, done = tmp_path / "run", run._single, []

    def second_fails(*args):
        if len(done) == 1:
            raise run.InputError("training diverged")
        done.append(single(*args))
        return done[-1]

    given = [*QUICK, "--epochs", "1", "--data", tree, "--cv", "--out", out, "--quiet"]
    monkeypatch.setattr(run, "_single", second_fails)
    fails(capsys, train.main, given, "diverged")
    first = (out / "fold1" / "result.json").read_bytes()
    fails(capsys, train.main, [*given, "--lr", "0.5"], "holds a run already", f"--resume {out}")
    assert evaluate.main([str(out), "--backend", "cpu"]) == 0  # of what there is
    assert "without fold 2" in capsys.readouterr().err
    monkeypatch.setattr(run, "_single", single)
    assert train.main(["--resume", str(out)]) == 0
    assert (out / "fold1" / "result.json").read_bytes() == first
    assert len(json.loads((out / "result.json").read_text())["folds"]) == 5
    (out / "config.json").unlink()
    fails(capsys, train.main, [*given, "--lr", "0.5"], "holds a run already")


def test_a_closed_pipe_interrupts_like_ctrl_c(tree, prepared, tmp_path):
    given = [*QUICK, "--epochs", "5000", "--data", str(tree), "--out", "run"]
    with subprocess.Popen(
        [sys.executable, "-m", "scratchnet.train", *given],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SCRATCHNET_CACHE": str(prepared)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while "epoch 2/" not in process.stdout.readline():
            assert process.poll() is None
        process.stdout.close()
        error = process.stderr.read()
    assert process.returncode == 130
    assert error.strip() == "scratchnet: interrupted; go on with: python -m scratchnet.train --resume run"
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) >= 2
    assert (tmp_path / "run" / "checkpoint" / "state.safetensors").is_file()


def test_a_full_disk_is_named_and_the_run_can_be_gone_on_with(tree, tmp_path, capsys, monkeypatch):
    from safetensors import SafetensorError

    def full(*args, **kwargs):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    out = tmp_path / "run"
    given = [*QUICK, "--data", tree, "--out", out, "--quiet"]
    with monkeypatch.context() as patch:
        patch.setattr("safetensors.numpy.save_file", full)
        fails(capsys, train.main, given, out / "checkpoint", "No space left", f"--resume {out}")
    append, lines = runfolder.RunFolder.append, []

    def full_at_the_second(folder, row):
        if lines:
            raise OSError(errno.ENOSPC, "No space left")
        lines.append(row)
        append(folder, row)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(runfolder.RunFolder, "append", full_at_the_second)
        fails(capsys, train.main, ["--resume", out], f"{out}: No space left", f"--resume {out}")
    resumed = subprocess.run(
        [sys.executable, "-m", "scratchnet.train", "--resume", str(out)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert resumed.returncode == 0, resumed.stderr
    first, *rest = (json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines())
    assert first == lines[0] | {"phase": 0} and [row["epoch"] for row in rest] == [2]


def test_a_disk_without_room_for_the_weights_is_told_before_they_are_trained(tree, tmp_path, capsys, monkeypatch):
    usage, out = SimpleNamespace(free=300_000_000, total=10**12), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda path: usage)
        given = [*QUICK, "--data", tree, "--out", out, "--quiet"]
        fails(
            capsys,
            train.main,
            given,
            f"{out}: 631 MB are needed to train and to go on, and 300 MB are left",
            f"--resume {out}",
        )
        assert not (out / "metrics.jsonl").exists()
        (out / "checkpoint").mkdir(exist_ok=True)
        (out / "checkpoint" / "state.safetensors").write_bytes(bytes(300_000_000))  # it may take the place of this one
        folder, weights = runfolder.RunFolder(out), 105_000_000
        with pytest.raises(OSError, match="330 MB are needed"):
            folder.check_room(weights, weights)
        usage.free = 330_000_000
        folder.check_room(weights, weights)
        folder.check_room(300_000, weights)  # a phase that trains little
        usage.free = usage.total = 0  # a file system that counts nothing
        folder.check_room(weights, weights)
        (out / "checkpoint" / "state.safetensors").unlink()
        assert train.main(["--resume", str(out), "--quiet"]) == 0


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="a system without SIGHUP")
@pytest.mark.parametrize("ignored", [False, True])
def test_a_terminal_that_is_closed_stops_it_as_ctrl_c_does_unless_nohup_says_otherwise(ignored):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        with stop_on_signal() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.requested is not ignored
        assert signal.getsignal(signal.SIGHUP) == (signal.SIG_IGN if ignored else signal.SIG_DFL)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_disk_that_is_full_before_an_epoch_is_over_costs_no_folder(tree, tmp_path, capsys, monkeypatch):
    """It was offered for --resume, and gone."""
    describe, out = runfolder.RunFolder.describe, tmp_path / "two  blanks"

    def full(folder, config, **about):
        if about:
            raise OSError(errno.ENOSPC, "No space left")
        describe(folder, config)

    with monkeypatch.context() as patch:
        patch.setattr(runfolder.RunFolder, "describe", full)
        given = [*QUICK, "--data", tree, "--out", out, "--quiet"]
        fails(capsys, train.main, given, f"No space left; that mended, go on with: {runfolder.resume_command(out)}")
    assert train.main(["--resume", str(out)]) == 0


def test_a_run_folder_that_cannot_be_written_is_taken_away_again(tree, tmp_path, capsys, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left")

    monkeypatch.setattr(runfolder, "write_text", full)
    fails(capsys, train.main, [*QUICK, "--data", tree, "--out", tmp_path / "run"], "--out", "No space left")
    assert not (tmp_path / "run").exists()


def test_two_runs_that_begin_at_once_do_not_share_a_folder(tmp_path, monkeypatch):
    """Another run takes the folder in the moment between the look into it and the first file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    config, mkdir, others = resolve(({}, None)), Path.mkdir, []

    def meanwhile(path, *args, **kwargs):
        mkdir(path, *args, **kwargs)
        if not others:
            others.append(path)
            run.RunFolder.create(path, config.with_(seed=1))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", meanwhile)
        folder = run._new_folder(config, "birds")
    assert [others[0].name, folder.path.name] == ["heurinet-birds-1", "heurinet-birds-2"]
    assert [run.RunFolder.open(path)[1].seed for path in (others[0], folder.path)] == [1, 0]
    others.clear()
    with monkeypatch.context() as patch, pytest.raises(run.InputError, match="holds a run already"):
        patch.setattr(Path, "mkdir", meanwhile)
        run._new_folder(config.with_(out=str(tmp_path / "run")), "birds")
    assert run.RunFolder.open(tmp_path / "run")[1].seed == 1


def test_a_run_that_is_killed_as_it_begins_can_be_gone_on_with(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(config):
        raise Killed

    config = resolve(({}, None))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(runfolder.readings, "page", killed)
        run.RunFolder.create(tmp_path / "run", config)
    folder, stored = run.RunFolder.open(tmp_path / "run")
    assert stored == config and not folder.checkpoint.exists()
    folder.describe(stored)  # as the run that goes on does
    assert folder.checkpoint.is_dir()


def test_a_cache_that_cannot_be_is_named(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SCRATCHNET_CACHE", str(tmp_path / "file" / "cache"))
    fails(capsys, train.main, ["--quiet", "--backend", "cpu", "--out", tmp_path / "run"], "SCRATCHNET_CACHE")
    assert not (tmp_path / "run").exists()


def test_any_class_name_can_be_drawn(tree, tmp_path, capsys, recwarn):
    data = tmp_path / "data"
    for name, new in {"high": "a$_$b", "low": "$\\foo$", "middle": "猫"}.items():
        shutil.copytree(tree / name, data / new)
    assert train.main([*QUICK, "--epochs", "1", "--data", str(data), "--out", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().err == ""
    assert (tmp_path / "run" / "confusion.png").is_file()
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def test_a_picture_that_fails_costs_no_result(tree, tmp_path, capsys, monkeypatch):
    def broken(*args):
        raise ValueError("no such\ncolour")

    monkeypatch.setattr(plots, "save_confusions", broken)
    assert train.main([*QUICK, "--epochs", "1", "--data", str(tree), "--out", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().err.endswith("run: a picture could not be made: ValueError: no such colour\n")
    assert (tmp_path / "run" / "result.json").is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no file can have such a name")
def test_a_name_that_is_no_text_is_named(trained, tmp_path, capsys):
    data = write_tree(tmp_path / "data", 2)
    (data / "low" / os.fsdecode(b"caf\xe9.wav")).write_bytes((data / "low" / "low-a.wav").read_bytes())
    fails(capsys, train.main, [*QUICK, "--data", data, "--out", tmp_path / "run"], data, r"low/caf\xe9.wav", "rename")
    assert predict.main([str(trained), str(data / "low"), "--json", "--backend", "cpu"]) == 2
    printed = capsys.readouterr()
    assert "not UTF-8; rename it" in printed.err
    answers = {Path(answer["file"]).name: "error" in answer for answer in json.loads(printed.out)}
    assert answers == {"caf\udce9.wav": True, "low-a.wav": False, "low-b.wav": False}


def test_the_model_of_an_unfinished_run_is_told_from_the_last(icebroken, tree, tmp_path, capsys):
    out = tmp_path / "run"
    shutil.copytree(icebroken, out)
    (out / "result.json").unlink()
    said = f"{out}: not finished, its model is that of phase 3, heurinet; go on with"
    assert evaluate.main([str(out), "--backend", "cpu"]) == 0
    printed = capsys.readouterr()
    assert said in printed.err and "heurinet (not finished): " in printed.out
    assert predict.main([str(out), str(tree / "low" / "low-a.wav"), "--backend", "cpu"]) == 0
    assert said in capsys.readouterr().err
