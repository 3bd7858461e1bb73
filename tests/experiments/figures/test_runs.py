"""Where figures find runs, and the networks of their phases."""

import json
import shutil

import numpy as np
import pytest

from experiments.figures import confusion, style
from experiments.figures.runs import by_system, find, one
from scratchnet import model
from scratchnet.data import open_source, prepare, split
from scratchnet.errors import InputError
from scratchnet.training import metrics
from scratchnet.training.runfolder import RunFolder


def test_runs_are_found_alone_in_a_folder_and_in_a_cross_validation(runs, tmp_path):
    assert [run.path.name for run in find([runs])] == ["heurinet", "mstnet"]
    assert [run.path for run in find([runs / "mstnet"])] == [runs / "mstnet"]
    assert [run.path.name for run in find([runs / "mstnet", runs / "heurinet", runs])] == ["mstnet", "heurinet"]
    assert list(by_system(find([runs]))) == ["HeuriNet, IceBreaker", "MSTNet, IceBreaker"]
    config = json.loads((runs / "heurinet" / "config.json").read_text())
    for number, split_ in ((None, "cv"), (10, "single"), (2, "single")):
        folder = tmp_path / "cv" / (f"fold{number}" if number else "")
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({**config, "split": split_}))
    assert [run.path.name for run in find([tmp_path / "cv"])] == ["fold2", "fold10"]
    with pytest.raises(InputError, match="2 runs"):
        one(tmp_path)


def test_runs_that_differ_in_seed_and_fold_alone_are_one_system(runs, tmp_path):
    config = json.loads((runs / "heurinet" / "config.json").read_text())
    changes = {"a": {}, "b": {"seed": 3, "test_fold": 1}, "c": {"lr": 0.01}, "d": {"lr": 0.01, "seed": 1}}
    for name, change in changes.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({**config, **change}))
    found = by_system(find([tmp_path]))
    assert {name: [run.path.name for run in mine] for name, mine in found.items()} == {
        "HeuriNet, IceBreaker": ["a", "b"],
        "HeuriNet, IceBreaker (lr=0.01)": ["c", "d"],
    }
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "config.json").write_text(json.dumps({**config, "data_name": "esc10"}))
    assert "HeuriNet, IceBreaker (esc10)" in by_system(find([tmp_path]))


def test_finished_runs_of_one_system_that_learned_from_other_folds_are_kept_apart(runs, tmp_path):
    for name, valid in (("a", 4), ("b", 3)):
        shutil.copytree(runs / "heurinet", tmp_path / name)
        result = json.loads((tmp_path / name / "result.json").read_text())
        (tmp_path / name / "result.json").write_text(json.dumps({**result, "test_fold": 5, "valid_fold": valid}))
    with pytest.raises(InputError, match="validated on other folds, so trained on others too"):
        by_system(find([tmp_path]))


def test_systems_of_one_picture_have_colours_of_their_own():
    nets = {"HeuriNet, IceBreaker": "heurinet", "SB-CNN": "sbcnn", "MiniVGG": "minivgg", "PiczakNet": "piczaknet"}
    more = {f"{name}, IceBreaker": "heurinet" for name in ("HeuriNet before SB-CNN", "HeuriNet before MiniVGG")}
    colours = style.colours({**nets, **more})
    assert len(set(colours.values())) == 6
    assert all(colours[name] == style.OF_NET[net] for name, net in nets.items())
    random = style.colours({"MSTNet, random init": "mstnet", "MSTNet, IceBreaker": "mstnet"})
    assert set(random.values()) == {style.OF_NET["mstnet"]}


def test_classes_bear_the_papers_codes(runs):
    assert find([runs])[0].labels() == ["AI", "CA", "CH", "DO", "DR", "EN", "GU", "JA", "SI", "ST"]


@pytest.mark.parametrize("name", ["heurinet", "mstnet"])
def test_every_phase_has_its_network_again(runs, figure_data, name):
    """Its figures on the test fold are those that the run wrote down when the phase had ended."""
    result = json.loads((runs / name / "result.json").read_text())
    for phase, written in result["phases"].items():
        loaded = model.load_phase(runs / name, phase)
        segments = prepare(open_source(str(figure_data)), loaded.settings)
        test = split(segments, result["test_fold"], result["valid_fold"])[2]
        probs = loaded.probabilities(segments, test)
        found = metrics.scores(probs, segments.label[test], segments.clip[test], segments.classes)
        assert found == {key: written[key] for key in found}


def test_the_last_phase_is_the_model_and_others_differ(runs):
    last, stored = (
        net.network.state_dict() for net in (model.load_phase(runs / "heurinet", 3), model.load(runs / "heurinet"))
    )
    assert all(np.array_equal(last[name], stored[name]) for name in stored)
    first = model.load_phase(runs / "heurinet", 1).network.state_dict()
    moved = {name for name in last if not np.array_equal(first[name], last[name])}
    assert {"deepfourier.conv1.weight", "piczak.conv1.weight", "piczak.output.weight"} <= moved


def test_phases_that_are_not_there_are_named(runs, tmp_path):
    with pytest.raises(InputError, match=r"no phase 4 \(it has 0, 1, 2, 3\)"):
        model.load_phase(runs / "heurinet", 4)
    with pytest.raises(InputError, match="no run folder"):
        model.load_phase(tmp_path, 1)
    old = tmp_path / "old"  # as if somebody had removed what lies in checkpoint/
    old.mkdir()
    for name in ("config.json", "model.safetensors", "result.json"):
        (old / name).symlink_to(runs / "heurinet" / name)
    with pytest.raises(InputError, match="keeps no weights of phase"):
        model.load_phase(old, 1)
    assert model.load_phase(old, 3).network.params  # all of them are in model.safetensors
    _, config = RunFolder.open(old)
    assert config.net == "heurinet"


def test_what_is_no_run_is_one_line(draw, tmp_path, runs):
    assert "no such folder" in draw(confusion.main, tmp_path / "absent", status=2)
    assert "no run folder" in draw(confusion.main, tmp_path, status=2)


def test_a_figure_is_a_picture(runs, tmp_path, capsys):
    for out in (tmp_path / "figure.txt", tmp_path):
        assert confusion.main([str(runs / "heurinet"), "--out", str(out)]) == 2
        assert str(out) in capsys.readouterr().err
    for ending in ("pdf", "svg"):
        assert confusion.main([str(runs / "heurinet"), "--out", str(tmp_path / f"figure.{ending}")]) == 0
        assert (tmp_path / f"figure.{ending}").stat().st_size > 5000
