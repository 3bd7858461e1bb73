"""What tests of layers and kernels share: shapes drawn by hypothesis, rounding bounds, awkward arrays."""

import threading
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from scratchnet import backend, layers
from scratchnet.kernels.cpu import memory

UNIT = {np.dtype("float32"): 2.0**-24, np.dtype("float64"): 2.0**-53}  # unit roundoff: half a step in the last place


def rounding(dtype, terms):
    """γ = n·u / (1 − n·u): a sum of n products, rounded anywhere and added in any order, is off by at most
    γ · Σ |product| (Higham, Accuracy and Stability of Numerical Algorithms, §3.1)."""
    n = terms * UNIT[np.dtype(dtype)]
    return n / (1 - n)


def assert_within(actual, expected, bound):
    """|actual − expected| ≤ bound in every element; the message names the worst one."""
    actual, expected = np.asarray(backend.to_numpy(actual), np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, f"shape {actual.shape}, not {expected.shape}"
    excess = np.abs(actual - expected) - np.broadcast_to(bound, expected.shape)
    excess = np.where(np.isnan(excess), np.inf, excess)
    if excess.size and excess.max() > 0:
        at = np.unravel_index(excess.argmax(), excess.shape)
        raise AssertionError(
            f"{(excess > 0).sum()} of {excess.size} elements wrong; worst at {[int(i) for i in at]}: "
            f"{actual[at]!r}, expected {expected[at]!r} ± {np.broadcast_to(bound, expected.shape)[at]:.2g}"
        )


def off_zero(rng, shape):
    """Random values with 0.1 ≤ |x| ≤ 1: no kink of ReLU or Abs is near."""
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(0.1, 1.0, shape)


def ramp(rng, shape):
    """Equally spaced values from −1 to 1 in random order: no ties in any max-pool window."""
    return rng.permutation(np.linspace(-1.0, 1.0, int(np.prod(shape)))).reshape(shape)


def awkward(x, how):
    """The same values as x: "strided" (every second of a larger array, backwards along the last axis), "transposed" or
    "readonly" memory."""
    if how == "strided":
        large = np.full((*x.shape[:-1], 2 * x.shape[-1]), np.nan, x.dtype)
        view = large[..., ::-2]
        view[...] = x
    elif how == "transposed":
        view = np.array(x.T, order="C").T
    else:
        view = x.copy()
        view.flags.writeable = False
    return view


AWKWARD = ("strided", "transposed", "readonly")


class Case(NamedTuple):
    """A layer of this dtype for one x: `make(dtype)` builds it, the same weights every time."""

    make: object
    x: np.ndarray
    rng: np.random.Generator


seeds = st.integers(0, 2**32 - 1)
MAYBE = st.booleans()


def padding_1d(kernel):
    """What a Conv1D takes as padding."""
    number = st.integers(0, 3)
    return st.one_of(number, st.tuples(number, number), st.sampled_from(["valid", "same"]))


def _filled(layer, seed):
    """Random parameters, biases too (they start at zero, where a forgotten bias would not show)."""
    rng = np.random.default_rng(seed)
    for name, value in layer.params.items():
        layer.params[name] = rng.standard_normal(value.shape).astype(value.dtype)
    return layer


@st.composite
def conv1d(draw, bias=MAYBE, padding=None):
    n, c, o = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 4))
    k, s = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    length = k + draw(st.integers(0, 12))
    padding = draw(padding_1d(k) if padding is None else padding)
    with_bias, seed = draw(bias), draw(seeds)

    def make(dtype="float64"):
        return _filled(layers.Conv1D(c, o, k, s, padding, bias=with_bias, dtype=dtype), seed)

    rng = np.random.default_rng(seed + 1)
    return Case(make, rng.standard_normal((n, c, length)), rng)


