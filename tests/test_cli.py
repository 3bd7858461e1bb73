"""The commands end to end on a tiny set of recordings: what they print, leave behind, and say of bad input."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import soundfile

from scratchnet import cli, evaluate, predict, train
from scratchnet.training.files import read_arrays
from scratchnet.training.screen import Screen

ROOT = Path(__file__).resolve().parents[1]
RATE = 22050
PITCH = {"high": 4000, "low": 200, "middle": 900}
QUICK = ["--backend", "cpu", "--net", "piczaknet", "--epochs", "2", "--batch-size", "8"]


def tone(name, seed, seconds=1.5):
    rng = np.random.default_rng([seed, *name.encode()])
    time = np.arange(int(seconds * RATE)) / RATE
    return 0.5 * np.sin(2 * np.pi * PITCH[name] * rng.uniform(0.8, 1.2) * time) + 0.05 * rng.normal(size=len(time))


def write_tree(root, count=5):
    """Classes high, low, middle; each recording is in a fold of its own as far as there are folds."""
    for name in PITCH:
        (root / name).mkdir(parents=True)
        for seed in range(count):
            soundfile.write(root / name / f"{name}-{'abcdefgh'[seed]}.wav", tone(name, seed), RATE)
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCRATCHNET_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def tree(tmp_path_factory, cache):
    return write_tree(tmp_path_factory.mktemp("data") / "tones")


SAID = {}  # what the runs of the fixtures printed


@pytest.fixture(scope="module")
def trained(tree, tmp_path_factory):
    """A finished run of PiczakNet, not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "trained"
    with redirect_stdout(StringIO()) as said:
        assert train.main([*QUICK, "--data", str(tree), "--out", str(out)]) == 0
    SAID[out] = said.getvalue()
    return out


ALL_PHASES = ["--backend", "cpu", "--epochs", "1", "--batch-size", "5", "--quiet"]


