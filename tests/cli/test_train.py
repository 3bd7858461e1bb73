"""Training from end to end: what is printed and left behind."""

import csv
import json
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from scratchnet import evaluate, train, training
from scratchnet.data import open_source
from scratchnet.errors import InputError
from scratchnet.sound.workers import cores
from scratchnet.training import dataset, remarks
from scratchnet.training.files import read_arrays
from scratchnet.training.resolve import resolve
from scratchnet.training.screen import Screen
from tests.cli.conftest import QUICK, RATE, SAID, fails, tone, write_tree


def test_a_run_folder_holds_what_the_contract_says(trained, tree):
    names = {path.name for path in trained.iterdir()}
    files = {"config.json", "metrics.jsonl", "model.safetensors", "predictions.csv", "result.json", "checkpoint"}
    assert names == files | {
        "readings.md",
        "recordings.csv",
        "report.html",
        "curves.png",
        "confusion.png",
        "kernels.png",
    }
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
    with open(trained / "recordings.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["clip"] for row in rows} == {path.relative_to(tree).as_posix() for path in tree.rglob("*.wav")}
    assert len(rows) == 15
    for row in rows:
        assert row["label"] == row["clip"].partition("/")[0]
        assert row["use"] == {config["test_fold"] or 5: "test", 4: "valid"}.get(int(row["fold"]), "train")
        assert (
            sha256((tree / row["clip"]).read_bytes()).hexdigest().startswith(row["digest"]) and len(row["digest"]) == 16
        )
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


def test_where_what_is_prepared_is_kept_is_said_once(tmp_path, tree, monkeypatch, capsys):
    monkeypatch.setenv("SCRATCHNET_CACHE", str(tmp_path / "kept"))
    config, source = resolve(({"data": str(tree), "net": "piczaknet"}, None)), open_source(tree)
    segments = dataset.prepare_data(config, source, Screen())
    assert capsys.readouterr().out == f"preparing segments: 15 clips, once; kept in {tmp_path / 'kept'}\n"
    assert len(list((tmp_path / "kept").iterdir())) == 1
    assert dataset.prepare_data(config, source, Screen()).clips == segments.clips
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("options, said", [([], "the data has 2 folds"), (["--test-fold", "7"], "--test-fold 7")])
def test_what_no_folds_are_there_for_is_told_before_anything_is_prepared(tmp_path, monkeypatch, capsys, options, said):
    data = write_tree(tmp_path / "data", 1)
    if not options:
        shutil.rmtree(data / "middle")
    monkeypatch.setattr(dataset, "prepare", lambda *given, **more: pytest.fail("prepared"))
    fails(capsys, train.main, [*QUICK, "--data", data, "--out", tmp_path / "run", *options], said)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("size, said", [("18", True), ("17", False)])
def test_epochs_of_one_step_are_told_of(tree, tmp_path, capsys, size, said):
    """Nine clips train, of two segments each."""
    given = [*QUICK, "--epochs", "1", "--data", str(tree), "--out", str(tmp_path / "run"), "--batch-size", size]
    assert train.main(given) == 0
    words = "batches  hold all 18 training segments: an epoch is one step; a smaller --batch-size makes more"
    assert (words in capsys.readouterr().out.splitlines()) is said


@pytest.mark.parametrize("options, said", [([], True), (["--balanced"], False)])
def test_very_unequal_classes_are_told_of(tmp_path, capsys, monkeypatch, options, said):
    monkeypatch.setattr(remarks, "UNEQUAL", 4)
    data = write_tree(tmp_path / "data", 5)
    for path in (data / "high").glob("*-[b-e].wav"):
        path.unlink()
    assert train.main([*QUICK, "--epochs", "1", "--data", str(data), "--out", str(tmp_path / "run"), *options]) == 0
    words = "classes  of 1 to 5 clips: --balanced takes them equally often"
    assert (words in capsys.readouterr().out.splitlines()) is said


@pytest.mark.parametrize("threads, workers", [(1, 1), (999, cores()), (None, cores())])
def test_threads_are_those_that_prepare_too(tree, monkeypatch, threads, workers):
    seen = []
    monkeypatch.setattr(dataset, "prepare", lambda *_, workers, **__: seen.append(workers))
    monkeypatch.setattr("scratchnet.data.synthetic.make", lambda *_, workers, **__: seen.append(workers) or tree)
    config = resolve(({"data": str(tree), "threads": threads}, None))
    with pytest.raises(AttributeError):  # of the segments that there are not
        dataset.prepare_data(config, open_source(tree), Screen())
    with pytest.raises(InputError):  # these sounds are not the synthetic ones
        dataset.open_data(config.with_(data=None), Screen())
    assert seen == [workers, workers]


def test_classes_that_cannot_be_learned_are_named_before(tmp_path, capsys):
    """The one recording of a class is in the test fold."""
    data = write_tree(tmp_path / "data", 5)
    for path in (data / "high").glob("*-[b-e].wav"):
        path.unlink()
    fold = folds_of(data)["high/high-a.wav"]
    given = [*QUICK, "--epochs", "1", "--data", str(data), "--test-fold", str(fold), "--out", str(tmp_path / "run")]
    assert train.main(given) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "without a clip in training: " in line]
    assert line.startswith("classes  ") and line.partition("training: ")[2].partition(";")[0] == "high"
    assert "more recordings" in line
    segments = SimpleNamespace(classes=("a", "b"), clip_label=np.array([0, 0, 1, 1]), clip_fold=np.array([1, 2, 1, 3]))
    assert dataset.untrained(segments, [(3, 2)]) == [] and dataset.untrained(segments, [(3, 2), (1, 3)]) == ["b"]


