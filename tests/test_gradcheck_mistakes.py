"""What a beginner's layer lacks: the gradient check says it in one line."""

import numpy as np
import pytest

from scratchnet.fusion import ConvBlock
from scratchnet.gradcheck import gradcheck, suite
from scratchnet.layers import Dense, Layer
from scratchnet.losses import SoftmaxCrossEntropy

X = np.random.default_rng(0).standard_normal((4, 3))


class Double:
    def forward(self, x, training=False):
        return 2 * x

    def backward(self, dy):
        return 2 * dy


def made(**methods):
    return type("Mine", (Double,), methods)()


@pytest.mark.parametrize("layer, words", [
    (made(forward=lambda self, x, training=False: None), "Mine.forward returns None: is there a return?"),
    (made(forward=lambda self, x, training=False: (x, x)), "Mine.forward returns a tuple, no array"),
    (made(forward=lambda self, x: 2 * x), "Mine.forward takes no `training`"),
    (made(backward=lambda self, dy: (dy, dy)), "Mine.backward gives a tuple as the gradient of input"),
    (made(params=[np.ones(3)]), "Mine.params is a list: make it a dictionary"),
    (made(buffers=None), "Mine.buffers is a NoneType: make it a dictionary"),
    (made(buffers={"count": 3}), "buffer count is no array but 3: make it one"),
    (SoftmaxCrossEntropy(), r"a loss is checked with its target, gradcheck\(loss, x, target\)"),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_mistakes_are_told(layer, words):
    with pytest.raises(ValueError, match=words):
        gradcheck(layer, X)


class Center(Layer):
    """x less a mean that follows the batches, and is part of the output in training, too."""

    def __init__(self, kept="buffers"):
        super().__init__()
        self.kept = kept
        self.state = {"mean": np.zeros(3)}
        if kept == "buffers":
            self.buffers = self.state

    def forward(self, x, training=False):
        if training and not self.frozen:
            self.state["mean"] = 0.9 * self.state["mean"] + 0.1 * np.arange(3)
        return x - self.state["mean"]

    def backward(self, dy):
        return dy


def test_every_pass_begins_with_the_same_buffers():
    layer = Center()
    before = layer.buffers["mean"]
    assert gradcheck(layer, X, training=True)
    assert layer.buffers["mean"] is before and not before.any()


def test_a_state_beside_the_buffers_is_told():
    with pytest.raises(ValueError, match="what it keeps from pass to pass belongs in `buffers`"):
        gradcheck(Center("elsewhere"), X, training=True)


def test_a_network_whose_fused_gradients_are_no_numbers_is_wrong(monkeypatch):
    back = ConvBlock._back

    def without(block, dy):
        dx = back(block, dy)
        block._conv.grads["bias"] = np.full_like(block._conv.grads["bias"], np.nan)
        return dx

    monkeypatch.setattr(ConvBlock, "_back", without)
    assert np.isnan(suite.beside_its_layers("sbcnn")["sbcnn.conv1.bias"])


def test_a_layer_takes_any_number_of_other_arguments():
    assert gradcheck(made(forward=lambda self, x, **how: 2 * x), X)
    assert gradcheck(Dense(3, 2, dtype="float64"), X)
