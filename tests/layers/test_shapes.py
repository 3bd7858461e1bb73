"""Flatten, Image, Standardize, ReflectPad1D: layers that rearrange or rescale."""

import numpy as np
import pytest
from hypothesis import given

from scratchnet import backend as backends
from scratchnet import layers
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
    for std in (0, 1e-40):  # of which float32 has no inverse
        with pytest.raises(ValueError, match="std must be positive"):
            Standardize(0, std)


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


WHOLE = np.array([[10, 40, 90, -3]])


@pytest.mark.parametrize(
    "layer",
    [
        layers.Standardize(30.0, 10.0), layers.Decibel(), layers.Dropout(0.3, np.random.default_rng(0)), layers.ReLU(),
        layers.Tanh(), layers.Abs(), layers.Modulus(), layers.MaxPool1D(2), layers.MaxPool2D((1, 2)),
        layers.GlobalAveragePool2D(),
    ],
    ids=lambda layer: type(layer).__name__,
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["int64", "int16", "float16"])
def test_whole_numbers_are_fractions_to_be(backend, layer, dtype):
    ndim = {"Modulus": 3, "MaxPool1D": 3, "MaxPool2D": 4, "GlobalAveragePool2D": 4}.get(type(layer).__name__, 2)
    x = WHOLE.reshape(WHOLE.shape + (1,)) if type(layer) is layers.Modulus else WHOLE
    x = x.reshape((1,) * (ndim - x.ndim) + x.shape)
    answers = []
    for values in (x.astype("float32"), x.astype(dtype)):
        if isinstance(layer, layers.Dropout):
            layer.reseed(0, 0)
        answers.append(backends.to_numpy(layer.forward(backends.asarray(values), training=True)))
    assert answers[1].dtype == np.float32
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize("kind", [np.int64, np.uint8])
def test_numpys_whole_numbers_size_layers(kind):
    three = kind(3)
    assert repr(layers.Dense(three, three)) == "Dense(3, 3)"
    assert repr(layers.Conv1D(1, 2, 3, padding=three)).endswith("padding=3)")
    wide = layers.Conv1D(kind(200), kind(200), 3, rng=np.random.default_rng(0)).params["weight"]
    assert 0.07 < np.abs(wide).max() <= (6 / (400 * 3)) ** 0.5
    assert layers.Conv1D(three, three, three, three, padding=three).kernel_size == 3
    assert layers.Conv2D(three, three, (three, three), padding=(three, three)).kernel_size == (3, 3)
    assert layers.MaxPool1D(three).stride == 3 and layers.MaxPool2D(three).stride == (3, 3)


@pytest.mark.parametrize("padding", [1.5, None, "same!", (1, 2, 3), -1, ((1, 1), (2, 2))])
def test_a_padding_that_is_none_is_refused_at_once(padding):
    for make in (lambda: layers.Conv1D(1, 2, 3, padding=padding), lambda: layers.MaxPool1D(3, padding=padding)):
        with pytest.raises(ValueError, match="padding must be"):
            make()


@pytest.mark.parametrize("kernel_size", [None, 1.5, (1, 2, 3), "3", 0])
def test_a_kernel_size_that_is_none_is_refused(kernel_size):
    with pytest.raises(ValueError, match="kernel_size must be a whole number of at least 1"):
        layers.Conv2D(1, 2, kernel_size)


def test_a_layer_prints_all_that_it_was_made_with():
    assert repr(layers.Conv1D(1, 2, 3, bias=False)) == "Conv1D(1, 2, kernel_size=3, stride=1, bias=False)"
    assert repr(layers.Dense(1, 2, bias=False)) == "Dense(1, 2, bias=False)"
    assert repr(layers.MaxPool1D(4, padding=1)) == "MaxPool1D(4, stride=4, padding=1)"
    assert repr(layers.Dropout(0.5, always=True)) == "Dropout(0.5, always=True)"
