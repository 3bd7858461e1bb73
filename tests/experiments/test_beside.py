"""Runs side by side: who waits for whom, who is told to stop; and real ones, in processes of their own."""

import json
import subprocess
import sys
import time
from textwrap import dedent
from types import SimpleNamespace

import pytest

from experiments import beside, noise, reproduce
from experiments.reproduce import Reproduction
from scratchnet.data import open_source
from scratchnet.training.resolve import resolve
from scratchnet.training.runfolder import RunFolder
from scratchnet.training.screen import Screen

# Children train a network made small, which this process does not know: noise is for others to test.
TINY = ["--scale", "tiny", "--backend", "cpu", "--quiet", "--no-noise", "--only", "piczak2015"]


class Child:
    """A run that ends after so many looks at it."""

    def __init__(self, looks, error=None):
        self.looks, self.why, self.calls = looks, error, []

    @property
    def running(self):
        self.looks -= 1
        return self.looks >= 0

    def stop(self):
        self.calls.append("stop")

    def wait(self):
        self.calls.append("wait")

    def error(self):
        return self.why


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(beside, "sleep", lambda seconds: None)


def test_so_many_at_a_time_and_each_after_the_one_it_waits_for(at_once):
    events = []
    looks = {"a": 5, "behind a": 0, "c": 1, "d": 1}

    def start(name):
        events.append(f"begin {name}")
        if name == "d":
            raise OSError("disk full")
        return Child(looks[name], "diverged" if name == "c" else None)

    def ready(name, others):
        return name != "behind a" or "a" not in others

    for name, why in beside.side_by_side(looks, 2, ready, start):
        events.append((name, why))
    assert events == [
        *("begin a", "begin c"),
        ("c", "diverged"),
        *("begin d", ("d", "disk full")),
        ("a", None),
        *("begin behind a", ("behind a", None)),
    ]


def test_by_itself_it_says_who_starts_it():
    done = subprocess.run([sys.executable, "-m", "experiments.beside", "--help"], capture_output=True, text=True)
    assert done.returncode == 1 and "started by experiments.reproduce" in done.stderr


def test_who_leaves_the_loop_stops_those_at_work(at_once):
    made = []

    def start(name):
        made.append(Child({"short": 0}.get(name, 1000)))
        return made[-1]

    runs = beside.side_by_side(["long", "short", "later"], 2, lambda *what: True, start)
    assert next(runs) == ("short", None)
    runs.close()
    assert [child.calls for child in made] == [["stop", "wait"], []]


@pytest.mark.parametrize("noise", [True, False])
def test_noise_is_asked_for_unless_left_out(noise, monkeypatch):
    asked = []
    monkeypatch.setattr(reproduce, "Child", lambda path, changes, noisy: asked.append(noisy) or Child(0))
    work = SimpleNamespace(count=1, used="cuda", noise=noise, path=str, start=lambda job: {}, beginning=lambda *_: None)
    assert list(reproduce.beside(work, ["run"], lambda job: None)) == [("run", None)]
    assert asked == [noise]


@pytest.fixture(scope="module")
def out(tones, tmp_path_factory):
    """A finished reproduction, two runs at a time, one of which failed at first."""
    out = tmp_path_factory.mktemp("beside") / "out"
    start = Reproduction.start

    def without_data(self, job):
        return start(self, job) | ({"data": "absent"} if "deltas" in job.name and "augment" not in job.name else {})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reproduction, "start", without_data)
        assert reproduce.main([*TINY, "--data", str(tones), "--out", str(out), "--jobs", "2", "--threads", "2"]) == 1
    return out


def test_runs_in_processes_of_their_own(out, tones, capfd):
    runs = {path.name: path for path in (out / "runs").iterdir()}
    (failed,) = (path for path in runs.values() if not (path / "result.json").is_file())
    assert failed.name == "piczaknet-deltas-librosa031-seed0"
    assert "absent" in (failed / "failed.txt").read_text()
    done = [path for path in runs.values() if path != failed]
    assert len(done) == 3 and not any((path / "failed.txt").exists() for path in done)
    assert all(json.loads((path / "config.json").read_text())["threads"] == 1 for path in done)  # of two, each
    assert reproduce.main([*TINY, "--data", str(tones), "--out", str(out), "--jobs", "2"]) == 0
    assert "4 of 4 runs finished" in capfd.readouterr().out
    assert not (failed / "failed.txt").exists()


