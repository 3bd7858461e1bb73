"""What happens to users on an ordinary day: slips of the hand, files from Windows, folders that move."""

import errno
import json
import os
import shutil
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from scratchnet import evaluate, predict, train
from scratchnet.data import open_source
from scratchnet.errors import InputError, listed
from scratchnet.model import load
from scratchnet.training.files import read_arrays, write_arrays
from scratchnet.training.runfolder import RunFolder
from tests.cli.conftest import QUICK, SAID, fails, write_tree


@pytest.fixture(scope="module")
def moved(tmp_path_factory, cache):
    """A finished run, and its data where it no longer was."""
    base = tmp_path_factory.mktemp("moved")
    write_tree(base / "data")
    assert train.main([*QUICK, "--quiet", "--data", str(base / "data"), "--out", str(base / "run")]) == 0
    (base / "data").rename(base / "elsewhere")
    return base


def test_data_that_moved_is_named_with_the_way_out(moved, capsys):
    fails(capsys, evaluate.main, [moved / "run"], moved / "data", "--data")
    assert evaluate.main([str(moved / "run"), "--data", str(moved / "elsewhere")]) == 0
    capsys.readouterr()
    interrupted = moved / "interrupted"
    shutil.copytree(moved / "run", interrupted)
    (interrupted / "result.json").unlink()
    fails(capsys, train.main, ["--resume", interrupted], moved / "data", "--data")
    assert train.main(["--resume", str(interrupted), "--data", str(moved / "elsewhere"), "--quiet"]) == 0


def test_data_that_changed_is_tested_without_what_was_learned(moved, tmp_path, monkeypatch, capsys):
    """In its place, or a copy elsewhere: figures on all of it would be too good."""
    monkeypatch.setenv("HOME", str(moved))
    expected = json.loads((moved / "run" / "result.json").read_text())["test"]
    shutil.copytree(moved / "elsewhere", moved / "data")
    shutil.copytree(moved / "elsewhere", tmp_path / "copy")
    learned = sorted(RunFolder(moved / "run").learned()[0])
    try:
        for data in (moved / "data", tmp_path / "copy"):
            (data / learned[0]).unlink()
            (data / learned[1]).rename((data / learned[1]).with_name("renamed.wav"))
        samples, rate = soundfile.read(moved / "data" / learned[2])
        soundfile.write(moved / "data" / learned[2], samples / 2, rate)  # in its place, its name tells
        for words in ([], ["--data=~/data"], ["--data", str(tmp_path / "copy")]):
            assert evaluate.main([str(moved / "run"), *words, "--json"]) == 0
            printed = capsys.readouterr()
            assert json.loads(printed.out).items() <= expected.items()
            assert "3 of its 14 clips: the run was trained or validated on the others, 6 segments" in printed.err
        test = {path.relative_to(tmp_path / "copy").as_posix() for path in (tmp_path / "copy").rglob("*.wav")}
        for clip in test - set(learned) - {f"{Path(learned[1]).parent}/renamed.wav"}:
            (tmp_path / "copy" / clip).unlink()
        fails(capsys, evaluate.main, [moved / "run", "--data", tmp_path / "copy"], "trained or validated on every clip")
        (moved / "run" / "recordings.csv").rename(moved / "run" / "kept")  # as an older version left it
        fails(capsys, evaluate.main, [moved / "run", "--data=~/data"], "data: changed since", "--data")
        assert evaluate.main([str(moved / "run"), "--data", str(tmp_path / "copy")]) == 0
        assert "which keeps no record of what it learned" in capsys.readouterr().out
        (moved / "run" / "recordings.csv").write_bytes(
            (moved / "run" / "kept").read_bytes()[:-3]
        )  # cut off in a digest
        fails(capsys, evaluate.main, [moved / "run", "--data=~/data"], "recordings.csv")
        (moved / "run" / "recordings.csv").write_text("clip,label\n")
        fails(capsys, evaluate.main, [moved / "run", "--data=~/data"], "recordings.csv")
    finally:
        if (moved / "run" / "kept").exists():
            (moved / "run" / "kept").replace(moved / "run" / "recordings.csv")
        shutil.rmtree(moved / "data")


