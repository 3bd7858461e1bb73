"""The rivals of PiczakNet, alone and behind the paper's front ends."""

import numpy as np
import pytest

from scratchnet import backend as backends
from scratchnet import nets
from tests.support import assert_within

# Weights and biases, and for MiniVGG scale and bias of every normalisation, counted by hand from the tables.
SBCNN = (25 + 1) * 24 + (24 * 25 + 1) * 48 + (48 * 25 + 1) * 48 + (48 * 15 * 2 + 1) * 64 + (64 + 1) * 10
MINIVGG = sum(9 * a * b + 2 * b for a, b in [(1, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128)]) + 129 * 10
PARAMETERS = {"sbcnn": SBCNN, "minivgg": MINIVGG}
fast_backends = pytest.mark.parametrize("backend", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)], indirect=True)
every_rival = pytest.mark.parametrize("name", nets.RIVALS)


@every_rival
def test_parameters_names_and_shapes(name):
    net = nets.build(name, rng=np.random.default_rng(0))
    assert sum(value.size for value in net.params.values()) == PARAMETERS[name] < 1e6
    assert f"{PARAMETERS[name]:,} parameters" in nets.RIVALS[name].__doc__
    assert next(iter(net.params)) == f"{name}.conv1.weight" and list(net.groups) == [name]
    x = np.zeros((2, 1, 60, 41), "float32")
    assert net.forward(x).shape == (2, 10)
    two = nets.build(name, 3, in_channels=2)
    assert two.forward(np.zeros((2, 2, 60, 41), "float32")).shape == (2, 3)
    again = nets.build(**net.spec)
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in net.state_dict().items()}
    assert repr(again) == repr(net)


def test_what_sbcnn_sees_on_its_way():
    """60 bins and 41 frames, pooled by 2 bins and 4 frames twice."""
    x, sizes = np.zeros((1, 1, 60, 41), "float32"), []
    for kind, layer in nets.sbcnn().groups["sbcnn"][:8]:
        x = layer.forward(x)
        sizes.append((kind, x.shape[1:]))
    assert dict(sizes)["pool1"] == (24, 30, 10) and sizes[-1] == ("relu3", (48, 15, 2))


@every_rival
@fast_backends
def test_fused_equals_plain(name, backend):
    rng = np.random.default_rng(4)
    net = nets.build(name, 5, dtype="float64", rng=rng)
    net.to(backend)
    x, dy = backends.asarray(rng.standard_normal((3, 1, 60, 41))), backends.asarray(rng.standard_normal((3, 5)))
    found = []
    for fused in (True, False):
        net.fused = fused
        net.reseed(1, 1)
        logits = net.forward(x, training=True)
        arrays = {"logits": logits, "dx": net.backward(dy, need_dx=True), **net.grads}
        found.append({key: np.array(backends.to_numpy(value)) for key, value in arrays.items()})
    for key, plain in found[1].items():
        # Float64, ten layers of sums of at most 7380 terms (a normalisation's) in two orders, relative to the largest.
        assert_within(found[0][key], plain, 10 * 7380 * 2.0**-53 * max(1.0, np.abs(plain).max()))


@pytest.mark.parametrize("front", ["heurinet", "mstnet", "melnet"])
@every_rival
def test_behind_a_front_end(front, name):
    net = nets.build(front, 4, back_end=name, rng=np.random.default_rng(0))
    assert list(net.groups) == ["deepfourier", "image", name]
    x = np.random.default_rng(1).uniform(-1, 1, (2, 1, 20992)).astype("float32")
    assert net.forward(x).shape == (2, 4) and net.features(x).shape == (2, 1, 60, 41)
    assert nets.build(**net.spec).spec == net.spec
    alone = nets.build(name, 4)
    alone.load_state_dict({key: a for key, a in net.state_dict().items() if key.startswith(name)})
    # The same numbers through the same layers: the front end's features are the back end's spectrogram.
    assert np.array_equal(alone.forward(net.features(x)), net.forward(x))


def test_unknown_ones_are_refused():
    with pytest.raises(ValueError, match="unknown back end 'resnet': choose one of piczak, sbcnn, minivgg"):
        nets.heurinet(back_end="resnet")
