"""Phase 0 taken over from a finished run: the same bits as one of its own, and no run that does not fit."""

import json
import shutil

import numpy as np
import pytest

from scratchnet import train
from scratchnet.model import load_phase
from scratchnet.training.phase0 import stands_for
from scratchnet.training.resolve import resolve
from tests.cli.conftest import ALL_PHASES, fails, finished, write_tree
from tests.cli.test_resume import interrupt_at, numbers, same_run

HEURI = [*ALL_PHASES, "--net", "heurinet", "--back-end", "minivgg"]


@pytest.fixture(scope="module")
def alone(tree, tmp_path_factory, prepared):
    """A finished run of MiniVGG, not to be changed."""
    return finished(tmp_path_factory.mktemp("runs") / "alone", tree, prepared, [*ALL_PHASES, "--net", "minivgg"])


@pytest.fixture(scope="module")
def own(tree, tmp_path_factory, prepared):
    """HeuriNet before MiniVGG with a Phase 0 of its own."""
    return finished(tmp_path_factory.mktemp("runs") / "own", tree, prepared, HEURI)


def test_it_is_the_run_that_it_would_be_without(alone, own, tree, tmp_path, capsys):
    out = tmp_path / "run"
    loud = [option for option in HEURI if option != "--quiet"]
    assert train.main([*loud, "--data", str(tree), "--out", str(out), "--phase0", str(alone)]) == 0
    said = capsys.readouterr().out
    assert f"phase 0  from {alone}" in said and "epochs   phase 1: 1," in said
    assert "phase 0 done: best epoch 1" in said and "phase 0 epoch" not in said
    same_run(own, out)
    seconds = [json.loads((path / "metrics.jsonl").read_text().splitlines()[0])["seconds"] for path in (alone, out)]
    assert seconds[0] == seconds[1]
    weights = [load_phase(path, 0).network.state_dict() for path in (own, out)]
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_folds_take_the_folds_of_the_same_number(tree, tmp_path, capsys):
    """And a run that is gone is not missed by the folds that have begun."""
    alone, out, moved = tmp_path / "alone", tmp_path / "run", tmp_path / "moved"
    data = ["--data", str(tree), "--cv"]
    assert train.main([*ALL_PHASES, "--net", "sbcnn", *data, "--out", str(alone)]) == 0
    given = [*ALL_PHASES, "--net", "heurinet", "--back-end", "sbcnn", *data, "--out", str(out), "--phase0", str(alone)]
    with pytest.MonkeyPatch.context() as patch:
        interrupt_at(patch, 14)  # four mini-batches an epoch, three epochs a fold: in Phase 1 of the second
        fails(capsys, train.main, given, f"--resume {out}", status=130)
    alone.rename(moved)
    fails(capsys, train.main, ["--resume", out], f"{alone}: no run folder")  # the third to fifth ask for it
    fails(capsys, train.main, ["--resume", out, "--phase0", tmp_path], f"--phase0 {tmp_path}: no run folder")
    moved.rename(alone)
    assert train.main(["--resume", str(out), "--quiet"]) == 0
    assert json.loads((out / "config.json").read_text())["phase0"] == str(alone)  # not what was refused
    for k in range(1, 6):
        assert numbers(out / f"fold{k}")[0] == numbers(alone / f"fold{k}")[0]
    results = [json.loads((path / "result.json").read_text()) for path in (alone, out)]
    assert results[0]["phases"]["0"] == results[1]["phases"]["0"]
    alone.rename(moved)
    (out / "result.json").unlink()
    assert train.main(["--resume", str(out), "--quiet"]) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--net", "minivgg"], "--net minivgg is Phase 0 itself"),
        (["--init", "random"], "--init random has no Phase 0"),
        (["--net", "melnet", "--mel-power", "1"], "behind MelNet's own front end"),
        (["--net", "mstnet", "--standardize", "none"], "forcing target"),
        (["--back-end", "sbcnn"], "is a run of minivgg; name one of sbcnn"),
        (["--peak", "segment"], "was trained with --peak clip, not segment; both must be the same"),
        (["--clip-norm", "3"], "was trained with --clip-norm none, not 3.0"),
        (["--epochs-phase0", "7", "--epochs", "none"], "was trained with --epochs-phase0 1, not 7"),
        (["--standardize", "none"], "was trained with --standardize train, not none"),
        (["--balanced"], "was trained with --no-balanced, not --balanced; both must be the same"),
        (["--test-fold", "2"], "tested on fold 5 and validated on 4; this run is tested on fold 2 and validated on 1"),
    ],
)
def test_what_does_not_fit_is_said_in_a_line(options, words, alone, tree, tmp_path, capsys):
    out = tmp_path / "run"
    back_end = [] if "--back-end" in options else ["--back-end", "minivgg"]
    given = [*ALL_PHASES, *back_end, "--data", tree, "--out", out, "--phase0", alone, *options]
    fails(capsys, train.main, given, f"--phase0 {alone}: ", words)
    assert not out.exists()