def test_accents_may_be_written_either_way(tmp_path, moved, capsys):
    """As a Mac's file system gives them back, and as other systems do."""
    data = write_tree(tmp_path / "data")
    (data / "high").rename(data / unicodedata.normalize("NFC", "mésange"))
    assert train.main([*QUICK, "--epochs", "1", "--quiet", "--data", str(data), "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    other = write_tree(tmp_path / "other", 3)
    (other / "high").rename(other / unicodedata.normalize("NFD", "mésange"))
    assert evaluate.main([str(tmp_path / "run"), "--data", str(other), "--json"]) == 0
    assert np.sum(json.loads(capsys.readouterr().out)["confusion"]) > 0
    fails(capsys, evaluate.main, [moved / "run", "--data", other], "does not know the data's m", "high, low, middle")


def test_two_classes_may_be_equal_but_for_their_accents(tmp_path, capsys):
    data = write_tree(tmp_path / "data")
    for name, form in (("high", "NFC"), ("low", "NFD")):
        (data / name).rename(data / unicodedata.normalize(form, "\u00e9"))
    assert train.main([*QUICK, "--epochs", "1", "--quiet", "--data", str(data), "--out", str(tmp_path / "run")]) == 0
    test = json.loads((tmp_path / "run" / "result.json").read_text())["test"]
    capsys.readouterr()
    assert evaluate.main([str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["confusion"] == test["confusion"]


def test_of_synthetic_sounds_too(moved, tmp_path, monkeypatch, capsys):
    """A run on them has no folder: the one that one is in is another."""
    run = tmp_path / "run"
    shutil.copytree(moved / "run", run)
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"data": None}))
    monkeypatch.chdir(moved / "elsewhere")
    assert evaluate.main([str(run), "--data", "."]) == 0
    capsys.readouterr()
    monkeypatch.setattr("scratchnet.data.synthetic.make", lambda *_, **how: tmp_path / "synthetic")
    monkeypatch.setattr("scratchnet.data.urbansound8k.read", lambda root, name: open_source(moved / "elsewhere"))
    (run / "config.json").write_text(json.dumps(config | {"data": None, "contents": "0" * 32}))
    assert evaluate.main([str(run)]) == 0
    assert "3 of its 15 clips: the run was trained or validated on the others" in capsys.readouterr().out
    (run / "recordings.csv").unlink()
    fails(capsys, evaluate.main, [run], run, "the synthetic sounds: changed since", "--data")


def test_a_training_that_bursts_in_its_last_step_is_no_result(tmp_path, tree, capsys):
    words = [*QUICK, "--epochs", "1", "--lr", "1e30", "--lr-final", "none", "--batch-size", "100", "--quiet"]
    fails(capsys, train.main, [*words, "--data", tree, "--out", tmp_path / "run"], "diverged", "--lr")


def test_weights_that_are_no_numbers_answer_nothing(moved, tmp_path, capsys):
    arrays, about = read_arrays(moved / "run" / "model.safetensors")
    arrays["piczak.output.bias"][0] = np.nan
    write_arrays(tmp_path / "model.safetensors", arrays, about)
    sound = next((moved / "elsewhere" / "low").iterdir())
    fails(capsys, predict.main, [tmp_path / "model.safetensors", sound], "not finite", "--lr")


@pytest.mark.parametrize("words", [["", "x.wav"], ["RUN", ""], ["RUN", "x.wav", ""], ["RUN", "--", ""]])
def test_an_empty_name_is_not_the_folder_that_one_is_in(moved, words, capsys):
    fails(capsys, predict.main, [moved / "run" if word == "RUN" else word for word in words], "is empty")


def test_nor_is_it_elsewhere(capsys):
    fails(capsys, evaluate.main, [""], "an argument is empty")
    fails(capsys, train.main, ["--resume", ""], "--resume is empty")


def test_home_is_found_in_options_that_the_shell_leaves_alone(tmp_path, tree, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    fails(capsys, train.main, ["--data", "~nobody-of-that-name/x"], "~nobody-of-that-name/x", "does not exist")
    words = [*QUICK, "--epochs", "1", "--quiet", "--data", str(tree)]
    assert train.main([*words, "--out=~/made/here"]) == 0
    assert (tmp_path / "made" / "here" / "model.safetensors").is_file() and not (tmp_path / "~").exists()


@pytest.mark.parametrize(
    "content, words",
    [
        (b'\xef\xbb\xbfnet = "piczaknet"\nepochs = 0\n', ["epochs", "above 0"]),  # read, beyond the mark
        ('net = "piczaknet"'.encode("utf-16"), ["not TOML", "save it as UTF-8"]),
        (rb'data = "C:\Users\me"', ["not TOML", "backslashes", "single quotes"]),
        (rb'data = "C:\temp\new"', ["control characters", "single quotes"]),
        (b"[train]\nepochs = 1\n", ["under no heading", "[train]"]),
    ],
)
def test_settings_from_windows(tmp_path, content, words, capsys):
    (tmp_path / "own.toml").write_bytes(content)
    fails(capsys, train.main, ["--config", tmp_path / "own.toml"], "own.toml", *words)


def test_a_folder_of_the_users_stays(tmp_path, capsys):
    data = write_tree(tmp_path / "data", 1)
    shutil.rmtree(data / "middle")
    (tmp_path / "mine").mkdir()
    for out in (tmp_path / "mine", tmp_path / "new" / "of" / "run"):
        fails(capsys, train.main, [*QUICK, "--data", data, "--out", out], "folds", "add recordings")
    assert (tmp_path / "mine").is_dir() and not any((tmp_path / "mine").iterdir())
    assert not (tmp_path / "new").exists()


def test_classes_are_named_where_folders_are_taken_for_them(trained, tree):
    assert "3 classes: high, low, middle" in SAID[trained]


def test_one_class_too_high_up(tmp_path, tree, capsys):
    shutil.copytree(tree, tmp_path / "archive" / "tones")
    words = ["the one class 'tones'", "if high, low, middle are the classes", tmp_path / "archive" / "tones"]
    fails(capsys, train.main, ["--data", tmp_path / "archive"], *words)
    (tmp_path / "outer").mkdir()
    (tmp_path / "archive").rename(tmp_path / "outer" / "archive")
    words[0], words[-1] = "the one class 'archive'", tmp_path / "outer" / "archive" / "tones"
    fails(capsys, train.main, ["--data", tmp_path / "outer"], *words)
    shutil.copytree(tree / "low", tmp_path / "alone" / "low")
    fails(capsys, train.main, ["--data", tmp_path / "alone"], "the one class 'low'", "at least two")


def test_an_empty_file_and_a_link_to_nothing(tmp_path, capsys):
    data = write_tree(tmp_path / "data")
    (data / "high" / "empty.wav").touch()
    (data / "low" / "link.wav").symlink_to(tmp_path / "nowhere.wav")
    assert train.main([*QUICK, "--epochs", "1", "--data", str(data), "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "empty.wav is empty, 0 bytes" in said and "link.wav is a link that leads nowhere" in said


def test_long_names_of_classes_and_many_leave_a_picture(tmp_path):
    import matplotlib.image

    from scratchnet import plots

    names = [f"Erithacus rubecula (European Robin), song, dawn chorus only, {k}" for k in range(3)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labels = plots.class_labels("folder", names, "ABC")
        assert len(set(labels)) == 3  # by their ends
        plots.save_confusions(tmp_path / "long.png", {"test": np.eye(3, dtype=int)}, labels)
        plots.save_confusions(tmp_path / "many.png", {"test": np.eye(300, dtype=int)}, [f"{k}" * 9 for k in range(300)])
    image = matplotlib.image.imread(tmp_path / "long.png")[..., :3]
    assert (image.min(axis=2) < 0.5).mean() > 0.05  # the matrix is there


@pytest.mark.parametrize("threads", ["0", "00"])
def test_no_threads_are_too_few(threads, monkeypatch, capsys, tree):
    monkeypatch.setenv("SCRATCHNET_THREADS", threads)
    fails(capsys, train.main, ["--data", tree, "--backend", "cpu"], "SCRATCHNET_THREADS", "1 or more")


def test_a_hint_is_like_what_was_written(capsys):
    assert predict.main(["RUN", "FILE", "--epochs", "1"]) == 2
    assert "did you mean" not in capsys.readouterr().err
    assert predict.main(["RUN", "FILE", "--jsn"]) == 2
    assert "did you mean --json?" in capsys.readouterr().err
    for word, hint in {"--ep": "--epochs?", "--lr-phase": "--lr-phase0?", "--model": None, "--no-cv": None}.items():
        assert train.main([word, "1"]) == 2
        said = capsys.readouterr().err
        assert (f"did you mean {hint}" in said) if hint else ("did you mean" not in said), said


def test_the_data_of_a_run_may_have_a_long_name(tree, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tree, tmp_path / ("ö" * 100))  # 200 bytes, to which the run's name adds more than file systems take
    assert train.main([*QUICK, "--epochs", "1", "--data", "ö" * 100, "--quiet"]) == 0
    assert (tmp_path / "runs" / f"piczaknet-{'ö' * 40}-1" / "result.json").is_file()


def test_skipped_files_are_counted_also_when_quiet(tree, tmp_path, capsys):
    data = tmp_path / "data"
    shutil.copytree(tree, data)
    (data / "low" / "broken.wav").write_bytes(b"RIFF no sound")
    given = [*QUICK, "--epochs", "1", "--data", str(data), "--out", str(tmp_path / "run"), "--quiet"]
    assert train.main(given) == 0
    error = capsys.readouterr().err
    assert "1 of 16 files skipped; the first: " in error and "broken.wav" in error


def test_control_characters_in_a_name_stay_on_their_line(trained, tree, tmp_path, capsys):
    path = tmp_path / "new\nline\x1b[31m.wav"
    shutil.copy(tree / "low" / "low-a.wav", path)
    assert predict.main([str(trained), str(path), "--backend", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and r"new\nline\x1b[31m.wav: " in lines[0]
    assert listed(["a" * 100, "b\tc"]) == f"{'a' * 28}…{'a' * 11}, b\\tc"


@pytest.mark.parametrize("threads", ["abc", "0"])
def test_a_wrong_number_of_threads_is_not_the_models_fault(threads, trained, tmp_path, monkeypatch):
    monkeypatch.setenv("SCRATCHNET_THREADS", threads)
    with pytest.raises(InputError, match="^SCRATCHNET_THREADS"):
        load(trained)


def test_a_model_that_may_not_be_read_is_there(trained, tmp_path, capsys, monkeypatch):
    def shut(path, *args, **kwargs):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr("scratchnet.training.files.open", shut, raising=False)
    fails(capsys, predict.main, [trained, "file.wav"], "model.safetensors: Permission denied")


def test_a_link_that_leads_nowhere_is_named_so(trained, tmp_path, capsys):
    (tmp_path / "gone.wav").symlink_to("nowhere.wav")
    fails(capsys, predict.main, [trained, tmp_path], "gone.wav is a link that leads nowhere")


def test_home_is_meant_by_a_tilde_in_every_option(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "own.toml").write_text("telepathy = 1")
    fails(capsys, train.main, ["--config=~/own.toml"], "telepathy")
    (tmp_path / "run").mkdir()
    fails(capsys, train.main, ["--resume=~/run"], tmp_path / "run", "no run folder (it has no config.json)")


def test_a_name_may_end_with_an_equals_sign(tmp_path, capsys):
    (tmp_path / "foo=").mkdir()
    fails(capsys, train.main, [f"--data={tmp_path}/foo="], "foo= is empty: put a data set there")
    fails(capsys, train.main, ["--data="], "--data is empty")
    fails(capsys, predict.main, ["RUN", "--", "--a="], "RUN: no such file")
