"""What holds for every layer on every backend: right gradients, any memory layout, outputs written in full."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchnet import backend as backends
from scratchnet import layers
from scratchnet.gradcheck import gradcheck
from tests.support import AWKWARD, LAYERS, assert_within, awkward, on_backend, other_shapes, poisoned, rounding, run

every_layer = pytest.mark.parametrize("name", LAYERS)

# Sums here have at most 200 terms of size under 50 (products of normal numbers): this is what reordering can change.
REORDERED = rounding("float64", 200) * 200 * 50


def test_no_layer_is_forgotten():
    assert set(LAYERS) == set(layers.__all__) - {"Layer"}


@every_layer
@given(data=st.data())
def test_gradients(name, backend, data):
    case = data.draw(LAYERS[name])
    result = gradcheck(on_backend(case.make()), case.x, training=True)
    assert result.ok, str(result)


@every_layer
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("how", AWKWARD)
@given(data=st.data())
def test_memory_layout_does_not_matter(name, how, dtype, backend, data):
    case = data.draw(LAYERS[name])
    x = case.x.astype(dtype)
    y, dx, grads = run(on_backend(case.make(dtype)), x)
    dy = case.rng.standard_normal(y.shape).astype(dtype)
    y, dx, grads = run(on_backend(case.make(dtype)), x, dy)
    y2, dx2, grads2 = run(on_backend(case.make(dtype)), awkward(x, how), awkward(dy, how))
    bound = rounding(dtype, 200) * 200 * 50  # as REORDERED
    assert_within(y2, y, bound)
    assert_within(dx2, dx, bound)
    for key in grads:
        assert_within(grads2[key], grads[key], bound)


@every_layer
@given(data=st.data())
def test_inputs_are_left_alone(name, backend, data):
    case = data.draw(LAYERS[name])
    layer, x = on_backend(case.make()), case.x.copy()
    weights = {key: np.array(value) for key, value in case.make().params.items()}
    y, _, _ = run(layer, x)
    dy = case.rng.standard_normal(y.shape)
    kept = dy.copy()
    run(layer, x, dy)
    assert np.array_equal(x, case.x) and np.array_equal(dy, kept)
    for key, value in on_backend(case.make()).params.items():
        assert_within(value, weights[key], 0)


@every_layer
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(data=st.data())
def test_the_type_is_kept(name, dtype, backend, data):
    case = data.draw(LAYERS[name])
    y, dx, grads = run(on_backend(case.make(dtype)), case.x.astype(dtype))
    assert {y.dtype, dx.dtype, *(g.dtype for g in grads.values())} == {np.dtype(dtype)}


@every_layer
@given(data=st.data())
def test_float32_is_float64_up_to_rounding(name, backend, data):
    # Sums of at most 200 products, each under 50 in size, and a few roundings more for |·|, log and tanh, which are
    # right to 4 units in the last place; all in float32.
    case = data.draw(LAYERS[name])
    x = case.x.astype("float32")
    exact, rounded = case.make("float64"), case.make("float32")
    for key, value in rounded.params.items():
        exact.params[key] = value.astype("float64")
    y, dx, grads = run(on_backend(exact), x.astype("float64"))
    y32, dx32, grads32 = run(on_backend(rounded), x)
    bound = rounding("float32", 210) * 50
    assert_within(y32, y, bound * max(1.0, np.abs(y).max()))
    assert_within(dx32, dx, bound * max(1.0, np.abs(dx).max()))
    for key in grads:
        assert_within(grads32[key], grads[key], bound * max(1.0, np.abs(grads[key]).max()))


# Of a dropout a sample's mask depends on its place in the batch, a normalisation on the others in it.
@pytest.mark.parametrize("name", [name for name in LAYERS if name != "Dropout" and not name.startswith("BatchNorm")])
@given(data=st.data())
def test_a_batch_is_its_samples(name, backend, data):
    case = data.draw(LAYERS[name])
    y, dx, grads = run(on_backend(case.make()), case.x)
    dy = case.rng.standard_normal(y.shape)
    y, dx, grads = run(on_backend(case.make()), case.x, dy)
    summed = {key: 0.0 for key in grads}
    for i in range(len(case.x)):
        y1, dx1, grads1 = run(on_backend(case.make()), case.x[i : i + 1], dy[i : i + 1])
        assert_within(y1[0], y[i], REORDERED)
        assert_within(dx1[0], dx[i], REORDERED)
        summed = {key: summed[key] + grads1[key] for key in grads}
    for key in grads:
        assert_within(summed[key], grads[key], REORDERED)


@every_layer
@given(data=st.data())
def test_outputs_are_written_in_full(name, backend, data):
    """Memory from numpy.empty comes poisoned; and a pass over NaN before leaves nothing behind."""
    case = data.draw(LAYERS[name])
    y, dx, grads = run(on_backend(case.make()), case.x)
    layer = on_backend(case.make())
    with poisoned():
        run(layer, np.full_like(case.x, np.nan))
        if name == "Dropout":
            layer = case.make()
        y2, dx2, grads2 = run(layer, case.x)
    assert np.array_equal(y2, y) and np.array_equal(dx2, dx)
    assert all(np.array_equal(grads2[key], grads[key]) for key in grads)


@every_layer
@given(data=st.data())
def test_frozen_layers_compute_no_parameter_gradients(name, backend, data):
    case = data.draw(LAYERS[name])
    layer, frozen = on_backend(case.make()), on_backend(case.make())
    frozen.frozen = True
    _, dx, _ = run(layer, case.x)
    _, dx_frozen, grads = run(frozen, case.x)
    assert grads == {}
    if not name.startswith("BatchNorm"):  # which goes by its running statistics when it is frozen: test_batchnorm.py
        assert np.array_equal(dx_frozen, dx)


@every_layer
@given(data=st.data())
def test_a_gradient_of_another_shape_is_refused(name, backend, data):
    case = data.draw(LAYERS[name])
    layer = on_backend(case.make())
    shape = layer.forward(backends.asarray(case.x), training=True).shape
    for other in other_shapes(shape):
        with pytest.raises(ValueError, match=re.escape(f"{layer!r} takes dy of shape {shape}, not {other}")):
            layer.backward(backends.asarray(np.ones(other)))
    assert layer.grads == {} and run(layer, case.x)[1].shape == case.x.shape


@every_layer
@given(data=st.data())
def test_gradients_of_whole_numbers_are_taken_as_numbers(name, backend, data):
    case = data.draw(LAYERS[name])
    y, _, _ = run(on_backend(case.make()), case.x)
    dy = case.rng.integers(-3, 4, y.shape)
    _, expected, grads = run(on_backend(case.make()), case.x, dy.astype("float32"))
    _, dx, grads2 = run(on_backend(case.make()), case.x, dy)
    assert_within(dx, expected, 0)
    for key in grads:
        assert_within(grads2[key], grads[key], 0)


@every_layer
@pytest.mark.parametrize("dtype", [">f4", ">f8", "float16", "longdouble"])
@given(data=st.data())
def test_floats_of_other_kinds_are_numbers_too(name, dtype, backend, data):
    if backend == "cuda":
        pytest.skip("a GPU has no such types")
    case = data.draw(LAYERS[name])
    x, plain = case.x.astype(dtype), "float64" if np.dtype(dtype).itemsize >= 8 else "float32"
    y, _, _ = run(on_backend(case.make()), x.astype(plain))
    dy = case.rng.standard_normal(y.shape).astype(dtype)
    expected = run(on_backend(case.make()), x.astype(plain), dy.astype(plain))
    found = run(on_backend(case.make()), x, dy)
    for a, b in zip((*found[:2], *found[2].values()), (*expected[:2], *expected[2].values()), strict=True):
        np.testing.assert_array_equal(a, b)


@every_layer
@given(data=st.data())
def test_of_no_samples_comes_nothing(name, backend, data):
    if backend == "cuda":
        pytest.skip("not known of CuPy's reductions")
    case = data.draw(LAYERS[name])
    layer, x = on_backend(case.make()), case.x[:0]
    y = layer.forward(x)
    assert y.shape[0] == 0 and layer.backward(y).shape == x.shape
