"""Of a network whose gradient is wrong the check names the layer."""

import numpy as np
import pytest

from scratchnet.fusion import DenseBlock
from scratchnet.gradcheck import gradcheck
from scratchnet.layers import Dense, Dropout, Layer, ReLU
from scratchnet.network import Network


class Leaky(Layer):
    """max(x, x / 10), whose backward forgets the slope where x is negative."""

    def __init__(self, slope=0.0):
        super().__init__()
        self.slope = slope

    def forward(self, x, training=False):
        self.x = x
        return np.where(x > 0, x, 0.1 * x)

    def backward(self, dy):
        return np.where(self.x > 0, dy, self.slope * dy)


@pytest.mark.parametrize("slope, hint", [(0.1, ""), (0.0, "of the layers by themselves body.bad (Leaky) is wrong")])
def test_of_a_wrong_network_the_layer_is_named(slope, hint):
    rng = np.random.default_rng(0)
    dense = [Dense(6, 5, dtype="float64", rng=rng), Dense(5, 3, dtype="float64", rng=rng)]
    net = Network([("body", [("first", dense[0]), ("bad", Leaky(slope)), ("drop", Dropout(0.5)), ("last", dense[1])])])
    result = gradcheck(net, rng.standard_normal((4, 6)), training=True)
    assert (result.ok, result.hint) == (not hint, hint)
    assert str(result).endswith(hint)


def test_where_each_layer_is_right_the_network_is_looked_at(monkeypatch):
    rng = np.random.default_rng(0)
    net = Network([("body", [("first", Dense(6, 5, dtype="float64", rng=rng)), ("relu", ReLU())])])
    backward = DenseBlock.backward
    monkeypatch.setattr(DenseBlock, "backward", lambda block, dy: 2 * backward(block, dy))
    result = gradcheck(net, rng.standard_normal((4, 6)))
    assert not result.ok and result.hint.startswith("by itself each layer is right")


class Root(Layer):
    """√x, which takes no noise; with `slip`, its backward forgets the 2."""

    def __init__(self, slip=False):
        super().__init__()
        self.slip = slip

    def forward(self, x, training=False):
        if (x < 0).any():
            raise ValueError("no root of what is negative")
        self.y = np.sqrt(x)
        return self.y

    def backward(self, dy):
        return dy / self.y / (1 if self.slip else 2)


class Bent(Layer):
    """2x, whose backward is wrong beyond 8, where noise never is."""

    def forward(self, x, training=False):
        self.x = x
        return 2 * x

    def backward(self, dy):
        return np.where(self.x > 8, 0, 2 * dy)


class Shift(Layer):
    """|x| + 9."""

    def forward(self, x, training=False):
        self.sign = np.sign(x)
        return np.abs(x) + 9

    def backward(self, dy):
        return dy * self.sign


@pytest.mark.parametrize("bad, name", [(Root(slip=True), "Root"), (Bent(), "Bent")])
def test_a_layer_that_takes_no_noise_is_checked_on_what_it_gets(bad, name):
    layers = [("shift", Shift()), ("bad", bad), ("root", Root())]
    result = gradcheck(Network([("body", layers)]), np.random.default_rng(0).standard_normal((3, 4)))
    assert result.hint == f"of the layers by themselves body.bad ({name}) is wrong"