@st.composite
def conv2d(draw, bias=MAYBE, padding=None):
    n, c, o = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.one_of(st.integers(1, 3), st.tuples(st.integers(1, 3), st.integers(1, 3))))
    size = tuple(k + draw(st.integers(0, 6)) for k in kernel)
    number = st.integers(0, 2)
    pair = st.tuples(number, number)
    if padding is None:
        padding = st.one_of(number, pair, st.tuples(pair, pair), st.sampled_from(["valid", "same"]))
    padding = draw(padding)
    with_bias, seed = draw(bias), draw(seeds)

    def make(dtype="float64"):
        return _filled(layers.Conv2D(c, o, kernel, stride, padding, bias=with_bias, dtype=dtype), seed)

    rng = np.random.default_rng(seed + 1)
    return Case(make, rng.standard_normal((n, c, *size)), rng)


@st.composite
def dense(draw, bias=MAYBE):
    n, i, o = draw(st.integers(1, 5)), draw(st.integers(1, 12)), draw(st.integers(1, 12))
    with_bias, seed = draw(bias), draw(seeds)

    def make(dtype="float64"):
        return _filled(layers.Dense(i, o, bias=with_bias, dtype=dtype), seed)

    rng = np.random.default_rng(seed + 1)
    return Case(make, rng.standard_normal((n, i)), rng)


@st.composite
def maxpool(draw, axes):
    n, c = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    kernel = tuple(draw(st.integers(1, 5)) for _ in range(axes))
    stride = tuple(draw(st.integers(1, 6)) for _ in range(axes))
    size = tuple(k + draw(st.integers(0, 8)) for k in kernel)
    sides = tuple((draw(st.integers(0, k // 2)), draw(st.integers(0, k // 2))) for k in kernel)
    ceil_mode, seed = draw(st.booleans()), draw(seeds)
    arguments = (kernel, stride, sides, ceil_mode) if axes == 2 else (kernel[0], stride[0], sides[0], ceil_mode)

    def make(dtype="float64"):
        return (layers.MaxPool1D if axes == 1 else layers.MaxPool2D)(*arguments)

    rng = np.random.default_rng(seed)
    return Case(make, ramp(rng, (n, c, *size)), rng)


@st.composite
def elementwise(draw, build):
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=2, max_size=4)))
    rng = np.random.default_rng(draw(seeds))
    return Case(lambda dtype="float64": build(), off_zero(rng, shape), rng)


@st.composite
def modulus(draw):
    shape = (draw(st.integers(1, 3)), 2 * draw(st.integers(1, 4)), draw(st.integers(1, 6)))
    power, rng = draw(st.sampled_from([1, 2])), np.random.default_rng(draw(seeds))
    return Case(lambda dtype="float64": layers.Modulus(power), off_zero(rng, shape), rng)


@st.composite
def reflect(draw):
    left, right = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 3)), max(left, right) + 1 + draw(st.integers(0, 6)))
    rng = np.random.default_rng(draw(seeds))
    return Case(lambda dtype="float64": layers.ReflectPad1D(left, right), rng.standard_normal(shape), rng)


@st.composite
def decibel(draw):
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(2, 5)))
    top_db, rng = draw(st.sampled_from([None, 4.0])), np.random.default_rng(draw(seeds))
    # A ramp over 1 … 5 in steps of 4/(size − 1): amin, and the floor 4 dB under 5 (1.9905), lie between its rungs.
    amin = 2.003 if top_db is None else 1e-10
    ref = draw(st.sampled_from([1.0, 128.0]))
    x = ref * (3.0 + 2.0 * ramp(rng, shape))
    return Case(lambda dtype="float64": layers.Decibel(10.0, amin, top_db, ref), x, rng)


@st.composite
def image(draw):
    shape = tuple(draw(st.integers(1, 6)) for _ in range(3))
    rng = np.random.default_rng(draw(seeds))
    return Case(lambda dtype="float64": layers.Image(), rng.standard_normal(shape), rng)


