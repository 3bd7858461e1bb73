"""The paper's tables and the networks made from them: shapes, parameter counts, names."""

import numpy as np
import pytest

from scratchnet import nets
from scratchnet.layers import Conv1D

RNG = np.random.default_rng(0)
SHAPE = {"piczaknet": (2, 1, 60, 41), "heurinet": (2, 1, 20992), "mstnet": (2, 1, 20992), "melnet": (2, 1, 20992)}
PICZAK = 26_306_730
FRONT = {"heurinet": 84_540, "mstnet": 964_412, "melnet": 1026 * 1024 + 1026 + 60 * 513 + 60}


@pytest.fixture(scope="module", params=nets.NETS)
def net(request):
    return nets.build(request.param, rng=np.random.default_rng(0))


def count(net, prefix=""):
    return sum(value.size for name, value in net.params.items() if name.startswith(prefix))


def test_parameters(net):
    name = net.spec["name"]
    assert count(net, "piczak.") == PICZAK and count(net, "deepfourier.") == FRONT.get(name, 0)
    assert count(net) == PICZAK + FRONT.get(name, 0)
    assert net.dtype == np.float32


def test_shapes(net):
    shape = SHAPE[net.spec["name"]]
    x = RNG.standard_normal(shape).astype("float32")
    assert net.forward(x).shape == (2, 10)
    if net.spec["name"] != "piczaknet":
        assert net.features(x).shape == (2, 1, 60, 41) and net.front().forward(x).shape == (2, 60, 41)


def test_names(net):
    ends = [
        f"piczak.{name}.{kind}"
        for name in ("conv1", "conv2", "dense1", "dense2", "output")
        for kind in ("weight", "bias")
    ]
    assert list(net.params)[-10:] == ends
    front = {"heurinet": 2, "mstnet": 3, "melnet": 2}.get(net.spec["name"], 0)
    assert list(net.params)[:-10] == [
        f"deepfourier.conv{i + 1}.{kind}" for i in range(front) for kind in ("weight", "bias")
    ]


def test_biases_start_at_zero_and_weights_by_xavier(net):
    for name, value in net.params.items():
        if name.endswith("bias"):
            assert not value.any()
        elif not (net.spec["name"] == "melnet" and name.startswith("deepfourier")):
            taps = int(np.prod(value.shape[2:]))
            bound = np.sqrt(6 / (taps * (value.shape[0] + value.shape[1])))
            assert 0.99 * bound < np.abs(value).max() <= np.float32(bound)


def test_the_spec_builds_it_again(net):
    again = nets.build(**net.spec)
    assert {k: v.shape for k, v in again.params.items()} == {k: v.shape for k, v in net.params.items()}
    assert again.spec == net.spec and repr(again) == repr(net)


@pytest.mark.parametrize(
    "name, table",
    [
        ("heurinet", [(1, 80, 155, 10), (80, 60, 15, 4)]),  # Table 1: #in, #out, kernel width, stride
        ("mstnet", [(1, 512, 1024, 512), (512, 256, 3, 1), (256, 60, 3, 1)]),  # Table 2
    ],
)
def test_the_tables(name, table):
    front = nets.build(name).groups["deepfourier"]
    convolutions = [layer for _, layer in front if isinstance(layer, Conv1D)]
    assert [(c.in_channels, c.out_channels, c.kernel_size, c.stride) for c in convolutions] == table


def test_intermediate_shapes_of_heurinet():
    """20992 → 2084 → 692 → 170 → 41."""
    x, lengths = np.zeros((1, 1, 20992), "float32"), []
    for _, layer in nets.heurinet().groups["deepfourier"]:
        x = layer.forward(x)
        lengths.append(x.shape[2])
    assert lengths == [2084, 2084, 692, 170, 170, 41]


def test_options():
    x = RNG.standard_normal((1, 2, 60, 41)).astype("float32")
    two = nets.piczaknet(3, in_channels=2, pool_ceil=True)
    assert two.forward(x).shape == (1, 3) and two.params["piczak.dense1.weight"].shape == (5000, 320)
    assert nets.heurinet(4, conv1_channels=7, conv1_kernel=51).params["deepfourier.conv1.weight"].shape == (7, 1, 51)
    assert nets.piczaknet(dtype="float64").dtype == np.float64
    old = nets.piczaknet(init="piczak2015")
    assert (old.params["piczak.conv1.bias"] == np.float32(0.1)).all()
    always = nets.piczaknet(dropout_in_evaluation=True)
    x = x[:, :1]
    assert not np.array_equal(always.forward(x), always.forward(x))
    with pytest.raises(ValueError, match='init must be "xavier" or "piczak2015"'):
        nets.piczaknet(init="zeros")
    with pytest.raises(
        ValueError, match="unknown network 'alexnet': choose one of piczaknet, heurinet, mstnet, melnet, sbcnn, minivgg"
    ):
        nets.build("alexnet")


def test_a_seed_gives_the_same_network():
    first, second = (nets.heurinet(rng=np.random.default_rng(5)).params for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)
