"""Batch normalisation and global average pooling of the GPU, run on the CPU, against the definition."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scratchnet.kernels import cuda, reference
from tests.kernels.cpu.test_batchnorm import compare_block, norm_blocks
from tests.support import UNIT, assert_within

REALS = pytest.mark.parametrize("dtype", ["float32", "float64"])
shapes = st.tuples(st.integers(1, 4), st.integers(1, 70), st.lists(st.integers(1, 6), max_size=2)).map(
    lambda drawn: (max(drawn[0], 2 if not drawn[2] else 1), drawn[1], *drawn[2])
)


def draw(shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@REALS
@given(shape=shapes, from_batch=st.booleans())
@example(shape=(2, 33, 23, 25), from_batch=True)  # of 64 parts each takes more rows than it reads side by side
@example(shape=(2, 64, 3), from_batch=True)  # all channels of two blocks
def test_batchnorm(host, dtype, shape, from_batch):
    x, dy, unit = draw(shape, dtype) + 1, draw(shape, dtype, 1), UNIT[np.dtype(dtype)]
    weight, bias = draw(shape[1], dtype, 2), draw(shape[1], dtype, 3)
    mean, var = cuda.batchnorm_statistics(x)
    # Float64 sums of a channel's values, rounded once more to `dtype`; |x| < 8.
    sums = x.size // shape[1] * 2.0**-53 + unit
    for found, exact in zip((mean, var), reference.batchnorm_statistics(x)):
        assert_within(found, exact, 64 * 2 * sums)
    var += 0.5
    # Each value: a subtraction, a root, a quotient, a product and a sum, on either side.
    y = reference.batchnorm_forward(x, weight, bias, mean, var, 1e-5)
    size = np.abs(reference.batchnorm_forward(np.abs(x), abs(weight), abs(bias), -abs(mean), var, 1e-5))
    assert_within(cuda.batchnorm_forward(x, weight, bias, mean, var, 1e-5), y, 12 * unit * size)
    arguments = weight, mean, var, 1e-5, from_batch, True, True
    found, exact = cuda.batchnorm_backward(dy, x, *arguments), reference.batchnorm_backward(dy, x, *arguments)
    # Each is a sum and a few operations on it: within some units of what all terms' absolute values come to.
    axes, per_channel = (0, *range(2, x.ndim)), (-1, *[1] * (x.ndim - 2))
    x_hat = np.abs(reference.batchnorm_forward(x, np.ones_like(mean), np.zeros_like(mean), mean, var, 1e-5))
    dbias, dweight = np.abs(dy).sum(axes), (np.abs(dy) * x_hat).sum(axes)
    through = [(total / (x.size // shape[1])).reshape(per_channel) for total in (dbias, dweight)]
    dx = np.abs(dy) + from_batch * (through[0] + x_hat * through[1])
    dx *= (np.abs(weight) / np.sqrt(var)).reshape(per_channel)
    for actual, expected, size in zip(found, exact, (dx, dweight, dbias)):
        assert_within(actual, expected, 12 * (unit + sums) * size)
    assert cuda.batchnorm_backward(dy, x, *arguments[:-2], False, False) == (None, None, None)


def test_variance_far_from_zero(host):
    """Summed as (x − mean)², not as the difference of two large numbers, which would be 10¹² · 2⁻⁵³ off."""
    x = draw((4, 3, 50), "float64")
    (_, var), (_, exact) = cuda.batchnorm_statistics(x + 1e6), reference.batchnorm_statistics(x)
    assert_within(var, exact, 1e-8)


@REALS
@given(block=norm_blocks())
def test_blocks(host, dtype, block):
    compare_block(cuda, dtype, block)


@REALS
def test_the_order_of_threads_changes_no_bit(host, dtype):
    x, dy = draw((3, 40, 11, 13), dtype), draw((3, 40, 11, 13), dtype, 1)

    def both():
        mean, var = cuda.batchnorm_statistics(x)
        return mean, var, *cuda.batchnorm_backward(dy, x, mean + 1, mean, var, 1e-5, True, True, True)

    before = both()
    host.order = 7
    try:
        after = both()
    finally:
        host.order = 0
    assert all(np.array_equal(a, b) for a, b in zip(before, after))


@REALS
@given(shape=st.tuples(*[st.integers(1, 9)] * 4))
def test_global_average_pool(host, dtype, shape):
    x, dy = draw(shape, dtype), draw(shape[:2], dtype, 1)
    y = reference.global_avgpool2d_forward(x)
    # Two float64 sums of at most 81 terms, each rounded to `dtype`.
    assert_within(cuda.global_avgpool2d_forward(x), y, 2 * UNIT[np.dtype(dtype)] * np.abs(y) + 81 * 2.0**-53 * 8)
    found = cuda.global_avgpool2d_backward(dy, shape[2:])
    assert np.array_equal(found, reference.global_avgpool2d_backward(dy, shape[2:]))


def test_any_memory_order(host):
    x = draw((3, 5, 4, 6), "float32")
    for turned in (x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2), x[:, ::-1], x[..., ::2]):
        plain = np.ascontiguousarray(turned)
        for found, expected in zip(cuda.batchnorm_statistics(turned), cuda.batchnorm_statistics(plain)):
            assert np.array_equal(found, expected)
        assert np.array_equal(cuda.global_avgpool2d_forward(turned), cuda.global_avgpool2d_forward(plain))


def test_the_average_of_no_sample(host):
    y = cuda.global_avgpool2d_forward(np.zeros((0, 3, 4, 5), "float32"))
    assert y.shape == (0, 3) and cuda.global_avgpool2d_backward(y, (4, 5)).shape == (0, 3, 4, 5)
