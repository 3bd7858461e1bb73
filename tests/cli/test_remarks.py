"""What a run says of its data before it begins, and of its scores when it is over."""

import csv
import json
import shutil
from html import escape

import numpy as np
import pytest
import soundfile

from scratchnet import train
from scratchnet.data import open_source
from scratchnet.training import report
from scratchnet.training.resolve import resolve
from tests.cli.conftest import QUICK, RATE, tone, write_tree
from tests.cli.test_page import Page


def urban(root, fold_of, groups=lambda name, fold: f"{name}{fold}"):
    """UrbanSound8K's layout: a clip of each class in each fold of `fold_of`; those of True have a file."""
    rows = []
    for fold, there in fold_of.items():
        (root / "audio" / f"fold{fold}").mkdir(parents=True)
        for number, name in enumerate(["high", "low"]):
            path = root / "audio" / f"fold{fold}" / f"{name}-{fold}.wav"
            rows.append([path.name, groups(name, fold), 0, 1, 1, fold, number, name])
            if there:
                soundfile.write(path, tone(name, fold), RATE)
    (root / "metadata").mkdir()
    with open(root / "metadata" / "UrbanSound8K.csv", "w", newline="") as file:
        head = ["slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class"]
        csv.writer(file).writerows([head, *rows])
    return root


def said_of(data, tmp_path, capsys, *options):
    """What a run on this data prints of each kind, and its page."""
    out = tmp_path / "run"
    assert train.main([*QUICK, "--epochs", "1", "--data", str(data), "--out", str(out), *options]) == 0
    printed = capsys.readouterr()
    notes = json.loads((out / "config.json").read_text())["remarks"]
    page = (out / "report.html").read_text(encoding="utf-8")
    for head, words in notes:
        assert f"{head:<8} {words}" in (printed.out + printed.err).replace("scratchnet: ", "").splitlines()
        assert f"<li>{head}: {escape(words)}</li>" in page
    return dict(notes)


def test_nothing_is_said_of_what_is_in_order(tmp_path, capsys):
    assert not said_of(urban(tmp_path / "data", dict.fromkeys((1, 2, 3), True)), tmp_path, capsys)


@pytest.mark.parametrize("options", [[], ["--quiet"], ["--test-fold", "2"], ["--cv"]])
@pytest.mark.parametrize("lost", [4, 1])
def test_a_fold_that_is_not_there_changes_the_experiment(tmp_path, capsys, options, lost):
    data = urban(tmp_path / "data", {fold: fold != lost for fold in (1, 2, 3, 4)})
    assert open_source(data).absent_folds == (lost,)
    moved = lost == 4 and options in ([], ["--quiet"])
    then = "tested on fold 3 instead" if moved else "it takes no part"
    assert said_of(data, tmp_path, capsys, *options) == {"absent": f"no file of fold {lost} is there: {then}"}
    assert "files that could not be used: 2; the first: " in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize("test, said", [("1", True), ("3", False)])
def test_a_recording_in_the_test_fold_and_in_others_is_told_of(tmp_path, capsys, test, said):
    data = urban(tmp_path / "data", dict.fromkeys((1, 2, 3), True), lambda name, fold: name if fold < 3 else fold)
    words = "clips of one recording are in the test fold and in others, of 2 of 3 recordings, as high: of these the"
    notes = said_of(data, tmp_path, capsys, "--test-fold", test)
    assert notes == ({"folds": f"{words} scores are too good"} if said else {})


@pytest.mark.parametrize("parts", [["low-a.wav"], ["low-a_1.wav", "low-a_2.wav"]])
def test_a_recording_that_outweighs_the_others_is_told_of(tmp_path, capsys, parts):
    data = write_tree(tmp_path / "data", 5)
    (data / "low" / "low-a.wav").unlink()
    for part in parts:  # all in one fold
        soundfile.write(data / "low" / part, tone("low", 0, seconds=8 / len(parts)), RATE)
    fold = next(clip.fold for clip in open_source(data).clips if "low-a" in clip.path)
    notes = said_of(data, tmp_path, capsys, "--test-fold", str(fold))
    whose = "low/low-a.wav has" if len(parts) == 1 else "low/low-a_1.wav and 1 more of its recording have"
    assert notes["length"].startswith(whose) and notes["length"].endswith(
        "and decides the scores: shorten it" if len(parts) == 1 else "and decide the scores: keep fewer"
    )
    page = Page(tmp_path / "run" / "report.html")
    assert "The data" in page.headings


