"""Whole runs with another back end, a normalised front end, magnitudes: through all phases, stored, loaded again."""

import json
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest

import scratchnet
from scratchnet import evaluate, nets, train
from scratchnet.errors import InputError
from scratchnet.model import load_phase
from scratchnet.training.inputs import magnitude_statistics
from scratchnet.training.phases import phases_for
from scratchnet.training.resolve import resolve
from tests.cli.conftest import ALL_PHASES, cache, prepared, tree  # noqa: F401 - fixtures


def run(tree, out, *options):  # noqa: F811
    with redirect_stdout(StringIO()):
        assert train.main([*ALL_PHASES, "--data", str(tree), "--out", str(out), *options]) == 0
    return json.loads((out / "result.json").read_text())


@pytest.fixture(scope="module")
def everything(tree, tmp_path_factory):  # noqa: F811
    """MSTNet with batch normalisation and aligned windows before MiniVGG: phases 0, forcing, 1, 2, 3."""
    out = tmp_path_factory.mktemp("runs") / "everything"
    options = ["--net", "mstnet", "--back-end", "minivgg", "--mst-batch-norm", "--mst-padding", "aligned"]
    return out, run(tree, out, *options)


def test_a_normalised_mstnet_before_a_rival(everything):
    out, result = everything
    assert list(result["phases"]) == ["0", "forcing", "1", "2", "3"]
    model = scratchnet.load(out)
    assert model.network.spec["batch_norm"] is False and model.network.spec["padding"] == "aligned"
    names = set(model.network.state_dict())
    assert "minivgg.norm1.running_var" in names  # the back end's stay: it is the network of that name
    assert not {name for name in names if name.startswith("deepfourier.norm")}  # the front end's are folded
    assert model.network.buffers["minivgg.norm1.running_mean"].any()
    with redirect_stdout(StringIO()) as said:
        assert evaluate.main([str(out)]) == 0
    assert f"{result['test']['segment_balanced_accuracy']:.3f}" in said.getvalue()


def test_its_phases_can_be_had_one_by_one(everything):
    out, _ = everything
    x = np.random.default_rng(0).uniform(-1, 1, 20992).astype("float32")
    folded, unfolded = scratchnet.load(out).predict(x), load_phase(out, 3).predict(x)
    # Folding rounds each weight of three float32 layers once more, of up to 1536 terms a sum.
    assert np.abs(folded.probabilities - unfolded.probabilities).max() < 3 * 1536 * 2.0**-24
    zero, one = load_phase(out, 0), load_phase(out, 1)
    assert list(zero.network.groups) == ["minivgg"] and zero.feature == "logmel"
    for name, value in zero.network.state_dict().items():  # frozen in Phase 1, its statistics too
        assert np.array_equal(one.network.state_dict()[name], value), name
    two = load_phase(out, 2).network.state_dict()
    changed = {name for name, value in zero.network.state_dict().items() if not np.array_equal(two[name], value)}
    kinds = ("weight", "bias", "running_mean", "running_var")
    assert changed <= {"minivgg.conv1.weight", *(f"minivgg.norm1.{kind}" for kind in kinds)} and changed


def test_a_rival_alone(tree, tmp_path):  # noqa: F811
    result = run(tree, tmp_path / "run", "--net", "sbcnn")
    assert list(result["phases"]) == ["0"] and (tmp_path / "run" / "kernels.png").is_file()
    assert list(scratchnet.load(tmp_path / "run").network.groups) == ["sbcnn"]


def test_magnitudes(tree, tmp_path):  # noqa: F811
    """Phase 0 is behind MelNet's own front end, which gives magnitudes of mean 0 and deviation 1."""
    out = tmp_path / "run"
    run(tree, out, "--net", "melnet", "--mel-power", "1", "--back-end", "sbcnn")
    zero = load_phase(out, 0)
    assert zero.feature == "waveform" and zero.network.spec["power"] == 1
    start = nets.melnet(3, power=1).params["deepfourier.conv1.weight"]
    assert np.array_equal(zero.network.params["deepfourier.conv1.weight"], start)
    assert not np.array_equal(load_phase(out, 1).network.params["deepfourier.conv1.weight"], start)


def test_the_statistics_of_magnitudes(tree):  # noqa: F811
    from scratchnet.data import open_source, prepare

    config = resolve(({"net": "melnet", "mel_power": 1}, None))
    segments = prepare(open_source(tree), config.sound())
    indices = np.arange(0, len(segments), 2)
    found = magnitude_statistics(config, segments, indices)
    net = nets.melnet(3, power=1, mean=found["mean"], std=found["std"])
    features = net.features(segments.waveforms(indices)).astype("float64")
    # Float32 decibels of up to 100 in size, divided by a deviation of more than 1; few of them round the same way.
    assert abs(features.mean()) < 100 * 2.0**-20 and abs(features.std() - 1) < 100 * 2.0**-20


def test_what_contradicts_itself():
    for given, word in [
        ({"net": "piczaknet", "back_end": "sbcnn"}, "take --net sbcnn"),
        ({"net": "sbcnn", "back_end": "minivgg"}, "leave one out"),
        ({"net": "heurinet", "back_end": "resnet"}, "minivgg"),
        ({"net": "mstnet", "mst_padding": "reflect"}, "aligned"),
        ({"net": "melnet", "hop_length": 256}, "transform with --hop-length 512; leave it out"),
    ]:
        with pytest.raises(InputError, match=word):
            resolve((given, None))
    assert resolve(({"net": "minivgg"}, None)).back_end == "minivgg"
    assert [phase.net for phase in phases_for(resolve(({"net": "minivgg"}, None)))] == ["minivgg"]
