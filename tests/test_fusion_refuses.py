"""What layers refuse by themselves, they refuse in one pass; and what they remember is nobody else's."""

import gc
import weakref

import numpy as np
import pytest

from scratchnet import layers
from scratchnet.network import Network


@pytest.mark.parametrize("conv, pool, shape", [
    (layers.Conv1D(1, 2, 3), layers.MaxPool2D((1, 3)), (1, 1, 20)),
    (layers.Conv2D(1, 2, 3), layers.MaxPool1D(3), (1, 1, 8, 20)),
])  # fmt: skip
def test_a_pool_of_other_dimensions_is_refused_as_by_the_layers(conv, pool, shape):
    for fused in (True, False):
        with pytest.raises(ValueError, match="takes x of shape"):
            Network([("g", [("c", conv), ("p", pool)])], fused=fused).forward(np.zeros(shape, np.float32))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [1, 3])
def test_a_normalisations_parameters_of_another_shape_are_refused_as_by_the_layer(training, size):
    norm = layers.BatchNorm1D(2)
    norm.params["weight"] = np.ones(size, np.float32)
    for fused in (True, False):
        net = Network([("g", [("c", layers.Conv1D(1, 2, 3)), ("n", norm), ("r", layers.ReLU())])], fused=fused)
        with pytest.raises(ValueError, match=r"takes a weight of shape \(2,\), and has one of"):
            net.forward(np.zeros((3, 1, 20), np.float32), training=training)


def test_a_pool_that_runs_apart_in_another_network_since_gives_no_wrong_gradient():
    """A ceiling pool whose last window hangs over the edge is a step of its own behind the block."""
    rng = np.random.default_rng(0)
    shared = [("c", layers.Conv2D(1, 2, 3, rng=rng)), ("r", layers.ReLU()), ("p", layers.MaxPool2D(2, ceil_mode=True))]
    one, other = Network([("g", shared)]), Network([("g", shared)])
    x = rng.standard_normal((2, 1, 9, 9)).astype(np.float32)
    y = one.forward(x)
    other.forward(-x)
    with pytest.raises(RuntimeError, match="MaxPool2D.* has run in another network since"):
        one.backward(np.ones_like(y))


def test_a_network_goes_when_nobody_holds_it():
    """Without waiting for the garbage collector, which array code seldom wakes."""
    net = Network([("g", [("c", layers.Conv1D(1, 2, 3)), ("t", layers.Tanh()), ("f", layers.Flatten())])])
    net.forward(np.ones((2, 1, 8), np.float32))
    alive = weakref.ref(net.layers["g.t"])
    gc.disable()
    try:
        del net
        assert alive() is None
    finally:
        gc.enable()


def test_what_a_property_raises_is_not_hidden():
    class Own(layers.Layer):
        @property
        def thing(self):
            return [].append_all

    with pytest.raises(AttributeError, match="append_all"):
        _ = Own().thing
    with pytest.raises(AttributeError, match="Conv1D has no '_y_shape': forward comes before backward"):
        layers.Conv1D(1, 1, 1).backward(np.ones((1, 1, 1)))
