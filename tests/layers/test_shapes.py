"""Flatten, Image, Standardize, ReflectPad1D: layers that rearrange or rescale."""

import numpy as np
import pytest
from hypothesis import given

from scratchnet.layers import Flatten, Image, ReflectPad1D, Standardize
from tests.support import assert_within, elementwise, reflect, run


def test_flatten_is_channels_first(backend):
    x = np.arange(24.0).reshape(2, 3, 2, 2)
    y, dx, _ = run(Flatten(), x, np.arange(24.0).reshape(2, 12))
    assert np.array_equal(y, np.arange(24).reshape(2, 12)) and np.array_equal(dx, x)


def test_image_adds_a_channel(backend):
    x = np.arange(24.0).reshape(2, 3, 4)
    y, dx, _ = run(Image(), x, x[:, None])
    assert np.array_equal(y, x[:, None]) and np.array_equal(dx, x)
    with pytest.raises(ValueError, match=r"takes x of shape \(N, H, W\)"):
        Image().forward(x[0])


@given(case=elementwise(lambda: Standardize(0.3, 2.5)))
def test_standardize(backend, case):
    dy = case.rng.standard_normal(case.x.shape)
    y, dx, _ = run(Standardize(0.3, 2.5), case.x, dy)
    # three roundings of values under 1: the difference, 1/std, the product
    assert_within(y, (case.x - 0.3) / 2.5, 3 * 2.0**-53)
    assert_within(dx, dy / 2.5, 3 * 2.0**-53 * np.abs(dy))


def test_a_deviation_of_zero_is_refused():
    with pytest.raises(ValueError, match="std must be positive"):
        Standardize(0, 0)


@given(case=reflect())
def test_reflection(backend, case):
    """y[t] = x[|t − left|] at the left end, and the same mirrored at the right; backward is the adjoint."""
    layer, length = case.make(), case.x.shape[2]
    source = [abs(t - layer.left) for t in range(layer.left + length)]
    source += [length - 2 - i for i in range(layer.right)]
    y, _, _ = run(layer, case.x)
    assert np.array_equal(y, case.x[:, :, source])
    dy = case.rng.integers(-9, 9, y.shape).astype("float64")
    expected = np.zeros(case.x.shape)
    for t, s in enumerate(source):
        expected[:, :, s] += dy[:, :, t]
    assert np.array_equal(run(layer, case.x, dy)[1], expected)


def test_a_signal_shorter_than_its_reflection_is_refused():
    with pytest.raises(ValueError, match="takes x of shape"):
        ReflectPad1D(1).forward(np.zeros((4, 4)))
    with pytest.raises(ValueError, match="takes more than 4 samples, not 4"):
        ReflectPad1D(4).forward(np.zeros((1, 1, 4)))