def test_one_class_alone_is_nothing_to_train_on(tmp_path, capsys):
    """One recording a class, each in a fold of its own: the third fold tests, the second validates."""
    data, out = write_tree(tmp_path / "data", 1), tmp_path / "run"
    words = "one class alone to train on", "cut long ones into several files"
    fails(capsys, train.main, [*QUICK, "--data", data, "--out", out], "without folds 3 and 2", *words)
    assert not out.exists()


def test_copies_of_recordings_in_another_fold_or_class_are_counted(tmp_path, capsys):
    data = write_tree(tmp_path / "data", 5)
    low = folds_of(data)["low/low-a.wav"]
    other = next(path for path, fold in folds_of(data).items() if path.startswith("low") and fold != low)
    shutil.copy(data / "low" / "low-a.wav", data / other)
    shutil.copy(data / "high" / "high-a.wav", data / "middle" / "middle-b.wav")
    assert train.main([*QUICK, "--epochs", "1", "--data", str(data), "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    (line,) = [line for line in said.splitlines() if line.startswith("copies   ")]
    assert line.startswith("copies   2 recordings are copies of one in another fold or class, as ")
    pair = set(line.partition(", as ")[2].partition(":")[0].split(" of "))
    assert pair in ({"low/low-a.wav", other}, {"high/high-a.wav", "middle/middle-b.wav"}) and "keep one of each" in line


def folds_of(data):
    return {clip.path: clip.fold for clip in open_source(data).clips}


def test_classes_that_a_fold_has_no_clip_of_are_named(tmp_path, capsys):
    """Its figures say nothing of them."""
    data = write_tree(tmp_path / "data", 5)
    for path in (data / "high").glob("*-[b-e].wav"):
        path.unlink()
    assert train.main([*QUICK, "--epochs", "1", "--data", str(data), "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "run" / "recordings.csv").read_text().splitlines()))
    for use, words in (("test", "test"), ("valid", "validation")):
        lacking = not any(row["use"] == use and row["label"] == "high" for row in rows)
        assert (f"classes  without a clip in the {words} fold: high; its scores" in said) is lacking
    assert "classes  without a clip in the" in said


def test_short_clips_that_are_dropped_are_one_line(tmp_path, capsys):
    data = write_tree(tmp_path / "data", 3)
    for i in range(4):
        soundfile.write(data / "high" / f"short{i}.wav", tone("high", 0)[:9000], RATE)
    given = [*QUICK, "--epochs", "1", "--data", str(data), "--short", "drop", "--out", str(tmp_path / "run")]
    assert train.main(given) == 0
    said = capsys.readouterr().out
    assert "skipped: 4 clips shorter than a segment, as high/short0.wav; --short pad keeps them\n4 of 13 files" in said
    assert said.count("skipped") == 2


def test_all_classes_are_learned_and_no_word_is_lost_on_it(trained):
    assert "classes  " not in SAID[trained]


def test_quiet_prints_the_result_alone(icebroken):
    assert len(SAID[icebroken].splitlines()) == 1
    assert SAID[icebroken].startswith("heurinet: balanced accuracy")


def test_training_from_python_is_the_commands(tree, tmp_path):
    settings = {"net": "piczaknet", "epochs": 1, "batch_size": 8, "backend": "cpu", "quiet": True}
    result = training.train(data=tree, out=tmp_path / "run", **settings)
    assert result == json.loads((tmp_path / "run" / "result.json").read_text())
    with pytest.raises(InputError, match="nett"):
        training.train(nett="piczaknet")
    with pytest.raises(InputError, match="--momentum 0.5: --optimizer adam has no such momentum"):
        training.train(optimizer="adam", momentum=np.float64(0.5))


def test_without_out_runs_are_named_after_their_data_and_numbered(tree, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tree, tmp_path / "my [own] sounds")
    for other in ("piczaknet-my [own] sounds-9", "heurinet-my [own] sounds-20", "piczaknet-my [own] sounds-old"):
        (tmp_path / "runs" / other).mkdir(parents=True)
    assert train.main([*QUICK, "--epochs", "1", "--data", "my [own] sounds", "--quiet"]) == 0
    assert (tmp_path / "runs" / "piczaknet-my [own] sounds-10" / "result.json").is_file()


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


def test_that_kernels_are_compiled_now_is_said_where_they_are(tmp_path):
    """Numba says where: in the user's cache folder, or as it is told."""
    code = "from scratchnet.training.report import kernels_compiled; print(kernels_compiled())"

    def said(**environment):
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    assert said(NUMBA_CACHE_DIR=str(tmp_path), NUMBA_DISABLE_JIT="0") == "False"
    (kept,) = tmp_path.iterdir()
    (kept / "one.nbi").touch()
    assert said(NUMBA_CACHE_DIR=str(tmp_path), NUMBA_DISABLE_JIT="0") == "True"
    assert said(NUMBA_DISABLE_JIT="1") == "True"
