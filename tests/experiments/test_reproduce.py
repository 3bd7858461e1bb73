"""A tiny version of every experiment runs; nothing is done twice; what is stopped or fails does not hurt the rest."""

import csv
import json
import os
import shutil
import signal
from types import SimpleNamespace

import numpy as np
import pytest

from experiments import reproduce, results
from experiments.studies import SCALES, STUDIES, job, jobs
from scratchnet.errors import InputError
from scratchnet.training import run
from scratchnet.training.files import read_arrays
from scratchnet.training.host import versions
from scratchnet.training.icebreaker import IceBreaker
from scratchnet.training.screen import Screen

TINY = ["--scale", "tiny", "--backend", "cpu", "--quiet"]


# -- studies as data


@pytest.mark.parametrize("scale", SCALES)
def test_equal_runs_have_equal_names_and_others_have_others(scale):
    made = [
        job(system, scale, seed)
        for study in STUDIES.values()
        for system in study.systems
        for seed in range(2)
    ]  # fmt: skip
    by_name, by_settings = {}, {}
    for one in made:
        settings = json.dumps(reproduce.settings(one.config), sort_keys=True)
        assert by_name.setdefault(one.name, settings) == settings
        assert by_settings.setdefault(settings, one.name) == one.name
    assert all("/" not in name and " " not in name for name in by_name)


def test_the_published_setting_is_the_papers():
    plan = {one.name: one.config for one in jobs(STUDIES, "paper", None, {})}
    heuri, mst = plan["heurinet-icebreaker-seed2"], plan["mstnet-icebreaker-seed0"]
    assert [heuri.epochs_of(phase) for phase in (0, 1, 2, 3, "random", "forcing")] == [300, 100, 100, 100, 300, 300]
    assert (heuri.batch_size, heuri.momentum, heuri.clip_norm, heuri.cv, heuri.augment) == (1000, 0.9, None, True, 0)
    assert [config.lr_of(3) for config in (heuri, mst)] == [2e-3, 5e-3]
    assert mst.clip_norm == 3
    slow = plan["heurinet-icebreaker-lr_times-0.25-seed0"]
    assert [slow.lr_of(phase) for phase in (0, 1, 2, 3)] == [5e-4] * 4
    assert slow.lr_of("forcing") == heuri.lr_of("forcing")
    long = plan["sbcnn-augment-4-mixup-0.4-epochs_phase0_times-5-seed0"]
    assert [long.epochs_of(phase) for phase in (0, 1)] == [1500, 100] and long.lr_of(0) == heuri.lr_of(0)
    assert len([name for name in plan if name.startswith("heurinet-icebreaker-seed")]) == 3


def test_what_is_trained_longer_is_so_where_a_scale_gives_all_phases_as_many_epochs():
    plan = {one.name: one.config for one in jobs(STUDIES, "tiny", None, {})}
    name = next(name for name in plan if name.startswith("heurinet-icebreaker-epochs_phase3_times-4"))
    assert [plan[name].epochs_of(phase) for phase in (0, 1, 2, 3)] == [1, 1, 1, 4]


def test_pairs_are_systems_of_their_study():
    for study in STUDIES.values():
        assert all(system in study.systems for pair in study.pairs for system in pair)
        assert len({system.name for system in study.systems}) == len(study.systems)


def test_the_scales_split_and_another_go_into_folders_of_their_own():
    outs = [
        reproduce.default_out("esc10", *them) for them in (("paper", "cv"), ("paper", "single"), ("tiny", "single"))
    ]
    assert outs == ["runs/reproduce-esc10-paper", "runs/reproduce-esc10-paper-single", "runs/reproduce-esc10-tiny"]


