"""MaxPool2D: the greatest of each window, the gradient to the winner, on every backend."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchnet.layers import MaxPool1D, MaxPool2D
from scratchnet.layers.geometry import pad_2d
from tests.layers.test_maxpool1d import windows
from tests.support import maxpool, ramp, run, seeds


@given(case=maxpool(2))
def test_every_backend_gives_the_definition(backend, case):
    layer = case.make()
    rows, columns = (
        windows(case.x.shape[2 + i], layer.kernel_size[i], layer.stride[i], layer.padding[i], layer.ceil_mode)
        for i in range(2)
    )
    y, _, _ = run(layer, case.x)
    assert y.shape == (*case.x.shape[:2], len(rows), len(columns))
    dy = case.rng.standard_normal(y.shape)
    dx = np.zeros(case.x.shape)
    for n, c, i, j in np.ndindex(*y.shape):
        window = case.x[n, c][np.ix_(rows[i], columns[j])]
        a, b = np.unravel_index(window.argmax(), window.shape)
        assert y[n, c, i, j] == window[a, b]
        dx[n, c, rows[i][a], columns[j][b]] += dy[n, c, i, j]
    # At most 25 values under 5 meet in one place: 25 roundings of sums under 125.
    assert np.allclose(run(layer, case.x, dy)[1], dx, rtol=0, atol=25 * 125 * 2.0**-53)


@given(case=maxpool(2))
def test_the_gradient_sums_to_the_incoming_one(backend, case):
    layer = case.make()
    y, _, _ = run(layer, case.x)
    dy = case.rng.integers(-8, 9, y.shape).astype("float64")
    assert np.array_equal(run(layer, case.x, dy)[1].sum(axis=(2, 3)), dy.sum(axis=(2, 3)))


@given(
    seed=seeds,
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
def test_the_first_of_equals_wins(backend, seed, kernel, stride):
    """In reading order: the upper one, in a row the left one."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 3, (2, 2, 7, 6)).astype("float32")
    layer = MaxPool2D(kernel, stride)
    y, _, _ = run(layer, x)
    dy = rng.integers(1, 9, y.shape).astype("float32")
    dx = np.zeros_like(x)
    for n, c, i, j in np.ndindex(*y.shape):
        top, left = i * stride[0], j * stride[1]
        window = [(a, b) for a in range(top, top + kernel[0]) for b in range(left, left + kernel[1])]
        best = max(x[n, c, a, b] for a, b in window)
        dx[n, c][next((a, b) for a, b in window if x[n, c, a, b] == best)] += dy[n, c, i, j]
    assert np.array_equal(run(layer, x, dy)[1], dx)


@given(seed=seeds, size=st.tuples(st.integers(3, 9), st.integers(2, 9)), stride=st.tuples(*[st.integers(1, 3)] * 2))
def test_same_padding(backend, seed, size, stride):
    """⌈length / stride⌉ positions along each axis, the padding given in numbers."""
    x = ramp(np.random.default_rng(seed), (2, 2, *size))
    y, dx, _ = run(MaxPool2D((3, 2), stride, "same"), x)
    assert y.shape[2:] == (-(-size[0] // stride[0]), -(-size[1] // stride[1]))
    padding = pad_2d("same", size, (3, 2), stride)
    y2, dx2, _ = run(MaxPool2D((3, 2), stride, padding), x)
    assert np.array_equal(y, y2) and np.array_equal(dx, dx2)


def test_nan_wins(backend):
    x = np.arange(16, dtype="float32").reshape(1, 1, 4, 4)
    x[0, 0, 0, 1] = x[0, 0, 1, 0] = np.nan
    y, dx, _ = run(MaxPool2D(2), x)
    assert np.isnan(y[0, 0, 0, 0]) and y[0, 0, 0, 1] == 7
    assert dx[0, 0, 0, 1] == 1 and dx[0, 0, 1, 0] == 0  # the first in reading order


@given(case=maxpool(1))
def test_height_one_is_maxpool1d(backend, case):
    layer = case.make()
    flat = MaxPool2D((1, layer.kernel_size), (1, layer.stride), ((0, 0), layer.padding), layer.ceil_mode)
    y, dx, _ = run(layer, case.x)
    y2, dx2, _ = run(flat, case.x[:, :, None])
    assert np.array_equal(y2[:, :, 0], y) and np.array_equal(dx2[:, :, 0], dx)


@pytest.mark.parametrize("ceil_mode, positions", [(False, 3), (True, 4)])
def test_piczaknets_second_pool(ceil_mode, positions):
    y = MaxPool2D((1, 3), ceil_mode=ceil_mode).forward(np.zeros((1, 1, 1, 10), "float32"))
    assert y.shape == (1, 1, 1, positions)


def test_wrong_options_and_inputs_are_refused():
    for arguments in [(0,), ((3, 0),), (3, 0), (3, 1, -1)]:
        with pytest.raises(ValueError, match="must be"):
            MaxPool2D(*arguments)
    with pytest.raises(ValueError, match="at most half its kernel size"):
        MaxPool2D(3, padding=(0, 2)).forward(np.zeros((1, 1, 8, 8), "float32"))
    with pytest.raises(ValueError, match="takes images of at least"):
        MaxPool2D((4, 3)).forward(np.zeros((1, 1, 3, 8), "float32"))
    with pytest.raises(ValueError, match="takes x of shape"):
        MaxPool2D(2).forward(np.zeros((1, 8, 8), "float32"))


def test_a_single_row_is_no_square():
    assert MaxPool1D(3).kernel_size == 3 and MaxPool2D(3).kernel_size == (3, 3)