@pytest.mark.parametrize(
    "copy, test, words", [("low", 1, "1 recording is a copy of one in"), ("low", 3, None), ("high", 3, "1 rec")]
)
def test_copies_are_told_of_where_scores_hang_on_them(tmp_path, capsys, copy, test, words):
    """In the test fold and another; and of two classes anywhere."""
    data = urban(tmp_path / "data", dict.fromkeys((1, 2, 3), True))
    shutil.copy(data / "audio" / "fold1" / "low-1.wav", data / "audio" / "fold2" / f"{copy}-2.wav")
    notes = said_of(data, tmp_path, capsys, "--test-fold", str(test))
    assert ("copies" in notes) is (words is not None) and notes.get("copies", words or "").startswith(words or "")


def test_a_class_that_a_test_fold_lacks_is_told_of_in_a_cross_validation(tmp_path, capsys):
    data = write_tree(tmp_path / "data", 5)
    for path in (data / "high").glob("*-[c-e].wav"):
        path.unlink()
    notes = said_of(data, tmp_path, capsys, "--cv")
    assert notes["classes"] == "without a clip in some test fold: high; its scores are of the others alone"


def test_of_a_few_clips_one_may_be_long(tmp_path, capsys):
    data = write_tree(tmp_path / "data", 3)
    soundfile.write(data / "low" / "low-a.wav", tone("low", 0, seconds=8), RATE)
    assert "length" not in said_of(data, tmp_path, capsys)


def test_a_sound_in_no_class_and_the_folds_of_a_cross_validation_have_it_on_their_pages(tmp_path, capsys):
    data = write_tree(tmp_path / "data", 5)
    soundfile.write(data / "loose.wav", tone("low", 9), RATE)
    assert said_of(data, tmp_path, capsys, "--cv") == {"files": "in no class's folder, and not used: loose.wav"}
    for fold in range(1, 6):
        text = (tmp_path / "run" / f"fold{fold}" / "report.html").read_text()
        assert "class&#x27;s folder, and not used: loose.wav</li>" in text
        assert "9 clips to learn from, 3 to validate on, 3 to test on" in text


def scores(confusion, **more):
    return {"confusion": confusion, "classes": ["low", "high"], **more}


@pytest.mark.parametrize(
    "net, confusion, first, last, words",
    [
        ("heurinet", [[3, 1], [0, 4]], 0.9, 0.85, None),
        ("heurinet", [[3, 1], [0, 4]], 0.9, 0.75, "phase 0's piczaknet was better, 0.900 beside 0.750: try"),
        ("heurinet", [[0, 4], [0, 4]], 0.9, 0.9, "takes every segment for high: try more epochs, a smaller --lr, or"),
        ("heurinet", [[0, 0], [0, 4]], 0.9, 0.9, None),  # there is nothing else
        ("piczaknet", [[4, 0], [4, 0]], 0.5, 0.5, "takes every segment for low: try more epochs, a smaller --lr"),
    ],
)
def test_what_has_plainly_failed_is_told(net, confusion, first, last, words):
    test = scores(confusion, valid_balanced_accuracy=last)
    phases = {"0": {"valid_balanced_accuracy": first}, "3": test} if net == "heurinet" else {"0": test}
    found = list(report._failures(resolve(({"net": net}, None)), {"test": test, "phases": phases}))
    assert not found if words is None else len(found) == 1 and words in found[0]
    assert not any("--net piczaknet" in one for one in found) or net == "heurinet"
    gathered = {"test": scores(np.eye(2)), "phases": {"0": scores(np.eye(2)), "3": scores(np.eye(2))}}
    assert not list(report._failures(resolve(({"net": net}, None)), gathered))  # of a cross-validation


@pytest.mark.parametrize("options, status", [(["--epochs-phase1", "3"], 2), (["--config", "mine.toml"], 0)])
def test_options_that_change_nothing_are_refused_and_lines_of_a_file_are_not(
    tree, tmp_path, monkeypatch, options, status
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text("epochs_phase1 = 3\n")
    assert train.main([*QUICK, "--data", str(tree), "--out", "run", "--quiet", *options]) == status
