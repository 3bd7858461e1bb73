"""ReLU, Tanh and Abs: their values, their gradients at the kink, NaN."""

import numpy as np
import pytest
from hypothesis import given

from scratchnet.layers import Abs, ReLU, Tanh
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