def test_epochs_of_every_phase_are_of_those_that_are_trained(alone, tree, tmp_path):
    """Its Phase 0 had one epoch at its preset's rate, and is there."""
    out = tmp_path / "run"
    given = [*HEURI, "--data", str(tree), "--out", str(out), "--phase0", str(alone), "--epochs", "2", "--lr", "0.001"]
    assert train.main(given) == 0
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["phase"] for row in rows] == [0, 1, 1, 2, 2, 3, 3]
    config = json.loads((out / "config.json").read_text())
    assert (config["epochs"], config["epochs_phase0"], config["epochs_phase3"], config["lr_phase1"]) == (
        None,
        1,
        2,
        0.001,
    )
    assert "phase 0: 1, phase 1: 2, phase 2: 2, phase 3: 2" in (out / "readings.md").read_text()


def test_a_run_that_is_none_or_not_finished_or_of_other_data(alone, tree, tmp_path, capsys):
    out = tmp_path / "run"
    given = [*HEURI, "--data", tree, "--out", out, "--phase0"]
    fails(capsys, train.main, [*given, tmp_path / "absent"], "absent: no run folder")
    unfinished = tmp_path / "unfinished"
    shutil.copytree(alone, unfinished)
    (unfinished / "result.json").unlink()
    fails(capsys, train.main, [*given, unfinished], "not finished; first go on with it: --resume", unfinished)
    for name, words in [("checkpoint", "keeps no scores of Phase 0"), ("model.safetensors", "keeps no weights")]:
        robbed = tmp_path / name
        shutil.copytree(alone, robbed)
        shutil.rmtree(robbed / name) if name == "checkpoint" else (robbed / name).unlink()
        fails(capsys, train.main, [*given, robbed], words)
        assert not out.exists()
    alike = write_tree(tmp_path / "alike")  # in their names alone
    for path in alike.rglob("*-a.wav"):
        shutil.copy(path, path.with_name(path.name.replace("-a", "-b")))
    for other in (write_tree(tmp_path / "other", count=4), alike):
        fails(capsys, train.main, [*HEURI, "--data", other, "--out", out, "--phase0", alone], "trained on other data")
        assert not out.exists()


def test_only_what_decides_phase_0_decides_whether_a_run_stands_for_it():
    def config(net, **given):
        return resolve(({"net": net, "preset": "piczak2015", "deltas": None, **given}, None))

    alone = config("piczaknet")
    same = [
        config("heurinet", conv1_kernel=55, epochs_phase3=7, lr_phase1=0.1),
        config("mstnet", forcing_target="code", grad_norms=True, clip_norm=None),
        config("heurinet", test_fold=2, data="elsewhere", quiet=True),
    ]
    assert all(stands_for(alone, one) for one in same)
    others = [
        config("piczaknet"),
        config("heurinet", init="random"),
        config("melnet", mel_power=1, clip_norm=None),
        config("mstnet"),  # clipped, as its preset has it
        config("heurinet", back_end="sbcnn"),
        *(config("heurinet", **{name: value}) for name, value in {"seed": 1, "epochs": 7, "lr_phase0": 0.1}.items()),
        *(config("heurinet", **{name: value}) for name, value in {"augment": 0, "peak": "segment"}.items()),
    ]
    assert not any(stands_for(alone, one) for one in others)
    assert not stands_for(config("heurinet"), config("heurinet", conv1_kernel=55))
