"""Max-pools, run on the CPU, against the definition."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scratchnet.kernels import cuda, reference
from scratchnet.kernels.cuda.pooling import cut
from tests.kernels.cuda.drawing import REALS, draw


@REALS
@given(st.data())
def test_maxpool(host, dtype, data):
    kernel = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    size = tuple(k + data.draw(st.integers(0, 7)) for k in kernel)
    padding = tuple((data.draw(st.integers(0, k // 2)), data.draw(st.integers(0, k // 2))) for k in kernel)
    ceil_mode = data.draw(st.booleans())
    x = np.round(draw((2, 3, *size), dtype))  # ties
    if data.draw(st.booleans()):
        x.reshape(-1)[3] = np.nan
    order = data.draw(st.permutations(range(4)))
    x = x.transpose(order).copy().transpose(np.argsort(order))  # any memory order
    y, argmax = cuda.maxpool2d_forward(x, kernel, stride, padding, ceil_mode)
    for actual, expected in zip((y, argmax), reference.maxpool2d_forward(x, kernel, stride, padding, ceil_mode)):
        np.testing.assert_array_equal(actual, expected)
    dy = draw(y.shape, dtype, 1)
    # Both add an element's gradients one window after another, in the windows' order: the same bits.
    for places in (argmax, np.ascontiguousarray(argmax)):
        np.testing.assert_array_equal(
            cuda.maxpool2d_backward(dy, places, size), reference.maxpool2d_backward(dy, argmax, size)
        )


@REALS
def test_cut(host, dtype):
    """ReLU behind a pool."""
    y, argmax = draw((3, 100), dtype), np.arange(300, dtype=np.int32).reshape(3, 100)
    y[1, 7] = np.nan
    expected = np.where(y <= 0, 0, y), np.where(y <= 0, -1, argmax)
    cut(y, argmax)
    np.testing.assert_array_equal(y, expected[0])
    np.testing.assert_array_equal(argmax, expected[1])


def test_maxpool_in_one_dimension(host):
    x = draw((2, 3, 20))
    y, argmax = cuda.maxpool1d_forward(x, 5, 3, (1, 2), True)
    expected = reference.maxpool1d_forward(x, 5, 3, (1, 2), True)
    np.testing.assert_array_equal(y, expected[0])
    np.testing.assert_array_equal(argmax, expected[1])
    np.testing.assert_array_equal(cuda.maxpool1d_backward(y, argmax, 20), reference.maxpool1d_backward(y, argmax, 20))