def long_run(path, tones):
    """A run that would take days, not begun."""
    settings = {"net": "sbcnn", "data": str(tones), "epochs": 10**6, "batch_size": 8, "threads": 1, "backend": "cpu"}
    RunFolder.create(path, resolve((settings, None)))
    return path


def until(true, seconds=120):
    """Wait until it is so."""
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.1)


def test_ctrl_c_stops_them_all_and_the_same_command_goes_on(tones, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    given = [*TINY, "--data", str(tones), "--out", str(out), "--jobs", "2"]

    def interrupted(seconds):
        time.sleep(seconds)
        if len(list(out.rglob("config.json"))) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(beside, "sleep", interrupted)
        assert reproduce.main(given) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert not list(out.rglob("result.json")) and not list(out.rglob("failed.txt"))
    assert reproduce.main(given) == 0
    assert len(list(out.rglob("result.json"))) == 4


def test_a_run_is_tested_in_noise_where_it_was_trained(tones, tmp_path):
    """By its process, to the figures that whoever gathers them would make."""
    path = tmp_path / "run"
    settings = {"net": "sbcnn", "data": str(tones), "epochs": 1, "batch_size": 8, "split": "cv", "backend": "cpu"}
    RunFolder.create(path, resolve((settings, None)))
    for noisy in (False, True):
        child = beside.Child(path, {"threads": 1, "quiet": True}, noisy)
        child.wait()
        assert child.error() is None
        kept = sorted(path.rglob(noise.KEPT))
        assert [file.parent.name for file in kept] == (["fold1", "fold2", "fold3"] if noisy else [])
    mine = json.loads(kept[0].read_text())
    kept[0].unlink()
    screen = Screen(quiet=True)
    recordings = noise.Recordings(open_source(tones), RunFolder.open(path)[1], screen)
    assert noise.rows_of(path / "fold1", recordings, screen) == mine["rows"]
    assert json.loads(kept[0].read_text()) == mine


def test_a_run_that_is_told_to_stop_leaves_a_checkpoint(tones, tmp_path):
    path = long_run(tmp_path / "run", tones)
    child = beside.Child(path, {"phase0": None})
    until((path / "metrics.jsonl").is_file)
    assert child.running
    child.stop()
    child.wait()
    assert "interrupted" in child.error() and (path / "checkpoint" / "state.safetensors").is_file()


def test_a_run_whose_starter_is_gone_stops_even_one_that_ignores_ctrl_c(tones, tmp_path):
    """Killed at once, the starter says nothing: the end of its pipe does."""
    path = long_run(tmp_path / "run", tones)
    code = f"""
        import signal, time
        from pathlib import Path
        from experiments.beside import Child
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a script's `command &` has it
        child = Child(Path({str(path)!r}), {{}})
        time.sleep(1000)
    """
    with subprocess.Popen([sys.executable, "-c", dedent(code)]) as starter:
        until((path / "metrics.jsonl").is_file)
        starter.kill()
    until((path / "checkpoint" / "state.safetensors").is_file)
    lines = len((path / "metrics.jsonl").read_text().splitlines())
    time.sleep(2)
    assert len((path / "metrics.jsonl").read_text().splitlines()) == lines


def test_a_process_runs_the_code_of_its_checkout(tmp_path, monkeypatch):
    other, run = tmp_path / "scratchnet", tmp_path / "run"
    other.mkdir()
    (other / "__init__.py").write_text("raise ImportError('an older copy')")
    run.mkdir()
    (run / "config.json").write_text("[]")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    child = beside.Child(run, {})
    child.wait()
    assert child.error() == f"{run / 'config.json'}: damaged; move the run away and train it again"
