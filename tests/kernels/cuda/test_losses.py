"""Losses, run on the CPU, against the definition."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scratchnet.kernels import cuda, reference
from tests.kernels.cuda.drawing import REALS, UNIT, draw
from tests.support import assert_within


@REALS
@given(st.integers(1, 20), st.integers(1, 70))
@example(600, 3)  # more rows than the block that adds them up has threads
def test_softmax_cross_entropy(host, dtype, n, classes):
    logits, target = 5 * draw((n, classes), dtype), np.random.default_rng(1).integers(0, classes, n)
    loss, p = cuda.softmax_cross_entropy_forward(logits, target)
    exact_loss, exact_p = reference.softmax_cross_entropy_forward(logits.astype(np.float64), target)
    # exp and log within 2 units, arguments of up to 40 within half a unit, a sum of `classes` terms; then exp again.
    error = (2 * 40 + classes + 8) * UNIT[dtype]
    assert loss.shape == () and loss.dtype == dtype
    assert_within(p, exact_p, error * exact_p + np.finfo(dtype).tiny)
    assert_within(loss, exact_loss, error * (1 + abs(exact_loss)))
    # One subtraction and one division.
    expected = reference.softmax_cross_entropy_backward(p, target)
    assert_within(cuda.softmax_cross_entropy_backward(p, target), expected, 2 * UNIT[dtype] * np.abs(expected))


@pytest.mark.parametrize("place", [0, 3, 33, 69])
def test_nan_among_the_logits(host, place):
    """Wherever it stands, and whichever lane finds it: the row's loss and all of its probabilities are NaN."""
    logits = draw((2, 70))
    logits[1, place] = np.nan
    loss, p = cuda.softmax_cross_entropy_forward(logits, np.array([0, 1]))
    assert np.isnan(loss) and np.isnan(p[1]).all() and not np.isnan(p[0]).any()


@REALS
def test_logits_of_any_size(host, dtype):
    """The largest is taken off first: nothing overflows, wherever it stands."""
    logits = np.full((65, 70), -(10.0 ** (4 if dtype == np.float32 else 300)), dtype)
    logits[np.arange(65), np.arange(65)] *= -1
    loss, p = cuda.softmax_cross_entropy_forward(logits, np.arange(65))
    assert loss == 0
    np.testing.assert_array_equal(p, np.eye(65, 70))


def test_the_loss_of_a_sure_answer_is_not_rounded_to_the_size_of_its_logit(host):
    logits = np.array([[1000, 990, 985], [1e4, 1e4 - 14, 1e4 - 15]], np.float32)
    losses = [cuda.softmax_cross_entropy_forward(row[None], np.array([0]))[0] for row in logits]
    exact = [np.log(np.exp(row.astype(np.float64) - row[0]).sum()) for row in logits]
    # 1 + 1e-6 in float32 holds its last part to half a unit of 2^-23, and so does its logarithm
    np.testing.assert_allclose(losses, exact, rtol=0, atol=2.0**-23)


def test_no_such_class(host):
    """A GPU cannot raise: the loss says NaN, and nothing is read out of bounds."""
    for target in (-1, 3):
        assert np.isnan(cuda.softmax_cross_entropy_forward(draw((2, 3)), np.array([0, target]))[0])


@REALS
def test_mean_squared_error(host, dtype):
    for shape in ((1,), (3, 5), (300, 257)):
        prediction, target = draw(shape, dtype), draw(shape, dtype, 1)
        loss = cuda.mean_squared_error_forward(prediction, target)
        exact = float(((prediction.astype(np.float64) - target) ** 2).mean())
        assert_within(loss, exact, (2 * UNIT[dtype] + prediction.size * 2.0**-53) * exact)
        dprediction = cuda.mean_squared_error_backward(prediction, target)
        np.testing.assert_array_equal(dprediction, reference.mean_squared_error_backward(prediction, target))


def test_two_sums_of_a_block(host, tmp_path):
    """The second one waits until the first has been read, in whatever order the threads run."""
    file = tmp_path / "sums.cu"
    file.write_text("""#include "reduce.cuh"
extern "C" __global__ void two_sums(const double* x, double* y) {
    const double first = block_sum(x[threadIdx.x]), second = block_sum(2 * x[threadIdx.x]);
    if (threadIdx.x == 0) y[0] = first, y[1] = second;
}""")
    x = np.arange(256.0)
    try:
        for host.order in range(20):
            y = np.zeros(2)
            host.launch(str(file), "two_sums", 1, 256, (x, y), {})
            assert y.tolist() == [x.sum(), 2 * x.sum()]
    finally:
        host.order = 0