@st.composite
def batchnorm(draw, axes):
    """Four values a channel at least: of fewer, hardly anything is left once mean and variance are taken off."""
    count, seed = draw(st.sampled_from(axes)), draw(seeds)
    positions = [draw(st.integers(1, 4)) for _ in range(count)]
    shape = (draw(st.integers(-(-4 // int(np.prod(positions))), 6)), draw(st.integers(1, 6)), *positions)

    def make(dtype="float64"):
        layer = _filled((layers.BatchNorm2D if count == 2 else layers.BatchNorm1D)(shape[1], dtype=dtype), seed)
        rng = np.random.default_rng(seed + 2)
        layer.buffers = {name: rng.uniform(0.5, 2, shape[1]).astype(dtype) for name in layer.buffers}
        return layer

    rng = np.random.default_rng(seed + 1)
    return Case(make, rng.standard_normal(shape), rng)


@st.composite
def global_avgpool(draw):
    shape = tuple(draw(st.integers(1, 6)) for _ in range(4))
    rng = np.random.default_rng(draw(seeds))
    return Case(lambda dtype="float64": layers.GlobalAveragePool2D(), rng.standard_normal(shape), rng)


LAYERS = {
    "Conv1D": conv1d(),
    "Conv2D": conv2d(),
    "MaxPool1D": maxpool(1),
    "MaxPool2D": maxpool(2),
    "Dense": dense(),
    "ReLU": elementwise(layers.ReLU),
    "Tanh": elementwise(layers.Tanh),
    "Abs": elementwise(layers.Abs),
    "Dropout": elementwise(lambda: layers.Dropout(0.4, rng=np.random.default_rng(7))),
    "Flatten": elementwise(layers.Flatten),
    "Standardize": elementwise(lambda: layers.Standardize(0.3, 2.5)),
    "Image": image(),
    "BatchNorm1D": batchnorm([0, 1]),
    "BatchNorm2D": batchnorm([2]),
    "GlobalAveragePool2D": global_avgpool(),
    "Modulus": modulus(),
    "ReflectPad1D": reflect(),
    "Decibel": decibel(),
}


def on_backend(layer):
    """The layer with its parameters moved to the backend in use."""
    layer.params = {name: backend.asarray(value) for name, value in layer.params.items()}
    layer.buffers = {name: backend.asarray(value) for name, value in layer.buffers.items()}
    return layer


def run(layer, x, dy=None):
    """Forward in training mode and backward with dy (ones where None).  → host arrays: y, dx, gradients by name"""
    y = layer.forward(backend.asarray(x), training=True)
    dy = np.ones(y.shape, x.dtype) if dy is None else dy
    dx = layer.backward(backend.asarray(dy))
    grads = {name: np.array(backend.to_numpy(value)) for name, value in layer.grads.items()}
    return np.array(backend.to_numpy(y)), np.array(backend.to_numpy(dx)), grads


def other_shapes(shape):
    """Shapes of a dy that do not fit a y of this shape: another batch size, one or all axes of size 1 (which would
    broadcast), the axes in another order, one axis more, one less."""
    n, *rest = shape
    batches = [(n + 1, *rest), (4 * n, *rest), (1, *rest)]
    ones = [(*shape[:i], 1, *shape[i + 1 :]) for i in range(len(shape))]
    return {*batches, *ones, (1,) * len(shape), (1,), shape[::-1], (*shape, 1), shape[:-1]} - {shape}


class poisoned:  # noqa: N801 - used as a function
    """In here numpy.empty and numpy.empty_like give memory full of NaN (integers: of a value far out of range), bytes
    too, of which the CPU's kernels make the rooms that they use again; those that they have are forgotten."""

    def __enter__(self):
        self.empty, self.empty_like = np.empty, np.empty_like
        memory._rooms.clear()
        memory._own = threading.local()

        def poison(array):
            array.reshape(-1).view(np.uint8)[:] = 0xFF if array.dtype.kind in "fcu" else 0x81
            return array

        np.empty = lambda *a, **k: poison(self.empty(*a, **k))
        np.empty_like = lambda *a, **k: poison(self.empty_like(*a, **k))

    def __exit__(self, *_):
        np.empty, np.empty_like = self.empty, self.empty_like