def test_results_name_the_command_that_makes_them():
    def named(*words):
        return reproduce.command(reproduce.parser().parse(words))

    assert named("--backend", "cpu", "--quiet") == "python -m experiments.reproduce --scale short"
    line = "--data PATH --scale paper --only systems --only melnet --subset esc10 --split single --seeds 1"
    assert named(*line.split(), "--out", "x") == f"python -m experiments.reproduce {line}"
    made = reproduce.command(reproduce.parser().parse(line.split()))
    source = SimpleNamespace(name="esc10", folds=(1, 2), absent_folds=(3,), unusable=("x.wav", "not there") * 4)
    work = SimpleNamespace(source=source, data="esc10", scale="paper", used="cpu", command=made)
    work.about = {"split": "single"}
    text = results.heading(work, SimpleNamespace(rows={"a": [{"commit": "c", "version": "1"}]}))
    assert f"Made by `{made}` at c" in text
    assert "Split: fold 2 alone" in text and "Not used: 8 files, fold 3 altogether." in text
    assert named("--no-noise").endswith("--scale short --no-noise")
    assert (
        "three seeds; for a GPU; here with `--only systems --only melnet --subset esc10 --split single --seeds 1`"
        in text
    )


def test_the_estimate_counts_recordings_not_their_variants(monkeypatch):
    class Augmented:
        originals, classes = np.arange(5), ("a", "b")

        def __len__(self):
            return 25

    class Estimate(reproduce.Estimate):
        def __init__(self, *counts):
            seen.append(counts)

        seconds = bytes = models = lambda self, *what, **how: 1.0

    seen = []
    monkeypatch.setattr(reproduce.dataset, "prepare_data", lambda *what: Augmented())
    monkeypatch.setattr(reproduce, "Estimate", Estimate)
    plan = [job(STUDIES["piczak2015"].systems[0], "tiny", 0)]
    work = SimpleNamespace(plan=plan, studies=("piczak2015",), used="cpu", out="out", screen=Screen(quiet=True))
    work.source = SimpleNamespace(folds=(1, 2, 3))
    work.trained, work.beginning, work.noise = set, lambda *what: None, True
    reproduce.say_plan(work, plan)
    assert seen == [(5, 3, 2)]


def test_a_run_with_other_settings_enters_no_table(tmp_path):
    planned = job(STUDIES["piczak2015"].systems[0], "tiny", 0)
    (tmp_path / "config.json").write_text(
        json.dumps({**planned.config.with_(batch_size=7).to_dict(), "versions": versions()})
    )
    (tmp_path / "result.json").write_text("{}")
    work = SimpleNamespace(plan=[planned], out=tmp_path, path=lambda planned: tmp_path)
    work.finished = lambda planned: reproduce.Reproduction.finished(work, planned)
    assert results.Finished(work).rows == {}


