"""Dense: the matrix product, on every backend."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchnet.backend import asarray
from scratchnet.layers import Dense
from tests.support import assert_within, dense, on_backend, rounding, run


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(case=dense())
def test_every_backend_gives_the_definition(backend, dtype, case):
    layer, x = case.make(dtype), case.x.astype(dtype).astype("float64")
    weight = layer.params["weight"].astype("float64")
    bias = layer.params.get("bias", np.zeros(len(weight))).astype("float64")
    dy = case.rng.standard_normal((len(x), len(weight))).astype(dtype)
    exact = dy.astype("float64")

    def all_of(x, dy, weight, bias):
        y = np.array(
            [[sum(x[n, i] * w[i] for i in range(len(w))) + b for w, b in zip(weight, bias)] for n in range(len(x))]
        )
        return {"y": y, "dx": dy @ weight, "weight": dy.T @ x, "bias": dy.sum(0)}

    expected = all_of(x, exact, weight, bias)
    magnitude = all_of(*map(np.abs, (x, exact, weight, bias)))
    y, dx, grads = run(on_backend(case.make(dtype)), x.astype(dtype), dy)
    for key, value in {"y": y, "dx": dx, **grads}.items():
        assert_within(value, expected[key], 2 * rounding(dtype, 14) * magnitude[key])


@given(case=dense(bias=st.just(False)))
def test_backward_is_the_adjoint(backend, case):
    layer = on_backend(case.make())
    y, _, _ = run(layer, case.x)
    dy = case.rng.standard_normal(y.shape)
    y, dx, grads = run(layer, case.x, dy)
    size = np.abs(dy) @ np.abs(case.make().params["weight"]) * np.abs(case.x)
    assert_within((y * dy).sum(), (case.x * dx).sum(), rounding("float64", 200) * size.sum())
    assert_within(
        (y * dy).sum(), (case.make().params["weight"] * grads["weight"]).sum(), rounding("float64", 200) * size.sum()
    )


def test_no_input_gradient_where_none_is_needed(backend):
    layer = on_backend(Dense(3, 2))
    layer.need_dx = False
    y = layer.forward(asarray(np.ones((2, 3), "float32")))
    assert layer.backward(y) is None and set(layer.grads) == {"weight", "bias"}


def test_wrong_options_and_inputs_are_refused():
    with pytest.raises(ValueError, match="in_features must be"):
        Dense(0, 3)
    with pytest.raises(ValueError, match=r"Dense\(4, 3\) takes"):
        Dense(4, 3).forward(np.zeros((2, 5), "float32"))
