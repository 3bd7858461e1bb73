"""Runs fold by fold and phase by phase."""

import hashlib
import json
import shutil

import numpy as np
import pytest

from experiments import folds
from scratchnet import backend, train

SEGMENTS, CLIPS = "segment_balanced_accuracy", "clip_accuracy_probability"


@pytest.fixture(scope="module")
def runs(tones, tmp_path_factory):
    """MSTNet on each of three folds, and HeuriNet from random weights on one."""
    root = tmp_path_factory.mktemp("runs")
    given = ["--data", str(tones), "--epochs", "2", "--batch-size", "4", "--backend", "cpu", "--quiet"]
    assert train.main([*given, "--net", "mstnet", "--cv", "--out", str(root / "mstnet")]) == 0
    assert train.main([*given, "--net", "heurinet", "--init", "random", "--out", str(root / "random")]) == 0
    return root


def parsed(text):
    """Heading -> title -> cells, of every table printed."""
    tables = {}
    for line in text.splitlines():
        if line.startswith("### "):
            table = tables.setdefault(line.removeprefix("### "), {})
        elif line.startswith("| "):
            title, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            table[title] = cells
    return tables


def read(folder):
    """What a run folder says: result.json, and the lines of metrics.jsonl by phase."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return json.loads((folder / "result.json").read_text()), lambda phase: [x for x in lines if x["phase"] == phase]


def test_every_figure_is_that_of_its_fold_and_phase(runs, capsys):
    assert folds.main([str(runs)]) == 0
    tables = parsed(capsys.readouterr().out)
    (name,) = (name for name in tables if name.startswith("mstnet"))
    assert name.endswith("seed 0, on esc10")
    table = tables[name]
    assert table[""] == ["fold 1", "fold 2", "fold 3", "mean ± sd"]
    read_folds = [read(runs / "mstnet" / f"fold{fold}") for fold in (1, 2, 3)]
    for phase in (0, 1, 2, 3):
        for title, score in (
            ("segments, balanced (%)", SEGMENTS),
            ("clips, probability (%)", CLIPS),
            ("best epoch, validation fold, segments, balanced (%)", "valid_balanced_accuracy"),
        ):
            values = [result["phases"][str(phase)][score] for result, _ in read_folds]
            assert table[f"Phase {phase}: {title}"] == cells(values)
        for which, place in (("first", 0), ("last", -1)):
            values = [lines(phase)[place]["train_accuracy"] for _, lines in read_folds]
            assert table[f"Phase {phase}: training segments right, {which} epoch (%)"] == cells(values)
    errors = [[line["valid_loss"] for line in lines("forcing")] for _, lines in read_folds]
    assert table["forcing: mean square error, valid, best epoch"] == [
        *(f"{min(those):.3g}" for those in errors),
        mean(map(min, errors)),
    ]
    for which in ("train", "valid"):
        errors = [lines("forcing")[-1][f"{which}_loss"] for _, lines in read_folds]
        title = f"forcing: mean square error, {which}, last epoch"
        assert table[title] == [*(f"{error:.3g}" for error in errors), mean(errors)]
    values = [result["phases"]["forcing"]["decibels"] for result, _ in read_folds]
    off = "forcing: decibels off the spectrogram, root mean square, test"
    assert table[off] == [*(f"{value:.3g}" for value in values), mean(values)]
    values = [result["phases"]["forcing"][SEGMENTS] for result, _ in read_folds]
    assert table["forcing, then Phase 0's network: segments, balanced (%)"] == cells(values)
    models = [(runs / "mstnet" / f"fold{fold}" / "model.safetensors").read_bytes() for fold in (1, 2, 3)]
    hashes = [hashlib.sha256(model).hexdigest()[:8] for model in models]
    assert table["model.safetensors, SHA-256 begins"] == [*hashes, ""]
    about = json.loads((runs / "mstnet" / "fold1" / "config.json").read_text())
    assert about["used_threads"] == backend.threads()
    count = about["used_threads"]
    machine = f"{about['versions']['processor']}, {count} thread{'s' if count > 1 else ''}"
    assert table["processor"] == [*[machine] * 3, ""]


def mean(values):
    """The mean's cell."""
    return f"{np.mean(list(values)):.3g}"


def cells(values):
    """The folds' cells, and their mean and sample deviation."""
    each = [f"{round(100 * value, 9):.1f}" for value in values]
    return [*each, f"{round(100 * np.mean(values), 9):.1f} ± {100 * np.std(values, ddof=1):.1f}"]


def test_phases_come_in_the_order_of_training(runs, capsys):
    assert folds.main([str(runs / "mstnet")]) == 0
    (table,) = parsed(capsys.readouterr().out).values()
    phases = dict.fromkeys(title.partition(":")[0] for title in table if ":" in title)
    assert list(phases) == ["Phase 0", "forcing", "forcing, then Phase 0's network", "Phase 1", "Phase 2", "Phase 3"]


def test_one_phase_and_one_fold(runs, capsys):
    assert folds.main([str(runs / "random")]) == 0
    ((name, table),) = parsed(capsys.readouterr().out).items()
    assert name.startswith("heurinet random")
    assert table[""] == ["fold 3", "mean ± sd"]
    result, lines = read(runs / "random")
    value = f"{round(100 * result['test'][SEGMENTS], 9):.1f}"
    assert table["random weights: segments, balanced (%)"] == [value, value]
    value = f"{round(100 * lines('random')[-1]['train_accuracy'], 9):.1f}"
    assert table["random weights: training segments right, last epoch (%)"][0] == value


def test_two_runs_of_one_fold_are_not_mixed(runs, tmp_path, capsys):
    shutil.copytree(runs / "random", tmp_path / "again")
    assert folds.main([str(runs / "random"), str(tmp_path)]) == 2
    assert f"{tmp_path / 'again'}: a second run of heurinet random" in capsys.readouterr().err


def test_what_holds_no_run_is_named(tmp_path, capsys):
    assert folds.main([str(tmp_path)]) == 2
    assert "no finished run" in capsys.readouterr().err
