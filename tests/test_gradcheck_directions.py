"""The gradient check of big arrays and of small numbers: what no sampled element tells."""

import numpy as np
import pytest

from scratchnet.gradcheck import gradcheck
from scratchnet.layers import Dense, Layer

X = np.random.default_rng(0).standard_normal((3, 4))


class Leaky(Layer):
    """A ReLU that lets a tenth through, with a kink at `kink`."""

    kink = 0.0

    def forward(self, x, training=False):
        self.x = x
        return np.where(x > self.kink, x, 0.1 * x + 0.9 * self.kink)

    def backward(self, dy):
        return np.where(self.x > self.kink, dy, 0.1 * dy)


class LeakyWithoutASample(Leaky):
    def backward(self, dy):
        dx = super().backward(dy)
        dx[2] *= -1
        return dx


ZEROS = {"one zero": 1e-5, "zeros": 0.05}


@pytest.mark.parametrize("share", ZEROS.values(), ids=ZEROS)
@pytest.mark.parametrize("seed", range(4))
def test_zeros_in_a_big_array_hide_no_wrong_sample(share, seed):
    """A direction across all of it crosses their kink: one without them is taken."""
    x = np.random.default_rng(0).normal(size=(100, 400))
    x[np.random.default_rng(1).random(x.shape) < share] = 0
    x[5, 7] = 0
    result = gradcheck(Leaky(), x, seed=seed)
    assert result and "a direction without its zeros" in str(result)
    assert not gradcheck(LeakyWithoutASample(), x, seed=seed)


@pytest.mark.parametrize(
    "at_the_kink, said", [(1, "and 15 of 16 parts of a direction"), (12000, "; no direction: the others")]
)
def test_a_kink_elsewhere_is_seen_past_in_parts(monkeypatch, at_the_kink, said):
    monkeypatch.setattr(Leaky, "kink", 0.25)
    x = np.random.default_rng(0).normal(size=(100, 400))
    x.flat[np.random.default_rng(1).choice(x.size, at_the_kink, replace=False)] = 0.25
    result = gradcheck(Leaky(), x)
    assert result and said in str(result)
    if at_the_kink == 1:
        assert not gradcheck(LeakyWithoutASample(), x)


@pytest.mark.parametrize("size", [1e-2, 1e-4, 1e-6, 1e-9, 0.0])
@pytest.mark.parametrize("factor, right", [(1.0, True), (1 + 1e-4, False)])
def test_parameters_may_be_small(size, factor, right):
    """As a bias after its first steps: steps relative to such numbers would drown in rounding."""

    class Shifted(Dense):
        def backward(self, dy):
            dx = super().backward(dy)
            self.grads["bias"] = factor * self.grads["bias"]
            return dx

    layer = Shifted(4, 3, dtype="float64", rng=np.random.default_rng(0))
    layer.params["bias"][...] = size * np.array([1.0, -0.5, 0.7])
    assert gradcheck(layer, X).ok is right


def test_zeros_that_no_direction_moves_are_not_said_to_be_seen():
    """A new bias of zeros, some of it beside kinks; most of it was not sampled."""

    class Shifted(Layer):
        def __init__(self):
            super().__init__()
            self.params["b"] = np.zeros((50, 40))

        def forward(self, x, training=False):
            self.z = x + self.params["b"]
            return np.where(self.z > 0, self.z, 0.1 * self.z)

        def backward(self, dy):
            self.grads["b"] = dz = np.where(self.z > 0, dy, 0.1 * dy)
            return dz

    x = np.random.default_rng(0).normal(size=(50, 40))
    x[:, 7] = 0
    _, bias = gradcheck(Shifted(), x).arrays
    assert bias.name == "b" and "no direction: the others are unseen" in str(bias)
    x[:, 7], x[3, 7] = 1, 0
    _, bias = gradcheck(Shifted(), x).arrays
    assert "15 of 16 parts of a direction)" in str(bias)
