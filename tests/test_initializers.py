"""Where weights start: bounds, moments, and that a seed gives the same ones."""

import numpy as np
import pytest

from scratchnet.initializers import normal, piczak2015, uniform, xavier_uniform


@pytest.mark.parametrize("shape", [(80, 60), (30, 20, 15), (8, 4, 12, 10)])
def test_xavier(shape):
    taps = np.prod(shape[2:], dtype=int)
    bound = np.sqrt(6 / (shape[0] * taps + shape[1] * taps))
    w = xavier_uniform(shape, np.random.default_rng(0), "float64")
    assert w.shape == shape and np.abs(w).max() <= bound
    # A uniform distribution: variance a²/3, and the largest of n values within a·10/n of a (odds of e⁻¹⁰ to miss).
    assert np.abs(w).max() > bound * (1 - 10 / w.size)
    deviation = bound**2 / 3 * np.sqrt(0.8 / w.size)  # of the sample variance: μ₄ − σ⁴ = (1/5 − 1/9) a⁴ = 0.8 (a²/3)²
    assert abs(w.var() - bound**2 / 3) < 6 * deviation
    assert abs(w.mean()) < 6 * bound / np.sqrt(3 * w.size)


@pytest.mark.parametrize(
    "make", [xavier_uniform, lambda s, r, d: uniform(s, 0.5, r, d), lambda s, r, d: normal(s, 0.5, r, d)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_seed_gives_the_same_weights(make, dtype):
    first, second, third = (make((5, 4), np.random.default_rng(seed), dtype) for seed in (3, 3, 4))
    assert first.dtype == dtype and np.array_equal(first, second) and not np.array_equal(first, third)


def test_without_a_generator_weights_differ():
    assert not np.array_equal(xavier_uniform((5, 4)), xavier_uniform((5, 4)))


def test_piczaks_start():
    """His code: conv1 U(±0.001), bias 0.1; conv2 U(±0.1); dense and output N(0, 0.01²), all other biases 0."""
    rng = np.random.default_rng(0)
    weight, bias = piczak2015("conv1", (80, 1, 57, 6), rng)
    assert 0.00099 < np.abs(weight).max() <= 0.001 and np.array_equal(bias, np.full(80, 0.1, "float32"))
    weight, bias = piczak2015("conv2", (80, 80, 1, 3), rng)
    assert 0.099 < np.abs(weight).max() <= np.float32(0.1) and not bias.any()
    for name in ("dense1", "dense2", "output"):
        weight, bias = piczak2015(name, (200, 240), rng)
        assert abs(weight.std() - 0.01) < 6 * 0.01 / np.sqrt(2 * weight.size) and np.abs(weight).max() > 0.03
        assert not bias.any() and bias.dtype == np.float32


@pytest.mark.parametrize("dtype", ["float16", "int32", np.int64, ">f4"])
def test_types_that_no_layer_computes_with_are_refused(dtype):
    with pytest.raises(ValueError, match="^dtype must be float32 or float64, not "):
        xavier_uniform((3, 4), dtype=dtype)


@pytest.mark.parametrize("dtype", ["float64", float, "f8", "double", np.float64, np.dtype("float64")])
def test_a_type_has_many_names(dtype):
    assert xavier_uniform((3, 4), dtype=dtype).dtype == np.float64
