"""The losses: their values, their gradients, large logits, wrong targets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp

from scratchnet import backend as backends
from scratchnet.gradcheck import gradcheck
from scratchnet.losses import MeanSquaredError, SoftmaxCrossEntropy
from tests.support import AWKWARD, assert_within, awkward, rounding, seeds

EXP = 4  # exp and log of every backend's library are right to this many units in the last place


def host(value):
    return np.asarray(backends.to_numpy(value))


def both(loss, prediction, target):
    """→ the loss and its gradient, on the host"""
    value = loss.forward(backends.asarray(prediction), backends.asarray(target))
    return float(value), host(loss.backward())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(seed=seeds, n=st.integers(1, 6), k=st.integers(1, 12), scale=st.sampled_from([0.1, 1, 10]))
def test_cross_entropy(backend, dtype, seed, n, k, scale):
    rng = np.random.default_rng(seed)
    logits = (scale * rng.standard_normal((n, k))).astype(dtype)
    target = rng.integers(0, k, n)
    value, gradient = both(SoftmaxCrossEntropy(), logits, target)
    exact = logits.astype("float64")
    log_p = exact - logsumexp(exact, axis=1, keepdims=True)
    # log p is a difference of numbers up to max|logit| + log k, exact up to their rounding, a sum of k and exp and log.
    bound = rounding(dtype, k + 2 * EXP + 4) * (2 * np.abs(exact).max() + np.log(k) + 1)
    assert_within(value, -log_p[np.arange(n), target].mean(), bound + rounding(dtype, n) * np.abs(log_p).max())
    expected = np.exp(log_p)
    expected[np.arange(n), target] -= 1
    assert_within(gradient, expected / n, 2 * bound / n + rounding(dtype, 3) / n)


@given(seed=seeds, n=st.integers(1, 6), k=st.integers(2, 12))
def test_cross_entropy_gradient(backend, seed, n, k):
    rng = np.random.default_rng(seed)
    result = gradcheck(SoftmaxCrossEntropy(), rng.standard_normal((n, k)), backends.asarray(rng.integers(0, k, n)))
    assert result.ok, str(result)


@given(seed=seeds, n=st.integers(1, 6), k=st.integers(1, 12))
def test_each_gradient_of_cross_entropy_sums_to_zero(backend, seed, n, k):
    """Adding a constant to all logits changes nothing."""
    rng = np.random.default_rng(seed)
    _, gradient = both(SoftmaxCrossEntropy(), rng.standard_normal((n, k)), rng.integers(0, k, n))
    assert_within(gradient.sum(axis=1), np.zeros(n), rounding("float64", k + 2 * EXP + 4))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_huge_logits_neither_overflow_nor_vanish(backend, dtype):
    logits = np.array([[1e4, 0, -1e4], [-1e4, -1e4, -1e4]], dtype)
    value, gradient = both(SoftmaxCrossEntropy(), logits, np.array([1, 2]))
    expected = (1e4 + np.log(3)) / 2
    assert abs(value - expected) <= 4 * np.finfo(dtype).eps * expected
    assert_within(gradient, [[0.5, -0.5, 0], [1 / 6, 1 / 6, -1 / 3]], 4 * np.finfo(dtype).eps)


def test_probabilities_stay(backend):
    loss = SoftmaxCrossEntropy()
    both(loss, np.zeros((2, 4)), np.array([0, 3]))
    assert_within(host(loss.probabilities), np.full((2, 4), 0.25), 4 * 2.0**-53)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(seed=seeds, shape=st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_mean_squared_error(backend, dtype, seed, shape):
    rng = np.random.default_rng(seed)
    prediction, target = rng.standard_normal((2, *shape)).astype(dtype)
    value, gradient = both(MeanSquaredError(), prediction, target)
    difference = prediction.astype("float64") - target.astype("float64")
    # a difference, its square and a mean of all: all terms are positive
    assert_within(value, (difference**2).mean(), rounding(dtype, difference.size + 5) * (difference**2).mean())
    assert_within(
        gradient, 2 * difference / difference.size, rounding(dtype, 4) * np.abs(difference) * 2 / difference.size
    )


@given(seed=seeds, shape=st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_mean_squared_error_gradient(backend, seed, shape):
    prediction, target = np.random.default_rng(seed).standard_normal((2, *shape))
    result = gradcheck(MeanSquaredError(), prediction, backends.asarray(target))
    assert result.ok, str(result)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("how", AWKWARD)
@given(seed=seeds, n=st.integers(1, 8), k=st.integers(1, 5))
def test_memory_layout_does_not_matter(backend, how, dtype, seed, n, k):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, n, k)).astype(dtype)
    classes = rng.integers(0, k, n)
    for loss, target, other in [(SoftmaxCrossEntropy, classes, classes), (MeanSquaredError, b, awkward(b, how))]:
        value, gradient = both(loss(), a, target)
        value2, gradient2 = both(loss(), awkward(a, how), other)
        # At most 40 terms in another order: logarithms and squares of numbers under 5, gradients of at most 10 / n.
        assert_within(value2, value, rounding(dtype, 40) * 100)
        assert_within(gradient2, gradient, rounding(dtype, 40) * 10)


def test_wrong_shapes_and_classes_are_refused():
    logits = np.zeros((2, 3), "float32")
    for target in ([0, 3], [-1, 0]):
        with pytest.raises(ValueError, match="targets must be classes 0 … 2"):
            SoftmaxCrossEntropy().forward(logits, np.array(target))
    with pytest.raises(ValueError, match=r"takes logits \(N, K\) and targets \(N,\)"):
        SoftmaxCrossEntropy().forward(logits, np.array([0]))
    for target in ([0, 1], np.array([0.0, 1.0]), np.array([True, False])):
        with pytest.raises(ValueError, match="targets must be an array of integers"):
            SoftmaxCrossEntropy().forward(logits, target)
    with pytest.raises(ValueError, match="different shapes"):
        MeanSquaredError().forward(logits, logits[:1])


def test_square_errors_of_whole_numbers_have_a_gradient(backend):
    loss = MeanSquaredError()
    assert loss.forward(backends.asarray(np.array([1, 2])), backends.asarray(np.array([2, 4]))) == 2.5
    assert backends.to_numpy(loss.backward()).tolist() == [-1, -2]


@pytest.mark.parametrize(
    "dtype, logits", [("uint8", [[200, 100]]), ("int8", [[100, -100]]), ("float16", [[6e4, -6e4]])]
)
def test_logits_of_small_types_do_not_overflow(backend, dtype, logits):
    value, _ = both(SoftmaxCrossEntropy(), np.array(logits, dtype), np.array([1]))
    assert value == pytest.approx(float(np.ptp(np.array(logits, dtype).astype("float64"))), rel=1e-6)


def test_a_loss_of_nothing_is_refused():
    with pytest.raises(ValueError, match="a loss of no samples"):
        SoftmaxCrossEntropy().forward(np.zeros((0, 3), "float32"), np.zeros(0, "int64"))
    with pytest.raises(ValueError, match="a loss of no elements"):
        MeanSquaredError().forward(np.zeros((3, 0), "float32"), np.zeros((3, 0), "float32"))