# -- everything, tiny


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Where the tests of this module put their runs, one after the other."""
    return tmp_path_factory.mktemp("reproduced") / "out"


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_runs(name, tones, out, capsys):
    assert reproduce.main([*TINY, "--data", str(tones), "--out", str(out), "--only", name]) == 0
    text = (out / "results.md").read_text()
    assert STUDIES[name].question in text
    assert "not finished" not in text
    with open(out / "systems.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["system"] for row in rows] == [system.name for system in STUDIES[name].systems]
    if STUDIES[name].pairs:
        with open(out / "paired.csv", newline="") as file:
            pairs = {(row["system_a"], row["system_b"]) for row in csv.DictReader(file)}
        assert pairs == {(a.name, b.name) for a, b in STUDIES[name].pairs}
    with open(out / "noise.csv", newline="") as file:
        assert {row["system"] for row in csv.DictReader(file)} == {system.name for system in STUDIES[name].systems}
    for what in ("fig. 1: PiczakNet", "The DeepFourier part of HeuriNet", "The DeepFourier part of MSTNet"):
        assert (what in text) == (name == "systems")
    for line in text.splitlines():
        if line.startswith("!["):
            assert (out / line.partition("](")[2].rstrip(")")).stat().st_size > 10_000
    assert f"read {out / 'results.md'}" in capsys.readouterr().out


def test_how_far_forced_front_ends_are_off(tones, out):
    """The table's figures are means of the runs'; one fold and one seed here."""
    assert reproduce.main([*TINY, "--data", str(tones), "--out", str(out), "--only", "forcing"]) == 0
    lines = (out / "results.md").read_text().splitlines()
    table = lines[next(n for n, line in enumerate(lines) if line.startswith("| system | mean square error")) + 2 :]
    found = dict(line.strip("| ").split(" | ", 1) for line in table[: len(STUDIES["forcing"].systems)])
    for system in STUDIES["forcing"].systems:
        run = out / "runs" / job(system, "tiny", 0).name
        forced = json.loads((run / "result.json").read_text())["phases"]["forcing"]
        assert found[system.name] == f"{forced['mean_square_error']:.2e} | {forced['decibels']:.2f}"


def counted(monkeypatch):
    """The folders of the runs that are trained from now on."""
    trained = []
    original = IceBreaker.run

    def counting(self):
        trained.append(self.folder.path)
        return original(self)

    monkeypatch.setattr(IceBreaker, "run", counting)
    return trained


def test_finished_runs_are_shared_and_never_repeated(tones, out, capsys, monkeypatch):
    monkeypatch.setattr(results, "FIGURES", ())
    plan = list(jobs(STUDIES, "tiny", None, {}))
    assert {path.name for path in (out / "runs").iterdir()} == {one.name for one in plan}
    assert len(plan) < sum(len(study.systems) for study in STUDIES.values()) + 4  # the second seeds
    before = {path: path.stat().st_mtime_ns for path in out.rglob("result.json")}
    trained = counted(monkeypatch)
    assert reproduce.main([*TINY, "--data", str(tones), "--out", str(out)]) == 0
    assert trained == []
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("result.json")}
    assert f"{len(plan)} finished already" in capsys.readouterr().out
    with open(out / "runs.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(plan)


def test_only_runs_that_figures_show_keep_the_weights_of_every_phase(out):
    kept = {path.parents[1].name for path in out.rglob("checkpoint/phase-*.safetensors")}
    assert kept == {"heurinet-icebreaker-seed0", "mstnet-icebreaker-seed0"}


def test_phase_0_is_the_run_of_the_back_end_alone_where_there_is_one(out):
    def begins(name):
        folder = out / "runs" / name
        return json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])

    for name, alone in {
        "heurinet-icebreaker-back_end-sbcnn-seed0": "sbcnn-seed0",
        "heurinet-icebreaker-conv1_kernel-55-seed0": "piczaknet-seed0",
        "heurinet-icebreaker-augment-4-seed0": "piczaknet-augment-4-seed0",
    }.items():
        assert begins(name) == begins(alone), name  # the seconds that it took, too
        config = json.loads((out / "runs" / name / "config.json").read_text())
        assert config["phase0"] == str(out / "runs" / alone)
    for name in ("heurinet-icebreaker-seed0", "mstnet-icebreaker-back_end-sbcnn-seed0"):  # phases drawn; clipped
        assert json.loads((out / "runs" / name / "config.json").read_text())["phase0"] is None


def test_a_moved_reproduction_goes_on_with_a_copy_of_the_data(tones, out, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "FIGURES", ())
    data, moved = tmp_path / "data", tmp_path / "moved"
    shutil.copytree(tones, data)
    shutil.copytree(out, moved)
    trained = counted(monkeypatch)
    gone = moved / "runs" / "piczaknet-seed0" / "result.json"
    gone.unlink()
    given = [*TINY, "--data", str(data), "--out", str(moved), "--only", "systems"]
    assert reproduce.main(given) == 0
    assert trained == [moved / "runs" / "piczaknet-seed0"]
    assert gone.is_file()


# -- stopping, failing


def interrupt_at(patch, step):
    """Ctrl-C at the end of mini-batch `step`."""
    count = 0
    original = Screen.step

    def counting(self, *arguments):
        nonlocal count
        count += 1
        if count == step:
            os.kill(os.getpid(), signal.SIGINT)
        original(self, *arguments)

    patch.setattr(Screen, "step", counting)


def test_ctrl_c_and_the_same_command_again_give_the_same_run(tones, out, tmp_path, capsys, monkeypatch):
    given = [*TINY, "--data", str(tones), "--out", str(tmp_path / "out"), "--only", "icebreaker", "--seeds", "1"]
    with monkeypatch.context() as patch:
        interrupt_at(patch, 4)  # in a later phase of the second run
        assert reproduce.main(given) == 130
    error = capsys.readouterr().err
    assert "the same command" in error
    assert error.count("\n") == 1
    assert [path.parent.name for path in (tmp_path / "out").rglob("result.json")] == ["piczaknet-seed0"]
    with monkeypatch.context() as patch:
        interrupt_at(patch, 4)  # in the third run
        assert reproduce.main(given) == 130
    first = tmp_path / "out" / "runs" / "heurinet-icebreaker-seed0"
    finished = (first / "result.json").stat().st_mtime_ns
    assert reproduce.main(given) == 0
    assert (first / "result.json").stat().st_mtime_ns == finished
    assert reproduce.main([str(out) if word == str(tmp_path / "out") else word for word in given]) == 0
    for name in ("heurinet-icebreaker-seed0", "mstnet-icebreaker-seed0"):
        runs = [folder / "runs" / name for folder in (tmp_path / "out", out)]
        results = [json.loads((path / "result.json").read_text()) for path in runs]
        assert results[0]["phases"] == results[1]["phases"]
        weights = [read_arrays(path / "model.safetensors")[0] for path in runs]
        assert all(np.array_equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_run_that_fails_is_named_and_tried_again_the_others_are_done(tones, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    given = [*TINY, "--data", str(tones), "--out", str(out), "--only", "piczak2015"]
    original = run.resume

    def failing(path, changes):
        if path.name == "piczaknet-deltas-librosa031-seed0":
            raise InputError("training diverged in phase 0")
        return original(path, changes)

    with monkeypatch.context() as patch:
        patch.setattr(run, "resume", failing)
        assert reproduce.main(given) == 1
    said = capsys.readouterr().out
    assert "failed: piczaknet-deltas-librosa031-seed0: training diverged in phase 0" in said
    assert "3 of 4 runs finished" in said
    failed = out / "runs" / "piczaknet-deltas-librosa031-seed0"
    assert "failing" in (failed / "failed.txt").read_text()
    assert "| Piczak 2015, deltas | not finished |" in (out / "results.md").read_text()
    trained = counted(monkeypatch)
    assert reproduce.main(given) == 0
    assert trained == [failed]
    assert not (failed / "failed.txt").exists()


def test_a_folder_with_another_run_is_left_alone(tones, tmp_path, capsys):
    given = [*TINY, "--data", str(tones), "--out", str(tmp_path), "--only", "piczak2015"]
    assert reproduce.main([*given, "--plan"]) == 0
    assert list(tmp_path.iterdir()) == []
    said = capsys.readouterr().out
    assert "4 runs for piczak2015; 0 finished already" in said
    assert "of training on cpu" in said and "then tests of 4 models in noise" in said
    assert reproduce.main([*given, "--plan", "--no-noise"]) == 0
    assert "in noise" not in capsys.readouterr().out
    path = tmp_path / "runs" / "piczaknet-seed0"
    path.mkdir(parents=True)
    config = job(STUDIES["piczak2015"].systems[0], "tiny", 0).config.with_(batch_size=7)
    (path / "config.json").write_text(json.dumps({**config.to_dict(), "versions": versions()}))
    assert reproduce.main(given) == 1
    assert "piczaknet-seed0: holds a run with another --batch-size" in capsys.readouterr().out
    assert [file.name for file in path.iterdir()] == ["config.json", "checkpoint"] or not (
        path / "result.json"
    ).exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "melnett"], "did you mean melnet?"),
        (["--scale", "large"], "--scale large"),
        (["--seeds", "0"], "--seeds 0"),
        (["--data", "absent-folder"], "absent-folder"),
        (["--split", "half"], "--split"),
    ],
)
def test_bad_options_are_named(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert reproduce.main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_experiments_on_other_data_or_of_another_scale_are_not_mixed(tones, out, write_folds, tmp_path, capsys):
    other = write_folds(tmp_path / "other", folds=4)
    assert reproduce.main([*TINY, "--data", str(other), "--out", str(out)]) == 2
    assert "other data" in capsys.readouterr().err
    assert reproduce.main(["--scale", "short", "--data", str(tones), "--out", str(out), "--quiet"]) == 2
    assert "--scale tiny" in capsys.readouterr().err


def test_the_studies_are_listed(capsys):
    assert reproduce.main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(STUDIES)
