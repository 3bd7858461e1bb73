"""The CPU's batch normalisation and global average pooling: the definition's numbers, on any number of threads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchnet.kernels import cpu, reference
from scratchnet.kernels.cpu import batchnorm, parallel
from tests.support import UNIT, assert_within

REALS = pytest.mark.parametrize("dtype", ["float32", "float64"])
shapes = st.tuples(st.integers(1, 5), st.integers(1, 11), st.lists(st.integers(1, 6), max_size=2)).map(
    lambda drawn: (drawn[0], drawn[1], *drawn[2])
)


def draw(shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@REALS
@given(shape=shapes, from_batch=st.booleans())
def test_it_is_the_definition(dtype, shape, from_batch):
    x, dy, unit = draw(shape, dtype) + 1, draw(shape, dtype, 1), UNIT[np.dtype(dtype)]
    weight, bias = draw(shape[1], dtype, 2), draw(shape[1], dtype, 3)
    mean, var = cpu.batchnorm_statistics(x)
    # Float64 sums of at most 180 terms, rounded once more to `dtype`; |x| < 8.
    sums = 180 * 2.0**-53 + unit
    for found, exact in zip((mean, var), reference.batchnorm_statistics(x)):
        assert_within(found, exact, 64 * 2 * sums)
    var += 0.5
    y = reference.batchnorm_forward(x, weight, bias, mean, var, 1e-5)
    size = np.abs(reference.batchnorm_forward(np.abs(x), abs(weight), abs(bias), -abs(mean), var, 1e-5))
    # Each value: a subtraction, a root, a quotient, a product and a sum, on either side.
    assert_within(cpu.batchnorm_forward(x, weight, bias, mean, var, 1e-5), y, 12 * unit * size)
    arguments = weight, mean, var, 1e-5, from_batch, True, True
    found, exact = cpu.batchnorm_backward(dy, x, *arguments), reference.batchnorm_backward(dy, x, *arguments)
    total = np.abs(dy).sum() * 16  # |x̂| < 8 / √0.5 < 16
    for actual, expected in zip(found, exact):
        assert_within(actual, expected, 16 * (unit + sums) * (total + 1) * 3)
    assert cpu.batchnorm_backward(dy, x, *arguments[:-2], False, False) == (None, None, None)


@st.composite
def norm_blocks(draw):
    """(x shape, activation, pool, whether the statistics are the batch's); the count of values is a power of 2."""
    n, height, width = (2 ** draw(st.integers(0, k)) for k in (2, 2, 3))
    pool = None
    if draw(st.booleans()):
        kernel = draw(st.tuples(st.integers(1, height), st.integers(1, width)))
        pool = kernel, draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    shape = n, draw(st.integers(1, 35)), height, width
    return shape, draw(st.sampled_from(["relu", "none"])), pool, draw(st.booleans())


def compare_block(kernels, dtype, block):
    """Whole numbers, a deviation of 2 (var + ε = 4), a count that is a power of 2: nothing is rounded."""
    shape, activation, pool, from_batch = block
    rng = np.random.default_rng(0)
    x, weight, bias, mean = (rng.integers(-3, 4, size).astype(dtype) for size in (shape, *[shape[1]] * 3))
    var, eps = np.full(shape[1], 3, dtype), 1.0
    given = x, weight, bias, mean, var, eps, activation, pool
    (y, saved), (right, right_saved) = kernels.norm_block_forward(*given), reference.norm_block_forward(*given)
    assert y.dtype == np.dtype(dtype) and np.array_equal(y, right)
    dy = rng.integers(-3, 4, y.shape).astype(dtype)
    for need in ((True, True), (True, False), (False, True)):
        given = x, weight, mean, var, eps, from_batch, *need
        found = kernels.norm_block_backward(dy, saved, *given)
        for ours, theirs in zip(found, reference.norm_block_backward(dy, right_saved, *given)):
            assert (ours is None) == (theirs is None) and (ours is None or np.array_equal(ours, theirs))


@pytest.mark.parametrize("samples", [1, 2, 100], ids="pieces of {} samples".format)
@REALS
@given(block=norm_blocks())
def test_blocks_are_the_definition(dtype, samples, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batchnorm, "PIECE", samples * int(np.prod(block[0][1:])))
        compare_block(cpu, dtype, block)


@REALS
@given(shape=st.tuples(*[st.integers(1, 9)] * 4))
def test_global_average_pool(dtype, shape):
    x, dy = draw(shape, dtype), draw(shape[:2], dtype, 1)
    back = cpu.global_avgpool2d_backward(dy, shape[2:])
    assert np.array_equal(back, reference.global_avgpool2d_backward(dy, shape[2:]))
    y = reference.global_avgpool2d_forward(x)
    # Two float64 sums of at most 81 terms, each rounded to `dtype`.
    assert_within(cpu.global_avgpool2d_forward(x), y, 2 * UNIT[np.dtype(dtype)] * np.abs(y) + 81 * 2.0**-53 * 8)


def test_any_number_of_threads_gives_the_same_bits(monkeypatch):
    monkeypatch.setattr(batchnorm, "PIECE", 1)  # a sample each
    x, dy = draw((4, 13, 9, 7), "float32"), draw((4, 13, 9, 7), "float32", 1)
    weight, bias = draw(13, "float32", 2), draw(13, "float32", 3)

    def everything():
        mean, var = cpu.batchnorm_statistics(x)
        y = cpu.batchnorm_forward(x, weight, bias, mean, var, 1e-5)
        back = cpu.batchnorm_backward(dy, x, weight, mean, var, 1e-5, True, True, True)
        return [np.array(a) for a in (mean, var, y, *back, cpu.global_avgpool2d_forward(x))]

    before = parallel.threads()
    try:
        found = [(parallel.threads(n), everything())[1] for n in (1, 2, 3, 5)]
    finally:
        parallel.threads(before)
    assert all(np.array_equal(a, b) for other in found[1:] for a, b in zip(found[0], other))


def test_a_far_first_value_costs_few_digits():
    """The variance is taken about the channel's first value, which is one of those that it is made of."""
    x = np.random.default_rng(0).standard_normal((50, 2, 40)).astype("float32")
    x[0, :, 0] = 1e6
    exact = x.astype("float64").var(axis=(0, 2))
    assert_within(cpu.batchnorm_statistics(x)[1], exact, 2 * 2.0**-24 * exact)


def test_a_large_mean_costs_no_digits():
    """The mean is taken off before squares are: 1000 ± 1 in float32 has variance 1, to float32's own steps of 6e-5."""
    x = (1000 + np.random.default_rng(0).choice([-1.0, 1.0], (50, 2, 40))).astype("float32")
    exact = x.astype("float64").var(axis=(0, 2))
    assert_within(cpu.batchnorm_statistics(x)[1], exact, 2 * 2.0**-24 * exact)
