"""Dense layers, run on the CPU, against the definition."""

import numpy as np
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