@pytest.fixture(scope="module")
def icebroken(tree, tmp_path_factory):
    """A finished run of HeuriNet through all phases, not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "icebroken"
    with redirect_stdout(StringIO()) as said:
        assert train.main([*ALL_PHASES, "--data", str(tree), "--out", str(out)]) == 0
    SAID[out] = said.getvalue()
    return out


def fails(capsys, main, arguments, *words, status=2):
    """The command leaves with `status` and one line on standard error that holds `words`."""
    assert main([str(argument) for argument in arguments]) == status
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1, error
    for word in words:
        assert str(word) in error, error


# -- training


def test_a_run_folder_holds_what_the_contract_says(trained, tree):
    names = {path.name for path in trained.iterdir()}
    files = {"config.json", "metrics.jsonl", "model.safetensors", "predictions.csv", "result.json", "checkpoint"}
    assert names == files | {"curves.png", "confusion.png", "kernels.png"}
    config = json.loads((trained / "config.json").read_text())
    assert (config["net"], config["seed"], config["batch_size"], config["data"]) == ("piczaknet", 0, 8, str(tree))
    assert {"numpy", "python", "scratchnet"} <= set(config["versions"])
    assert len(config["fingerprint"]) == 64
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [(row["phase"], row["epoch"]) for row in rows] == [(0, 1), (0, 2)]
    expected = {"phase", "epoch", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy"}
    assert expected | {"valid_balanced_accuracy", "lr", "seconds", "waited"} <= set(rows[0])
    result = json.loads((trained / "result.json").read_text())
    test = result["test"]
    assert {"segment_accuracy", "segment_balanced_accuracy", "clip_accuracy_majority"} <= set(test)
    assert test["classes"] == ["high", "low", "middle"]
    assert np.sum(test["confusion"]) == test["segments"] == 6
    assert test["clips"] == 3
    assert np.trace(test["confusion"]) / 6 == pytest.approx(test["segment_accuracy"])
    assert result["phases"]["0"] == test
    with open(trained / "predictions.csv", newline="") as file:
        clips = list(csv.DictReader(file))
    for vote in ("majority", "probability"):
        assert np.mean([row["label"] == row[vote] for row in clips]) == pytest.approx(test[f"clip_accuracy_{vote}"])
    assert [row["clip"].startswith(row["label"] + "/") for row in clips] == [True] * 3
    weights, about = read_arrays(trained / "model.safetensors")
    assert sum(array.size for array in weights.values()) == 26_306_730 - 7 * 5001  # three classes, not ten
    assert (about["network"]["name"], about["classes"]) == ("piczaknet", ["high", "low", "middle"])


def test_the_screen_says_what_happens_and_what_to_do_next(trained):
    said = SAID[trained]
    counts = "15 clips, 30 segments, 3 classes"
    for words in (counts, "piczaknet", "phase 0 epoch 2/2: loss", "balanced accuracy", str(trained)):
        assert words in said
    assert f"python -m scratchnet.predict {trained} FILE" in said


def test_quiet_prints_the_result_alone(icebroken):
    assert len(SAID[icebroken].splitlines()) == 1
    assert SAID[icebroken].startswith("heurinet: balanced accuracy")


def test_without_out_runs_are_numbered(tree, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for other in ("piczaknet-folder-9", "heurinet-folder-20", "piczaknet-folder-old"):
        (tmp_path / "runs" / other).mkdir(parents=True)
    assert train.main([*QUICK, "--epochs", "1", "--data", str(tree), "--quiet"]) == 0
    assert (tmp_path / "runs" / "piczaknet-folder-10" / "result.json").is_file()


def test_cross_validation_gathers_its_folds(cache, tmp_path, capsys):
    out, data = tmp_path / "cv", tmp_path / "esc"
    for number, name in enumerate(["high", "low"], 1):  # ESC-10's layout, three folds
        (data / f"00{number} - {name}").mkdir(parents=True)
        for fold in (1, 2, 3):
            path = data / f"00{number} - {name}" / f"{fold}-{number}{fold}-A.ogg"
            soundfile.write(path, tone(name, fold), RATE, format="OGG", subtype="VORBIS")
    given = [*QUICK, "--epochs", "1", "--data", str(data), "--out", str(out), "--cv", "--quiet"]
    assert train.main(given) == 0
    result = json.loads((out / "result.json").read_text())
    folds = sorted(result["folds"])
    each = [json.loads((out / result["folds"][k] / "result.json").read_text()) for k in folds]
    scores = [fold["test"]["segment_balanced_accuracy"] for fold in each]
    assert result["test"]["segment_balanced_accuracy"] == pytest.approx(np.mean(scores))
    assert result["test"]["std"]["segment_balanced_accuracy"] == pytest.approx(np.std(scores, ddof=1))
    assert result["test"]["per_fold"]["segment_balanced_accuracy"] == dict(zip(folds, scores))
    assert np.sum(result["test"]["confusion"]) == 12
    assert all(fold["test_fold"] != fold["valid_fold"] for fold in each)
    assert "±" in capsys.readouterr().out
    # A lost result is made again from the folds, which are not trained again.
    before = {k: (out / f"fold{k}" / "model.safetensors").stat().st_mtime_ns for k in folds}
    (out / "result.json").unlink()
    assert train.main(["--resume", str(out), "--quiet"]) == 0
    again = json.loads((out / "result.json").read_text())
    assert again["test"] == result["test"]
    assert before == {k: (out / f"fold{k}" / "model.safetensors").stat().st_mtime_ns for k in folds}
    assert evaluate.main([str(out), "--backend", "cpu", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.split("\n", 1)[1])
    assert figures["per_fold"] == result["test"]["per_fold"]
    fails(capsys, predict.main, [out, "any.wav", "--backend", "cpu"], "cross-validation", "fold")


def test_the_icebreaker_runs_from_end_to_end(icebroken):
    rows = [json.loads(line) for line in (icebroken / "metrics.jsonl").read_text().splitlines()]
    assert [row["phase"] for row in rows] == [0, 1, 2, 3]
    result = json.loads((icebroken / "result.json").read_text())
    assert list(result["phases"]) == ["0", "1", "2", "3"]
    assert result["test"] == result["phases"]["3"]
    # A phase stores what it trained, and no more; the last one's weights are those of the model.
    stored = [read_arrays(icebroken / "checkpoint" / f"phase-{k}.safetensors")[0] for k in (0, 1, 2)]
    weights, about = read_arrays(icebroken / "model.safetensors")
    front = {name for name in weights if name.startswith("deepfourier.")}
    assert [set(arrays) for arrays in stored] == [
        set(weights) - front,
        front,
        front | {"piczak.conv1.weight", "piczak.conv1.bias"},
    ]
    assert not (icebroken / "checkpoint" / "phase-3.safetensors").exists()
    assert (about["network"]["name"], about["phase"], about["feature"]) == ("heurinet", 3, "waveform")


def test_mstnet_is_forced_to_the_spectrogram_before_phase_1(tree, tmp_path):
    out = tmp_path / "run"
    assert train.main([*ALL_PHASES, "--net", "mstnet", "--data", str(tree), "--out", str(out)]) == 0
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["phase"] for row in rows] == [0, "forcing", 1, 2, 3]
    assert rows[1]["valid_loss"] < 1  # both prediction and target lie in [-1, 1]: less than noise against noise
    assert rows[1]["train_accuracy"] is None
    forced, _ = read_arrays(out / "checkpoint" / "phase-forcing.safetensors")
    assert sum(array.size for array in forced.values()) == 964_412


def test_random_initialisation_is_one_phase(tree, tmp_path):
    out = tmp_path / "run"
    given = ["--backend", "cpu", "--init", "random", "--epochs", "1", "--batch-size", "8", "--quiet"]
    assert train.main([*given, "--data", str(tree), "--out", str(out)]) == 0
    assert list(json.loads((out / "result.json").read_text())["phases"]) == ["random"]


def test_every_reading_of_the_paper_runs(tree, tmp_path):
    """The options of a run that change what is computed, all at once."""
    file = tmp_path / "all.toml"
    file.write_text(
        'net = "piczaknet"\ndeltas = "savgol"\nbalanced = true\ndropout_in_evaluation = true\ngrad_norms = true\n'
        'weight_init = "piczak2015"\npool_ceil = true\nweight_decay = 0.001\nclip_norm = 3\nclip_per = "layer"\n'
        'standardize = "none"\nwindow = "rectangular"\npeak = "segment"\noptimizer = "adam"\nlr = 1e-4\n'
    )
    out = tmp_path / "run"
    given = ["--config", file, "--backend", "cpu", "--epochs", "1", "--batch-size", "8", "--data", tree, "--quiet"]
    assert train.main([str(a) for a in [*given, "--out", out]]) == 0
    row = json.loads((out / "metrics.jsonl").read_text().splitlines()[0])
    assert row["grad_norms"]["piczak.conv1.weight"] > 0
    assert evaluate.main([str(out), "--backend", "cpu"]) == 0


# -- stopping and going on


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


def test_ctrl_c_while_data_is_prepared(trained, tmp_path, capsys, monkeypatch):
    from scratchnet.training import run

    tree, out = write_tree(tmp_path / "fresh"), tmp_path / "run"

    def interrupted(self, done, total):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run._Progress, "__call__", interrupted)
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


def test_a_run_whose_data_has_changed_is_not_gone_on_with(trained, tree, tmp_path, capsys):
    out, moved = tmp_path / "run", tmp_path / "moved"
    out.mkdir()
    shutil.copy(trained / "config.json", out)
    shutil.copytree(tree, moved)
    (moved / "low" / "low-a.wav").unlink()
    fails(capsys, train.main, ["--resume", out, "--data", moved, "--quiet"], "changed")


# -- the trained model


def test_evaluate_gives_the_figures_of_the_result(trained, capsys):
    assert evaluate.main([str(trained), "--backend", "cpu", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    test = json.loads((trained / "result.json").read_text())["test"]
    assert figures == {name: test[name] for name in figures}
    assert evaluate.main([str(trained), "--backend", "cpu"]) == 0
    said = capsys.readouterr().out
    assert f"{test['segment_balanced_accuracy']:.3f}" in said
    assert "test fold" in said


def test_evaluate_on_a_copy_takes_the_test_fold_and_on_other_recordings_everything(trained, tree, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(tree, copy)
    assert evaluate.main([str(trained), "--data", str(copy), "--backend", "cpu"]) == 0
    assert "6 segments" in capsys.readouterr().out
    other = write_tree(tmp_path / "other", count=6)
    assert evaluate.main([str(trained), "--data", str(other), "--backend", "cpu"]) == 0
    assert "36 segments" in capsys.readouterr().out
    (other / "low").rename(other / "deep")
    fails(capsys, evaluate.main, [trained, "--data", other, "--backend", "cpu", "--json"], "classes", "deep")


def test_predict_names_class_probability_and_time_line(trained, tree, capsys):
    file = tree / "low" / "low-a.wav"
    assert predict.main([str(trained), str(file), "--backend", "cpu"]) == 0
    first, *line = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{file}: ")
    assert line[0].split()[:4] == ["0.00", "to", "0.95", "s"]
    assert len(line) == 2


def test_predict_as_json_takes_folders(trained, tree, capsys):
    assert predict.main([str(trained), str(tree / "low"), "--json", "--backend", "cpu"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [Path(answer["file"]).name for answer in answers] == [f"low-{letter}.wav" for letter in "abcde"]
    for answer in answers:
        assert sum(answer["probabilities"].values()) == pytest.approx(1)
        assert answer["probability"] == max(answer["probabilities"].values())
        assert answer["probabilities"][answer["class"]] == answer["probability"]
        mean = np.mean([s["probability"] for s in answer["segments"]])
        assert answer["probability"] <= mean + 1e-12


def test_predict_names_bad_files_and_answers_for_the_others(trained, tree, tmp_path, capsys):
    (tmp_path / "text.wav").write_text("no sound")
    soundfile.write(tmp_path / "silent.wav", np.zeros(30000), RATE)
    files = [tmp_path / "text.wav", tree / "low" / "low-a.wav", tmp_path / "silent.wav", tmp_path / "absent.wav"]
    status = predict.main([str(trained), *map(str, files), "--json", "--backend", "cpu"])
    said = capsys.readouterr()
    assert status == 2
    answers = json.loads(said.out)
    assert ["error" in answer for answer in answers] == [True, False, True, True]
    lines = said.err.splitlines()
    assert [any(name in line for line in lines) for name in ("text.wav", "silent.wav", "absent.wav")] == [True] * 3
    assert "3 of 4" in lines[-1]


# -- bad input


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
        (["--config", "absent.toml"], ["absent.toml"]),
        (["--resume", "absent-run"], ["absent-run"]),
        (["--resume", "absent-run", "--lr", "1"], ["--lr", "--resume"]),
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


@pytest.mark.parametrize("main", [predict.main, evaluate.main])
def test_what_is_no_run_is_named(main, tmp_path, capsys):
    (tmp_path / "model.safetensors").write_text("none")
    files = [tmp_path / "file.wav"] if main is predict.main else []
    fails(capsys, main, [tmp_path / "absent", *files, "--backend", "cpu"], tmp_path / "absent")
    fails(capsys, main, [tmp_path, *files, "--backend", "cpu"], tmp_path)


# -- the console command and the modules


def test_the_command_knows_its_commands(capsys):
    fails(capsys, cli.main, ["trian"], "trian", "did you mean train?")
    assert cli.main([]) == 0
    assert "gradcheck" in capsys.readouterr().out
    fails(capsys, cli.main, ["train", "--net", "x"], "--net")
    with pytest.raises(SystemExit) as left:
        cli.main(["train", "--help"])
    assert left.value.code == 0
    assert "--lr-final" in capsys.readouterr().out


def test_a_process_of_its_own_leaves_with_the_status(tmp_path):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
        )

    for module in (["scratchnet", "train"], ["scratchnet.train"]):
        done = run(*module, "--data", str(tmp_path))
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1
        assert str(tmp_path) in done.stderr
