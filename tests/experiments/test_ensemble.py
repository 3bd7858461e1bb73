"""Several systems as one, against means worked out by hand."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from experiments import ensemble
from scratchnet.training import metrics
from scratchnet.training.resolve import resolve
from scratchnet.training.runfolder import RunFolder

LABELS = {"1.wav": "a", "2.wav": "b", "3.wav": "b"}


def system(path, folds, valid=1):
    """A run as training leaves it; `folds`: fold -> the probability of class a of each clip."""
    for fold, probabilities in folds.items():
        settings = resolve(({"net": "sbcnn", "test_fold": fold}, None))
        run = RunFolder.create(path / f"fold{fold}", settings)
        run.describe(settings, data_name="tones", used_backend="cpu")
        rows = [[clip, LABELS[clip], "a", "a", p, 1 - p] for clip, p in zip(LABELS, probabilities)]
        run.save_predictions(["a", "b"], rows)
        shares = np.array([[p, 1 - p] for p in probabilities])  # one segment a clip
        test = metrics.scores(shares, np.array([0, 1, 1]), np.arange(3), ("a", "b"))
        result = {"net": "sbcnn", "seed": 0, "test_fold": fold, "valid_fold": fold + valid, "training_seconds": 1.0}
        run.save_result({**result, "test": test, "phases": {"0": test}})
    return str(path)


@pytest.fixture
def three(tmp_path):
    """Each is wrong where it has to be: clip 1 is of class a, clips 2 and 3 are of b."""
    return [
        system(tmp_path / "one", {1: [0.9, 0.6, 0.1], 2: [0.9, 0.1, 0.1]}),  # 2/3, 1
        system(tmp_path / "two", {1: [0.4, 0.3, 0.2], 2: [0.1, 0.9, 0.4]}),  # 2/3, 1/3
        system(tmp_path / "six", {1: [0.4, 0.2, 0.9], 2: [0.1, 0.3, 0.2]}),  # 1/3, 2/3
    ]


def test_the_mean_of_the_probabilities_decides(three, capsys):
    systems = {path: ensemble.read(path) for path in three}
    assert [ensemble.accuracies(folds) for folds in systems.values()] == [
        pytest.approx(each) for each in ([2 / 3, 1], [2 / 3, 1 / 3], [1 / 3, 2 / 3])
    ]
    mean = ensemble.together(systems)
    assert mean[1]["1.wav"] == ("a", pytest.approx({"a": 1.7 / 3, "b": 1.3 / 3}))
    assert mean[2]["2.wav"] == ("b", pytest.approx({"a": 1.3 / 3, "b": 1.7 / 3}))
    # Fold 1: means of a 0.57, 0.37, 0.4: all right. Fold 2: 0.37, 0.43, 0.23: the first is wrong.
    assert ensemble.accuracies(mean) == pytest.approx([1, 2 / 3])
    assert ensemble.main(three) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| clips, mean probability (%) | fold 1 | fold 2 | mean ± sd |"
    assert lines[2] == "| one | 66.7 | 100.0 | 83.3 ± 23.6 |"
    assert lines[-1] == "| **together** | 100.0 | 66.7 | 83.3 ± 23.6 |"


def test_what_cannot_be_put_together_is_named(three, tmp_path, capsys):
    other = system(tmp_path / "other", {1: [0.5, 0.5, 0.5]})
    for fold in (1, 2):
        (Path(three[0]) / f"fold{fold}" / "model.safetensors").write_text(f"model {fold}")
    copy = shutil.copytree(three[0], tmp_path / "copy")
    (tmp_path / "twice").mkdir()
    for name in ("x", "y"):
        system(tmp_path / "twice" / name, {1: [0.5, 0.5, 0.5]})
    for given, words in [
        ([three[0], other], "not tested on the same clips of the same folds"),
        ([three[0], str(tmp_path / "twice")], "more than one run on fold 1"),
        ([three[0], str(tmp_path / "absent")], "absent"),
        ([three[0], three[1], three[0] + "/"], "named twice"),
        ([three[0], system(tmp_path / "valid", {1: [0.5] * 3, 2: [0.5] * 3}, valid=3)], "validated on other folds"),
        ([three[0], str(copy)], "named twice"),
        ([], "RUN"),
    ]:
        assert ensemble.main(given) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1
