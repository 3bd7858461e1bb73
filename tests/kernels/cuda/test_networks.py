"""A network's forward and backward pass on the CUDA kernels (run on the CPU), against the definition."""

import numpy as np
import pytest

from scratchnet import backend, nets
from scratchnet.kernels import cuda
from scratchnet.losses import SoftmaxCrossEntropy


@pytest.fixture
def as_numpy_backend(host, monkeypatch):
    """NumPy arrays go to the CUDA launchers, which run on the CPU."""

    def choose(name):
        backend.use(name if name != "cuda" else "cpu")
        monkeypatch.setattr(backend, "_of_numpy", cuda if name == "cuda" else None)

    yield choose
    monkeypatch.undo()
    backend.use("cpu")


def test_piczaknet_sees_and_learns_the_same(as_numpy_backend):
    """PiczakNet's forward and backward pass with dropout: loss and gradients as by the definition."""
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((3, 1, 60, 41)).astype("f4"), np.array([1, 0, 2])
    found = {}
    for name in ("reference", "cuda"):
        as_numpy_backend(name)
        net, loss = nets.build("piczaknet", 3, rng=np.random.default_rng(1)), SoftmaxCrossEntropy()
        net.reseed(5, 0)
        value = float(loss.forward(net.forward(x, training=True), target))
        net.backward(loss.backward())
        found[name] = value, net.grads
    # float32 sums of at most 5000 terms, five layers deep: 5000 · 2⁻²⁴ each in the worst case, relative to the largest.
    tolerance = 5 * 5000 * 2.0**-24
    np.testing.assert_allclose(found["cuda"][0], found["reference"][0], rtol=tolerance)
    for key, expected in found["reference"][1].items():
        assert np.abs(found["cuda"][1][key] - expected).max() <= tolerance * np.abs(expected).max(), key
