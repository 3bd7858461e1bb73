"""Dense layers, run on the CPU, against the definition."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scratchnet.kernels import cuda, reference
from tests.kernels.cuda.drawing import REALS, UNIT, draw
from tests.support import assert_within


@REALS
@given(st.integers(1, 20), st.integers(1, 40), st.integers(1, 70), st.booleans())
@example(9, 3, 64, True)  # a row more than a block reads side by side, two blocks of columns
@example(2, 3, 66, True)
def test_dense(host, dtype, n, inputs, outputs, with_bias):
    x, weight, dy = draw((n, inputs), dtype), draw((outputs, inputs), dtype, 1), draw((n, outputs), dtype, 2)
    bias = draw(outputs, dtype, 3) if with_bias else None
    gamma = 2 * (inputs + outputs + n + 2) * UNIT[dtype]
    scale = reference.dense_forward(np.abs(x), np.abs(weight), None if bias is None else np.abs(bias))
    assert_within(cuda.dense_forward(x, weight, bias), reference.dense_forward(x, weight, bias), gamma * scale)
    y = cuda.dense_block_forward(x, weight, bias, 0.4, 5, 6)
    assert_within(y, reference.dense_block_forward(x, weight, bias, 0.4, 5, 6), 2 * gamma * scale)
    scale = reference.dense_block_backward(np.abs(dy), y, np.abs(x), np.abs(weight), 0.4, True, True)
    expected = reference.dense_block_backward(dy, y, x, weight, 0.4, True, True)
    for actual, value, size in zip(cuda.dense_block_backward(dy, y, x, weight, 0.4, True, True), expected, scale):
        assert_within(actual, value, gamma * np.abs(size))


def test_dense_of_no_sample(host):
    x, weight = np.zeros((0, 3), np.float32), draw((4, 3))
    for bias in (None, draw(4)):
        assert cuda.dense_forward(x, weight, bias).shape == (0, 4)
    dweight, dbias = cuda.dense_backward_weight(x, np.zeros((0, 4), np.float32))
    assert dweight.shape == (4, 3) and not dweight.any() and dbias.shape == (4,) and not dbias.any()


BF16 = 2.0**-8  # unit roundoff of bfloat16's 7 bits of mantissa


@pytest.fixture
def bf16(host, monkeypatch):
    """Dense layers multiply bfloat16 numbers."""
    monkeypatch.setattr(host, "bf16", True)
    return host


ROUNDED = {  # the bits of a float32: those of the bfloat16
    0x3F807FFF: 0x3F80, 0x3F808000: 0x3F80, 0x3F808001: 0x3F81,  # below, at and above the middle
    0x3F818000: 0x3F82, 0xBF818000: 0xBF82,  # in the middle, the even one is above
    0x00000000: 0x0000, 0x00018000: 0x0002, 0x0000FFFF: 0x0001,  # zero; denormal
    0x7F7F7FFF: 0x7F7F, 0x7F7FFFFF: 0x7F80, 0xFF800000: 0xFF80,  # the largest; too large; infinite
}  # fmt: skip
NAN = 0x7F800001, 0xFFFFFFFF  # whose upper halves are infinity's and a carry's


@pytest.mark.parametrize("bits", [*ROUNDED, *NAN])
def test_bfloat16_is_the_nearest_one_of_ties_the_even(bf16, bits):
    """A product with 1 is the factor itself, rounded."""
    x, one = np.array([[bits]], np.uint32).view(np.float32), np.ones((1, 1), np.float32)
    for found in (cuda.dense_forward(x, one, None), cuda.dense_forward(one, x, None)):
        assert np.isnan(found[0, 0]) if bits in NAN else found.view(np.uint32)[0, 0] == ROUNDED[bits] << 16


@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 40))
def test_dense_of_bfloat16(bf16, n, inputs, outputs):
    x, weight, dy = draw((n, inputs)), draw((outputs, inputs), seed=1), draw((n, outputs), seed=2)
    gamma = 2 * BF16 + BF16**2 + 2 * (inputs + outputs + n + 2) * UNIT[np.float32]
    before = len(bf16.launches)
    y, dx = cuda.dense_forward(x, weight, None), cuda.dense_backward_input(dy, weight)
    dweight, dbias = cuda.dense_backward_weight(x, dy)
    assert [kernel for _, kernel, _ in bf16.launches[before:]].count("to_bf16") == 6
    assert_within(y, reference.dense_forward(x, weight, None), gamma * (np.abs(x) @ np.abs(weight.T)))
    assert_within(dx, reference.dense_backward_input(dy, weight), gamma * (np.abs(dy) @ np.abs(weight)))
    expected, total = reference.dense_backward_weight(x, dy)
    assert_within(dweight, expected, gamma * (np.abs(dy.T) @ np.abs(x)))
    assert_within(dbias, total, gamma * np.abs(dy).sum(0))


def test_float64_is_never_bfloat16(bf16):
    before, x, weight = len(bf16.launches), draw((2, 3), np.float64), draw((4, 3), np.float64, 1)
    np.testing.assert_allclose(cuda.dense_forward(x, weight, None), x @ weight.T, rtol=1e-14)
    assert len(bf16.launches) == before
