"""MaxPool1D: the greatest of each window, the gradient to the winner, on every backend."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchnet import backend as backends
from scratchnet.layers import MaxPool1D
from scratchnet.layers.geometry import pad_1d
from tests.support import maxpool, on_backend, ramp, run, seeds


def windows(length, kernel, stride, padding, ceil_mode):
    """The positions of x in each window: counted, not computed. With ceil_mode a window that starts inside x (or the
    left padding) may hang over the end; windows wholly beyond it do not count."""
    left, right = padding
    starts, start = [], -left
    while start + kernel <= length + right or (
        ceil_mode and start < length and _hangs(start, kernel, stride, length, right)
    ):
        starts.append(start)
        start += stride
    return [[t for t in range(start, start + kernel) if 0 <= t < length] for start in starts]


def _hangs(start, kernel, stride, length, right):
    """ceil_mode adds one window where the last whole one leaves a rest: this is it."""
    return start - stride + kernel < length + right


@given(case=maxpool(1))
def test_every_backend_gives_the_definition(backend, case):
    layer = case.make()
    found = windows(case.x.shape[2], layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode)
    expected = np.stack([case.x[:, :, window].max(axis=2) for window in found], axis=2)
    y, _, _ = run(layer, case.x)
    assert np.array_equal(y, expected)
    dy = case.rng.standard_normal(y.shape)
    dx = np.zeros(case.x.shape)
    for t, window in enumerate(found):
        for n, c in np.ndindex(*case.x.shape[:2]):
            dx[n, c, window[int(np.argmax(case.x[n, c, window]))]] += dy[n, c, t]
    # A sum of at most kernel_size values in any order: 5 roundings of numbers under 5·5.
    assert np.allclose(run(layer, case.x, dy)[1], dx, rtol=0, atol=5 * 25 * 2.0**-53)


@given(case=maxpool(1))
def test_the_gradient_sums_to_the_incoming_one(backend, case):
    layer = case.make()
    y, _, _ = run(layer, case.x)
    dy = case.rng.integers(-8, 9, y.shape).astype("float64")  # whole numbers: their sums are exact
    dx = run(layer, case.x, dy)[1]
    assert np.array_equal(dx.sum(axis=2), dy.sum(axis=2))


@given(seed=seeds, kernel=st.integers(1, 5), stride=st.integers(1, 5), length=st.integers(5, 16))
def test_the_first_of_equals_wins(backend, seed, kernel, stride, length):
    """On few distinct values nearly every window holds a tie."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 3, (2, 2, length)).astype("float32")
    layer = MaxPool1D(kernel, stride)
    y, _, _ = run(layer, x)
    dy = rng.integers(1, 9, y.shape).astype("float32")
    dx = np.zeros_like(x)
    for n, c, t in np.ndindex(*y.shape):
        window = list(x[n, c, t * stride : t * stride + kernel])
        dx[n, c, t * stride + window.index(max(window))] += dy[n, c, t]
    assert np.array_equal(run(layer, x, dy)[1], dx)


@given(seed=seeds, length=st.integers(3, 12), stride=st.integers(1, 4))
def test_same_padding(backend, seed, length, stride):
    """⌈length / stride⌉ positions, the padding given in numbers."""
    x = ramp(np.random.default_rng(seed), (2, 2, length))
    y, dx, _ = run(MaxPool1D(3, stride, "same"), x)
    assert y.shape[2] == -(-length // stride)
    y2, dx2, _ = run(MaxPool1D(3, stride, pad_1d("same", length, 3, stride)), x)
    assert np.array_equal(y, y2) and np.array_equal(dx, dx2)


def test_nan_wins(backend):
    """As in PyTorch: a NaN is never pooled away, and the gradient goes to the first one."""
    x = np.array([[[1, np.nan, 3, np.nan, 5, 6]]], "float32")
    y, dx, _ = run(MaxPool1D(3), x)
    assert np.isnan(y[0, 0, 0]) and np.isnan(y[0, 0, 1])
    assert np.array_equal(dx, [[[0, 1, 0, 1, 0, 0]]])


def test_minus_infinity_is_a_value_and_padding_is_not(backend):
    x = np.full((1, 1, 4), -np.inf, "float32")
    y, dx, _ = run(MaxPool1D(3, 2, padding=1), x)
    assert np.array_equal(y, [[[-np.inf, -np.inf]]])
    assert dx.sum() == 2  # both windows gave their gradient to a position inside x
    y, _, _ = run(MaxPool1D(3, 2, padding=1), np.full((1, 1, 4), -5, "float32"))
    assert np.array_equal(y, [[[-5, -5]]])


@pytest.mark.parametrize("length, positions", [(2084, 692), (170, 41)])
def test_heurinets_pools(length, positions):
    kernel, stride = (9, 3) if length == 2084 else (9, 4)
    assert MaxPool1D(kernel, stride).forward(np.zeros((1, 1, length), "float32")).shape[2] == positions


def test_stride_defaults_to_the_kernel():
    assert MaxPool1D(4).stride == 4


def test_wrong_options_and_inputs_are_refused():
    for arguments in [(0,), (3, 0), (3, 1, -1), (3, 1, "full")]:
        with pytest.raises(ValueError, match="must be"):
            MaxPool1D(*arguments)
    with pytest.raises(ValueError, match="at most half its kernel size"):
        MaxPool1D(3, padding=2).forward(np.zeros((1, 1, 8), "float32"))
    with pytest.raises(ValueError, match=r"MaxPool1D\(9, stride=3\) takes at least 9 positions, not 8"):
        MaxPool1D(9, 3).forward(np.zeros((1, 1, 8), "float32"))
    with pytest.raises(ValueError, match="takes x of shape"):
        MaxPool1D(2).forward(np.zeros((1, 1, 8, 8), "float32"))


def test_the_pool_moves_nothing_to_another_backend(backend):
    x = backends.asarray(np.zeros((1, 1, 8), "float32"))
    assert type(on_backend(MaxPool1D(2)).forward(x)) is type(x)
