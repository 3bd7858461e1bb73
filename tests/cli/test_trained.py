"""Evaluating a trained model and predicting with it."""

import errno
import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from scratchnet import evaluate, predict
from scratchnet.model import Model
from scratchnet.model import load as model_of
from scratchnet.training.files import read_arrays, write_arrays
from scratchnet.training.report import confusion_text
from tests.cli.conftest import RATE, fails, tone, write_tree


def test_evaluate_gives_the_figures_of_the_result(trained, capsys):
    assert evaluate.main([str(trained), "--backend", "cpu", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    test = json.loads((trained / "result.json").read_text())["test"]
    assert figures == {name: test[name] for name in figures}
    assert evaluate.main([str(trained), "--backend", "cpu"]) == 0
    said = capsys.readouterr().out
    assert f"{test['segment_balanced_accuracy']:.3f}" in said
    assert "test fold" in said


def test_more_classes_than_a_matrix_has_room_for_are_listed():
    names = [f"class {k}" for k in range(21)]
    confusion = np.diag(np.arange(21))
    confusion[3, 20], confusion[3, 1] = 7, 2
    said = confusion_text({"confusion": confusion.tolist(), "classes": names}).splitlines()
    assert len(said) == 22 and max(map(len, said)) < 80
    assert said[4] == "class 3   3 of 12    class 20 7, class 1 2"
    assert said[1] == "class 0   0 of 0"


@pytest.mark.parametrize("command", [evaluate, predict])
def test_they_take_as_many_threads_as_told(command, trained, tree, monkeypatch, capsys):
    told = []
    monkeypatch.setattr("scratchnet.kernels.cpu.parallel.threads", lambda n=None: told.append(n) or 1)
    files = [str(tree / "low" / "low-a.wav")] if command is predict else []
    assert command.main([str(trained), *files, "--backend", "cpu", "--threads", "3"]) == 0
    assert told.count(3) == 1
    fails(capsys, command.main, [trained, *files, "--threads", "0"], "--threads", "above 0")


def test_evaluate_on_a_copy_takes_the_test_fold_and_on_other_recordings_everything(trained, tree, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(tree, copy)
    assert evaluate.main([str(trained), "--data", str(copy), "--backend", "cpu"]) == 0
    assert "6 segments" in capsys.readouterr().out
    alike = tmp_path / "alike"  # in names, sizes and times: what is called 001.wav, 002.wav, ... is so every year
    shutil.copytree(tree, alike)
    for path in alike.rglob("*.wav"):
        times = path.stat()
        soundfile.write(path, 0.5 * soundfile.read(path)[0], RATE)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert evaluate.main([str(trained), "--data", str(alike), "--backend", "cpu"]) == 0
    assert "all of it, it is not the data of the run, 30 segments" in capsys.readouterr().out
    fails(capsys, evaluate.main, [trained, "--data", ""], "--data")
    older = tmp_path / "older"  # knows its data by name alone
    shutil.copytree(trained, older)
    config = json.loads((older / "config.json").read_text())
    assert len(config.pop("contents")) == 32
    (older / "config.json").write_text(json.dumps(config))
    assert evaluate.main([str(older), "--data", str(alike), "--backend", "cpu"]) == 0
    assert "test fold 5, 6 segments" in capsys.readouterr().out
    other = write_tree(tmp_path / "other", count=6)
    assert evaluate.main([str(trained), "--data", str(other), "--backend", "cpu"]) == 0
    assert "6 of its 18 clips: the run was trained or validated on the others, 12 segments" in capsys.readouterr().out
    shutil.rmtree(other / "high")  # not every class need be there, and none may be new
    assert evaluate.main([str(trained), "--data", str(other), "--backend", "cpu", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["segments"] == 8 and "4 of its 12 clips" in printed.err
    assert "none of these clips is of high: the scores" in printed.err
    (other / "low").rename(other / "deep")
    fails(capsys, evaluate.main, [trained, "--data", other, "--backend", "cpu", "--json"], "classes", "deep")


def test_evaluate_on_a_plain_folder_of_a_subsets_classes(trained, tree, tmp_path, capsys):
    """The model of a subset whose classes come in another order than the folder's names."""
    run, data = tmp_path / "run", tmp_path / "data"
    shutil.copytree(trained, run)
    config = json.loads((run / "config.json").read_text()) | {"subset": "esc10"}
    (run / "config.json").write_text(json.dumps(config))
    (run / "recordings.csv").unlink()  # as an older version left it: nobody knows what was learned
    arrays, about = read_arrays(run / "model.safetensors")
    write_arrays(run / "model.safetensors", arrays, about | {"classes": ["low", "middle", "high"]})
    # What the model calls low is what it heard in high: so the folder calls it.
    for name, new in {"high": "low", "low": "middle", "middle": "high"}.items():
        (data / new).mkdir(parents=True)
        shutil.copy(tree / name / f"{name}-a.wav", data / new)
    given = [str(run), "--data", str(data), "--backend", "cpu"]
    fails(capsys, evaluate.main, given, data, "no subset 'esc10'", "--subset none")
    fails(capsys, evaluate.main, [*given, "--subset", "esc11"], "--subset", "did you mean esc10?")
    assert evaluate.main([*given, "--subset", "none", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["classes"] == ["low", "middle", "high"] and figures["segments"] == 6
    mine = [model_of(trained).predict(tree / name / f"{name}-a.wav") for name in ("high", "low", "middle")]
    heard = [[int(p.argmax()) for p in one.segment_probabilities] for one in mine]
    assert figures["confusion"] == [[row.count(k) for k in range(3)] for row in heard]
    assert evaluate.main([*given, "--subset", "none"]) == 0
    assert capsys.readouterr().out.splitlines()[-3].endswith("   low")


def test_predict_names_class_probability_and_time_line(trained, tree, capsys):
    file = tree / "low" / "low-a.wav"
    assert predict.main([str(trained), str(file), "--backend", "cpu"]) == 0
    first, *line = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{file}: ")
    assert line[0].split()[:4] == ["0.00", "to", "0.95", "s"]
    assert len(line) == 2


def test_predict_in_brief_is_a_line_a_file(trained, tree, capsys):
    files = [str(tree / "low" / "low-a.wav"), str(tree / "high" / "high-b.wav")]
    assert predict.main([str(trained), *files, "--backend", "cpu"]) == 0
    whole = capsys.readouterr().out.splitlines()
    assert predict.main([str(trained), *files, "--backend", "cpu", "--brief"]) == 0
    brief = capsys.readouterr().out.splitlines()
    assert len(brief) == 2 and brief == [line for line in whole if not line.startswith(" ")]


def test_the_run_comes_first(trained, tree, capsys):
    fails(capsys, predict.main, [tree / "low" / "low-a.wav", trained], "low-a.wav is a sound: name the run first")


def test_one_class_is_enough_to_test_on(trained, tree, tmp_path, capsys):
    shutil.copytree(tree / "low", tmp_path / "new" / "low")
    for number, path in enumerate(sorted((tmp_path / "new" / "low").iterdir())):
        soundfile.write(path, tone("low", 50 + number), RATE)
    assert evaluate.main([str(trained), "--data", str(tmp_path / "new"), "--backend", "cpu"]) == 0
    printed = capsys.readouterr()
    assert "new: all of it" in printed.out and "none of these clips is of high, middle" in printed.err


def test_predict_as_json_takes_folders(trained, tree, capsys):
    assert predict.main([str(trained), str(tree / "low"), "--json", "--backend", "cpu"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [Path(answer["file"]).name for answer in answers] == [f"low-{letter}.wav" for letter in "abcde"]
    for answer in answers:
        assert sum(answer["probabilities"].values()) == pytest.approx(1)
        assert answer["probability"] == max(answer["probabilities"].values())
        assert answer["probabilities"][answer["class"]] == answer["probability"]
        assert all(s["probabilities"][s["class"]] == s["probability"] for s in answer["segments"])
        for name, share in answer["probabilities"].items():
            assert share == pytest.approx(np.mean([s["probabilities"][name] for s in answer["segments"]]), abs=1e-6)
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


def test_predict_answers_for_those_behind_a_name_that_is_none(trained, tree, capsys):
    good, two_lines = tree / "low" / "low-a.wav", "no such\nfile.wav"
    given = [trained, "x" * 300, "--json", two_lines, good, "--backend", "cpu"]  # options anywhere between the files
    assert predict.main([str(word) for word in given]) == 2
    said = capsys.readouterr()
    assert ["error" in answer for answer in json.loads(said.out)] == [True, True, False]
    lines = said.err.splitlines()
    assert "File name too long" in lines[0] and "no such file.wav does not exist" in lines[1] and len(lines) == 3


def test_predict_names_a_folder_that_may_not_be_read_and_answers_for_the_others(trained, tree, capsys, monkeypatch):
    scandir = os.scandir

    def shy(place):
        if str(place).endswith("middle"):
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", shy)
    assert predict.main([str(trained), str(tree), "--backend", "cpu", "--json"]) == 2
    said = capsys.readouterr()
    assert ["class" in answer for answer in json.loads(said.out)] == 10 * [True] + [False]
    assert f"{tree / 'middle'} cannot be read (Permission denied)" in said.err and "1 of 11" in said.err


def test_predict_prints_one_array_as_it_goes(trained, tree, capsys):
    files = [str(tree / "low" / "low-a.wav"), str(tree / "absent.wav"), str(tree / "low" / "low-b.wav")]
    predict.main([str(trained), *files, "--json", "--backend", "cpu"])
    said = capsys.readouterr().out
    assert said == json.dumps(json.loads(said), indent=1) + "\n"
    assert [answer["file"] for answer in json.loads(said)] == files


def test_predict_names_a_file_that_the_memory_does_not_hold(trained, tree, capsys, monkeypatch):
    hear = Model.predict

    def too_much(model, path):
        if path.name == "low-a.wav":
            raise MemoryError
        return hear(model, path)

    monkeypatch.setattr(Model, "predict", too_much)
    files = [str(tree / "low" / f"low-{name}.wav") for name in "ab"]
    assert predict.main([str(trained), *files, "--backend", "cpu"]) == 2
    said = capsys.readouterr()
    assert f"{files[0]} is too long for the memory there is" in said.err and f"{files[1]}: " in said.out


def test_predict_expands_patterns_where_the_shell_does_not(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(predict.sys, "platform", "win32")
    found = list(predict._sound_files(tree / "l*" / "low-[ab].wav"))
    assert found == [tree / "low" / f"low-{name}.wav" for name in "ab"]
    assert list(predict._sound_files(tree / "l*")) == sorted((tree / "low").iterdir())  # folders too
    (tmp_path / "take[1].wav").touch(), (tmp_path / "take1.wav").touch()
    assert list(predict._sound_files(tmp_path / "take[1].wav")) == [tmp_path / "take[1].wav"]
    assert list(predict._sound_files(tmp_path / "t*.wav")) == [tmp_path / "take1.wav", tmp_path / "take[1].wav"]
    for none in (tree / "*.wav", tree / "low" / "low-a.wav"):
        assert list(predict._sound_files(none)) == [none]
    monkeypatch.setattr(predict.sys, "platform", "linux")
    assert list(predict._sound_files(tree / "l*" / "low-[ab].wav")) == [tree / "l*" / "low-[ab].wav"]


def test_predict_that_is_interrupted_prints_what_it_knows_as_json(trained, tree, capsys, monkeypatch):
    hear, heard = Model.predict, []

    def interrupted(model, path):
        if heard:
            raise KeyboardInterrupt
        heard.append(path)
        return hear(model, path)

    monkeypatch.setattr(Model, "predict", interrupted)
    assert predict.main([str(trained), str(tree / "low"), "--json", "--backend", "cpu"]) == 130
    said = capsys.readouterr()
    assert [answer["file"] for answer in json.loads(said.out)] == list(map(str, heard))
    assert said.err == "scratchnet: interrupted\n"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_predict_hears_what_is_piped_into_it(trained, tree, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    sound = tree / "low" / "low-a.wav"
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(sound.read_bytes()), daemon=True)
    writer.start()
    assert predict.main([str(trained), str(tmp_path / "pipe"), str(sound), "--json", "--backend", "cpu"]) == 0
    writer.join()
    piped, read = json.loads(capsys.readouterr().out)
    assert {**piped, "file": str(sound)} == read
