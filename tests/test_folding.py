"""Batch normalisation folded into the weights before it: the same network, outside of training."""

import numpy as np
import pytest

from scratchnet import backend as backends
from scratchnet import nets
from scratchnet.folding import fold_batchnorm
from scratchnet.layers import BatchNorm1D, BatchNorm2D, Conv2D, Dense, ReLU
from scratchnet.network import Network
from tests.support import assert_within


def shaken(net, seed=0):
    """Statistics and scales, in the host's memory, as training might leave them, none of them 0 or 1."""
    rng = np.random.default_rng(seed)
    for name, value in {**net.params, **net.buffers}.items():
        if ".norm" in name or "bias" in name:
            value[...] = rng.uniform(0.3, 2, value.shape) * (1 if "var" in name else rng.choice([-1, 1]))
    return net


@pytest.mark.parametrize("padding", ["same", "aligned"])
@pytest.mark.parametrize("back_end", ["piczak", "minivgg"])
def test_mstnet(backend, padding, back_end):
    if backend == "reference" and (padding, back_end) != ("same", "minivgg"):
        return  # slow, and the folding is the same
    how = {"dtype": "float64", "rng": np.random.default_rng(1), "back_end": back_end}
    net = shaken(nets.mstnet(3, batch_norm=True, padding=padding, **how)).to(backend)
    folded = fold_batchnorm(net)
    x = backends.asarray(np.random.default_rng(2).uniform(-1, 1, (2, 1, 20992)))
    expected = backends.to_numpy(net.forward(x))
    # Float64: one rounding of each weight more, in each of three layers of at most 1536 terms.
    assert_within(backends.to_numpy(folded.forward(x)), expected, 3 * 1536 * 2.0**-52 * (1 + np.abs(expected).max()))
    assert folded.groups[back_end] is net.groups[back_end] and not any(
        "norm" in n for n, _ in folded.groups["deepfourier"]
    )
    # What is stored is a MSTNet as the paper has it, of the same names.
    stored = nets.build(**folded.spec)
    stored.load_state_dict(folded.state_dict())
    assert stored.spec["batch_norm"] is False
    assert_within(stored.to(backend).forward(x), expected, 3 * 1536 * 2.0**-52 * (1 + np.abs(expected).max()))


def test_images_layers_without_bias_and_dense_ones(backend):
    rng = np.random.default_rng(3)
    layers = [
        ("conv1", Conv2D(1, 4, 3, bias=False, dtype="float64", rng=rng)),
        ("norm1", BatchNorm2D(4, dtype="float64")),
    ]
    net = Network([("a", [*layers, ("relu1", ReLU()), ("norm2", BatchNorm2D(4, eps=0.1, dtype="float64"))])])
    shaken(net).to(backend)
    folded = fold_batchnorm(net, "a")
    assert [name for name, _ in folded.groups["a"]] == ["conv1", "relu1", "norm2"]  # nothing to fold the last one into
    x = backends.asarray(rng.standard_normal((3, 1, 6, 7)))
    expected = backends.to_numpy(net.forward(x))
    assert_within(backends.to_numpy(folded.forward(x)), expected, 1e-13 * (1 + np.abs(expected).max()))
    net = Network(
        [("a", [("dense1", Dense(5, 4, dtype="float64", rng=rng)), ("norm1", BatchNorm1D(4, dtype="float64"))])]
    )
    shaken(net).to(backend)
    x = backends.asarray(rng.standard_normal((3, 5)))
    expected = backends.to_numpy(net.forward(x))
    folded = backends.to_numpy(fold_batchnorm(net, "a").forward(x))
    assert_within(folded, expected, 1e-13 * (1 + np.abs(expected).max()))


def test_nothing_to_fold():
    net = nets.mstnet(3, rng=np.random.default_rng(0))
    assert fold_batchnorm(net) is net
    assert fold_batchnorm(nets.piczaknet(3)).spec["name"] == "piczaknet"


def test_a_subclass_keeps_its_own_forward(backend):
    class Cubed(Dense):
        def forward(self, x, training=False):
            return super().forward(x, training) ** 3

    rng = np.random.default_rng(0)
    net = Network(
        [("deepfourier", [("dense", Cubed(4, 3, dtype="float64", rng=rng)), ("norm", BatchNorm1D(3, dtype="float64"))])]
    )
    net = shaken(net).to(backend)
    x = backends.asarray(rng.normal(size=(5, 4)))
    assert_within(fold_batchnorm(net).forward(x), backends.to_numpy(net.forward(x)), 0)


def test_a_normalisation_that_is_not_folded_stays():
    """Behind a ReLU; or a kind of one's own, which may compute anything. The spec says so."""

    class Twice(BatchNorm2D):
        def forward(self, x, training=False):
            return 2 * super().forward(x, training)

    def network(*layers):
        return shaken(
            Network([("deepfourier", [(f"norm{i}", layer) for i, layer in enumerate(layers)])], {"batch_norm": True})
        )

    x = np.random.default_rng(0).standard_normal((2, 1, 5, 5)).astype("float32")
    for layers, kept in (
        ([Conv2D(1, 3, 2), BatchNorm2D(3), ReLU(), BatchNorm2D(3)], [Conv2D, ReLU, BatchNorm2D]),
        ([Conv2D(1, 3, 2), Twice(3), Conv2D(3, 2, 1), BatchNorm2D(2)], [Conv2D, Twice, Conv2D]),
    ):
        net = network(*layers)
        folded = fold_batchnorm(net)
        assert [type(layer) for layer in folded.layers.values()] == kept
        assert folded.spec["batch_norm"] is (BatchNorm2D in kept)
        np.testing.assert_allclose(folded.forward(x), net.forward(x), rtol=1e-4, atol=1e-4)
