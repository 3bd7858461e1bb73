"""Batch normalisation: what training does to the running statistics, what a frozen layer does, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchnet import backend as backends
from scratchnet.layers import BatchNorm1D, BatchNorm2D, Conv2D, GlobalAveragePool2D, MaxPool2D, ReLU
from scratchnet.network import Network
from tests.support import assert_within, on_backend, rounding, seeds


def draw(seed, shape=(6, 3, 4, 5), dtype="float64"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def statistics(layer):
    return {name: np.array(backends.to_numpy(value)) for name, value in layer.buffers.items()}


@given(seed=seeds, momentum=st.sampled_from([0.0, 0.1, 0.7, 1.0]))
def test_training_normalises_and_follows(backend, seed, momentum):
    layer, x = on_backend(BatchNorm2D(3, momentum=momentum, dtype="float64")), 5 * draw(seed) + 2
    y = backends.to_numpy(layer.forward(backends.asarray(x), training=True))
    mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3), ddof=1)
    # Sums of 120 terms, there and here, and 10 roundings besides; |x|/std and |y| are 4 together in the mean, at most.
    bound = rounding("float64", 2 * 120 + 10)
    assert_within(y.mean(axis=(0, 2, 3)), np.zeros(3), 4 * bound)
    # ε = 1e-5 beside a variance of about 25: the deviation falls short of 1 by ε/2 of the variance, about 2e-7.
    assert_within(y.std(axis=(0, 2, 3)), np.ones(3), 0.5e-5 / (var * 119 / 120) + 4 * bound)
    expected = {"running_mean": momentum * mean, "running_var": 1 - momentum + momentum * var}
    # The variance, the larger of the two in size, is a sum of 120 squares.
    for name, value in statistics(layer).items():
        assert_within(value, expected[name], bound * (1 + var))


@given(seed=seeds)
def test_evaluation_takes_the_running_statistics_sample_by_sample(backend, seed):
    layer, x = on_backend(BatchNorm2D(3, dtype="float64")), backends.asarray(draw(seed))
    layer.forward(x, training=True)
    before = statistics(layer)
    whole = backends.to_numpy(layer.forward(x))
    parts = [backends.to_numpy(layer.forward(x[i : i + 1])) for i in range(len(x))]
    assert np.array_equal(whole, np.concatenate(parts))
    assert all(np.array_equal(value, before[name]) for name, value in statistics(layer).items())


@given(seed=seeds)
def test_frozen_is_one_fixed_function(backend, seed):
    """In training too: running statistics taken and left alone, no parameter gradients, dx as in evaluation."""
    layer, x, dy = on_backend(BatchNorm2D(3, dtype="float64")), draw(seed), draw(seed + 1)
    layer.forward(backends.asarray(draw(seed + 2)), training=True)
    before = statistics(layer)
    expected = np.array(backends.to_numpy(layer.forward(backends.asarray(x))))
    dx = np.array(backends.to_numpy(layer.backward(backends.asarray(dy))))
    layer.frozen, layer.grads = True, {}
    assert np.array_equal(backends.to_numpy(layer.forward(backends.asarray(x), training=True)), expected)
    assert np.array_equal(backends.to_numpy(layer.backward(backends.asarray(dy))), dx) and layer.grads == {}
    assert all(np.array_equal(value, before[name]) for name, value in statistics(layer).items())


def test_running_statistics_belong_to_the_network(backend):
    """They travel in state_dict; `params` and `grads`, which optimizers go by, do not hold them."""

    def build():
        rng = np.random.default_rng(0)
        return Network([("a", [("conv1", Conv2D(1, 3, 3, rng=rng)), ("norm1", BatchNorm2D(3))])]).to(backend)

    net, x = build(), backends.asarray(draw(0, (4, 1, 6, 6), "float32"))
    net.forward(x, training=True)
    assert set(net.buffers) == {"a.norm1.running_mean", "a.norm1.running_var"}
    assert set(net.state_dict()) == {*net.params, *net.buffers} and not set(net.params) & set(net.buffers)
    again = build()
    assert not np.array_equal(backends.to_numpy(again.forward(x)), backends.to_numpy(net.forward(x)))
    again.load_state_dict(net.state_dict())
    assert np.array_equal(backends.to_numpy(again.forward(x)), backends.to_numpy(net.forward(x)))
    with pytest.raises(KeyError, match="running_mean"):
        again.load_state_dict(dict(net.params))


@pytest.mark.parametrize("training", [True, False])
def test_fusing_changes_no_number(backend, training):
    """Convolution, batch normalisation, ReLU, pool: the same numbers with fusing and without."""
    rng = np.random.default_rng(1)
    layers = [("conv1", Conv2D(1, 3, 3, dtype="float64", rng=rng)), ("norm1", BatchNorm2D(3, dtype="float64"))]
    net = Network([("a", [*layers, ("relu1", ReLU()), ("pool1", MaxPool2D(2)), ("pool", GlobalAveragePool2D())])])
    net.to(backend)
    x, dy, found = backends.asarray(draw(2, (4, 1, 8, 9))), backends.asarray(draw(3, (4, 3))), []
    for fused in (True, False):
        net.fused = fused
        y = net.forward(x, training=training)
        arrays = [y, net.backward(dy, need_dx=True), *net.grads.values()]
        found.append([np.array(backends.to_numpy(a)) for a in arrays])
    for fused, plain in zip(*found):
        assert_within(fused, plain, 1e-12 * (1 + np.abs(plain).max()))  # sums of 252 terms in two orders


def test_what_is_refused(backend):
    with pytest.raises(ValueError, match="eps must be above 0"):
        BatchNorm1D(3, eps=0)
    with pytest.raises(ValueError, match="num_features"):
        BatchNorm1D(0)
    with pytest.raises(ValueError, match=r"takes x of shape \(N, 3\) or \(N, 3, T\), not \(2, 4\)"):
        BatchNorm1D(3).forward(np.zeros((2, 4), "float32"))
    with pytest.raises(ValueError, match=r"\(N, 3, H, W\), not \(2, 3, 4\)"):
        BatchNorm2D(3).forward(np.zeros((2, 3, 4), "float32"))
    with pytest.raises(ValueError, match="fewer than two values per channel"):
        BatchNorm1D(3).forward(np.zeros((1, 3), "float32"), training=True)
    with pytest.raises(ValueError, match=r"takes x of shape \(N, C, H, W\)"):
        GlobalAveragePool2D().forward(np.zeros((2, 3, 4), "float32"))
