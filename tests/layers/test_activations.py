"""ReLU, Tanh and Abs: their values, their gradients at the kink, NaN."""

import numpy as np
import pytest
from hypothesis import given

from scratchnet import backend as backends
from scratchnet.layers import Abs, BatchNorm1D, Conv1D, Dense, MaxPool1D, ReLU, Tanh
from scratchnet.network import Network
from tests.support import assert_within, elementwise, run

X = np.array([[-np.inf, -2.0, -1e-30, -0.0, 0.0, 1e-30, 2.0, np.inf]])
DY = np.array([[3.0, -2.0, 5.0, 7.0, -4.0, -6.0, 2.0, 9.0]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_relu(backend, dtype):
    y, dx, _ = run(ReLU(), X.astype(dtype), DY.astype(dtype))
    assert np.array_equal(y, np.maximum(X, 0).astype(dtype))
    assert np.array_equal(dx, DY * [[0, 0, 0, 0, 0, 1, 1, 1]])  # 0 at the kink


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_abs(backend, dtype):
    y, dx, _ = run(Abs(), X.astype(dtype), DY.astype(dtype))
    assert np.array_equal(y, np.abs(X).astype(dtype))
    assert np.array_equal(dx, DY * [[-1, -1, -1, 0, 0, 1, 1, 1]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(case=elementwise(Tanh))
def test_tanh(backend, dtype, case):
    """Against tanh in float64: within 4 units in the last place, and 1 − y² in 6 roundings of values up to 1."""
    x = (3 * case.x).astype(dtype)
    dy = case.rng.standard_normal(x.shape).astype(dtype)
    y, dx, _ = run(Tanh(), x, dy)
    exact = np.tanh(x.astype("float64"))
    step = np.finfo(dtype).eps
    assert_within(y, exact, 4 * step * np.abs(exact))
    # dx = dy·(1 − y²): y is off by 4 steps, y² by 8 and a rounding, the difference and the product by one each.
    assert_within(dx, dy.astype("float64") * (1 - exact**2), 12 * step * np.abs(dy))


def test_tanh_saturates(backend):
    y, dx, _ = run(Tanh(), np.array([[-100.0, 100.0]]))
    assert np.array_equal(y, [[-1, 1]]) and np.array_equal(dx, [[0, 0]])


@pytest.mark.parametrize("layer", [ReLU, Tanh, Abs])
def test_nan_goes_through(backend, layer):
    y, _, _ = run(layer(), np.array([[np.nan, 1.0]], "float32"))
    assert np.isnan(y[0, 0]) and not np.isnan(y[0, 1])


@pytest.mark.parametrize(("rest", "fused"), [
    ((ReLU,), True), ((ReLU,), False), ((ReLU, lambda: MaxPool1D(1)), True), ((lambda: BatchNorm1D(1), ReLU), True)
])  # fmt: skip
def test_the_gradient_passes_relu_where_it_is_nan(backend, rest, fused):
    """As in PyTorch: 0 is where y ≤ 0, which NaN is not. One rule, for layers and for what runs in one pass."""
    block = [Conv1D(1, 1, 1, bias=False), *(make() for make in rest)]
    block[0].params["weight"] = np.ones((1, 1, 1), "float32")
    net = Network([("g", [(f"{k}", layer) for k, layer in enumerate(block)])], fused=fused).to(backend)
    x = backends.asarray(np.array([[[1, np.nan, -1, 2]]], "float32"))
    net.forward(x)
    dx = backends.to_numpy(net.backward(backends.asarray(np.ones((1, 1, 4), "float32")), need_dx=True))
    assert (dx[0, 0] != 0).tolist() == [True, True, False, True]


def test_the_gradient_passes_a_dense_block_where_it_is_nan(backend):
    net = Network([("g", [("dense", Dense(1, 2, bias=False)), ("relu", ReLU())])])
    net.layers["g.dense"].params["weight"] = np.array([[np.nan], [1.0]], "float32")
    net.to(backend)
    net.forward(backends.asarray(np.ones((1, 1), "float32")))
    net.backward(backends.asarray(np.ones((1, 2), "float32")))
    assert backends.to_numpy(net.grads["g.dense.weight"]).tolist() == [[1], [1]]
