"""Clipping: never lengthens, never turns, leaves short ones bit for bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchnet import backend as backends
from scratchnet.clipping import clip_by_layer_norm, clip_by_norm
from tests.support import rounding, seeds

shapes = st.lists(st.integers(1, 7), min_size=1, max_size=4)


def clip(function, grads, max_norm):
    """→ the clipped gradients and the norms before, on the host"""
    moved = {name: backends.asarray(grad.copy()) for name, grad in grads.items()}
    norms = function(moved, max_norm)
    return {name: np.array(backends.to_numpy(grad)) for name, grad in moved.items()}, norms


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(seed=seeds, shape=shapes, size=st.floats(1e-3, 1e3), max_norm=st.floats(1e-2, 1e2))
def test_each_array_gets_its_own_norm(backend, dtype, seed, shape, size, max_norm):
    rng = np.random.default_rng(seed)
    grads = {"a": (size * rng.standard_normal(shape)).astype(dtype), "b": rng.standard_normal(3).astype(dtype)}
    clipped, norms = clip(clip_by_norm, grads, max_norm)
    for name, grad in grads.items():
        norm = np.linalg.norm(grad.astype("float64"))
        # the sum of squares in at most 7⁴ terms, its root, the factor and the product: all in at least this precision
        slack = rounding(dtype, grad.size + 4)
        assert abs(norms[name] - norm) <= slack * norm
        if norm * (1 + slack) <= max_norm:
            assert np.array_equal(clipped[name], grad)  # short ones stay, bit for bit
        after = clipped[name].astype("float64")
        assert np.linalg.norm(after) <= min(norm, max_norm * (1 + slack))  # never lengthened
        # never turned: the same direction, element by element
        assert np.allclose(after, grad * min(1, max_norm / norm), rtol=slack + 2 * np.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(seed=seeds, size=st.floats(1e-3, 1e3), max_norm=st.floats(1e-2, 1e2))
def test_a_layers_arrays_share_one_factor(backend, dtype, seed, size, max_norm):
    rng = np.random.default_rng(seed)
    names = ["x.conv1.weight", "x.conv1.bias", "x.conv10.weight"]
    grads = {name: (size * rng.standard_normal(n)).astype(dtype) for name, n in zip(names, (12, 3, 5), strict=True)}
    clipped, norms = clip(clip_by_layer_norm, grads, max_norm)
    assert list(norms) == ["x.conv1", "x.conv10"]
    for layer, arrays in (("x.conv1", names[:2]), ("x.conv10", names[2:])):
        norm = np.linalg.norm(np.concatenate([grads[name].astype("float64") for name in arrays]))
        slack = rounding(dtype, 15 + 4)
        assert abs(norms[layer] - norm) <= slack * norm
        for name in arrays:
            if norm * (1 + slack) <= max_norm:
                assert np.array_equal(clipped[name], grads[name])
            factor = min(1, max_norm / norm)
            after = np.linalg.norm(clipped[name].astype("float64"))
            assert after <= np.linalg.norm(grads[name].astype("float64"))  # never lengthened
            assert np.allclose(clipped[name], grads[name] * factor, rtol=slack + 2 * np.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("function", [clip_by_norm, clip_by_layer_norm])
def test_the_limit_itself_is_short(backend, function):
    grads = {"a.weight": np.array([3.0, 4.0])}
    clipped, norms = clip(function, grads, 5.0)
    assert np.array_equal(clipped["a.weight"], [3, 4]) and list(norms.values()) == [5.0]


def test_zero_gradients_stay_zero(backend):
    clipped, norms = clip(clip_by_norm, {"a": np.zeros(4, "float32")}, 3.0)
    assert np.array_equal(clipped["a"], np.zeros(4)) and norms == {"a": 0.0}


def test_large_float32_gradients_do_not_overflow(backend):
    clipped, norms = clip(clip_by_norm, {"a": np.full(4, 1e30, "float32")}, 3.0)
    # A float64 norm, then a factor and a product in float32: a few times 6e-8.
    assert np.allclose(clipped["a"], 1.5, rtol=1e-6, atol=0) and np.isclose(norms["a"], 2e30, rtol=1e-6)


def test_strided_arrays_are_clipped_in_place(backend):
    grads = np.arange(1.0, 13.0).reshape(3, 4)
    view = backends.asarray(grads)[:, ::2]
    clip_by_norm({"a": view}, 1.0)
    # Six squares, a sum, a root, a factor and six products in float64: some ten times 1.1e-16.
    assert np.isclose(np.linalg.norm(backends.to_numpy(view)), 1, rtol=1e-14)


@pytest.mark.parametrize("function", [clip_by_norm, clip_by_layer_norm])
@pytest.mark.parametrize("max_norm", [0, -1, float("nan")])
def test_wrong_limits_are_refused(function, max_norm):
    with pytest.raises(ValueError, match="max_norm must be positive"):
        function({"a": np.ones(2)}, max_norm)


@pytest.mark.parametrize("dtype", ["int64", "float16", "complex64", ">f8", "longdouble"])
def test_what_cannot_be_scaled_in_place_is_refused(dtype):
    with pytest.raises(ValueError, match="a is of .*: gradients are clipped in float32 or float64"):
        clip_by_norm({"a": np.array([30, 40]).astype(dtype)}, 5.0)
