"""Conv1D: the sum itself, its adjoints, its symmetries, its paddings, on every backend."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import correlate

from scratchnet.backend import asarray
from scratchnet.layers import Conv1D
from scratchnet.layers.geometry import pad_1d
from tests.support import assert_within, conv1d, on_backend, rounding, run, seeds


def sizes_of_sums(layer, x, dy):
    """For each of y, dx, weight, bias: Σ |product| of each element's sum, and an upper bound of its number of terms."""
    absolute = Conv1D(
        layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, dtype="float64"
    )
    absolute.params["weight"] = np.abs(layer.params["weight"]).astype("float64")
    bias = layer.params.get("bias", np.zeros(layer.out_channels))
    absolute.params["bias"] = np.abs(bias).astype("float64")
    y, dx, grads = run(on_backend(absolute), np.abs(x).astype("float64"), np.abs(dy).astype("float64"))
    terms = {
        "y": layer.in_channels * layer.kernel_size + 1,
        "dx": layer.out_channels * layer.kernel_size,
        "weight": dy.shape[0] * dy.shape[2],
        "bias": dy.shape[0] * dy.shape[2],
    }
    return {"y": y, "dx": dx, **grads}, terms


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(case=conv1d())
def test_every_backend_gives_the_definition(backend, dtype, case):
    """Against plain Python loops in float64; the bound is that of any order of summation in `dtype`."""
    layer, x = case.make(dtype), case.x.astype(dtype)
    weight = layer.params["weight"].astype("float64")
    bias = layer.params.get("bias", np.zeros(layer.out_channels)).astype("float64")
    left, right = pad_1d(layer.padding, x.shape[2], layer.kernel_size, layer.stride)
    padded = np.pad(x.astype("float64"), ((0, 0), (0, 0), (left, right)))
    positions = (padded.shape[2] - layer.kernel_size) // layer.stride + 1
    dy = case.rng.standard_normal((len(x), layer.out_channels, positions)).astype(dtype)
    expected = {
        "y": np.zeros(dy.shape) + bias[:, None],
        "dx": np.zeros(padded.shape),
        "weight": np.zeros(weight.shape),
        "bias": np.zeros(len(bias)),
    }
    for n, o, t in np.ndindex(*dy.shape):
        expected["bias"][o] += dy[n, o, t]
        for c in range(layer.in_channels):
            for k in range(layer.kernel_size):
                expected["y"][n, o, t] += padded[n, c, t * layer.stride + k] * weight[o, c, k]
                expected["weight"][o, c, k] += padded[n, c, t * layer.stride + k] * float(dy[n, o, t])
                expected["dx"][n, c, t * layer.stride + k] += weight[o, c, k] * float(dy[n, o, t])
    expected["dx"] = expected["dx"][:, :, left : left + x.shape[2]]
    magnitude, terms = sizes_of_sums(layer, x, dy)
    y, dx, grads = run(on_backend(case.make(dtype)), x, dy)
    for key, value in {"y": y, "dx": dx, **grads}.items():
        # twice: the loops above round too, in float64
        assert_within(value, expected[key], 2 * rounding(dtype, terms[key] + 1) * magnitude[key])


@given(case=conv1d(bias=st.just(False)))
def test_backward_is_the_adjoint(backend, case):
    """⟨conv(x), y⟩ = ⟨x, convᵀ(y)⟩ = ⟨weight, dweight⟩, for any y."""
    layer = on_backend(case.make())
    y, _, _ = run(layer, case.x)
    dy = case.rng.standard_normal(y.shape)
    y, dx, grads = run(layer, case.x, dy)
    magnitude, terms = sizes_of_sums(case.make(), case.x, dy)
    # Three sums of the same products: bounded by their sizes together, over the terms of inner and outer sum.
    bound = 2 * rounding("float64", sum(terms.values()) + y.size + dx.size) * float((np.abs(dy) * magnitude["y"]).sum())
    assert_within((y * dy).sum(), (case.x * dx).sum(), bound)
    assert_within((y * dy).sum(), (case.make().params["weight"] * grads["weight"]).sum(), bound)


@given(case=conv1d(), factor=st.floats(-3, 3))
def test_linear(backend, case, factor):
    """conv(a·x + z) − b = a·(conv(x) − b) + (conv(z) − b), b the bias."""
    layer = on_backend(case.make())
    z = case.rng.standard_normal(case.x.shape)
    zero = run(layer, 0 * z)[0]
    left = run(layer, factor * case.x + z)[0] - zero
    right = factor * (run(layer, case.x)[0] - zero) + run(layer, z)[0] - zero
    # Products under 5·5, times at most 3 and added: under 200 each; 18 taps of 3 channels and 10 roundings around them.
    assert_within(left, right, rounding("float64", 6 * 3 + 10) * 18 * 200)


@given(case=conv1d(padding=st.just("valid")), shift=st.integers(1, 3))
def test_shifting_by_strides_shifts_the_output(backend, case, shift):
    layer = on_backend(case.make())
    stride = case.make().stride
    before = case.rng.standard_normal((*case.x.shape[:2], shift * stride))
    y = run(layer, case.x)[0]
    shifted = run(layer, np.concatenate([before, case.x], axis=2))[0]
    assert_within(shifted[:, :, shift:], y, rounding("float64", 19) * 18 * 50)


@given(seed=seeds, kernel=st.integers(1, 9), length=st.integers(9, 40))
def test_stride_one_is_scipys_correlation(backend, seed, kernel, length):
    rng = np.random.default_rng(seed)
    layer = Conv1D(1, 1, kernel, bias=False, dtype="float64", rng=rng)
    x = rng.standard_normal((1, 1, length))
    expected = correlate(x[0, 0], layer.params["weight"][0, 0], mode="valid", method="direct")
    assert_within(run(on_backend(layer), x)[0][0, 0], expected, 2 * rounding("float64", kernel) * kernel * 50)


@given(length=st.integers(1, 50), kernel=st.integers(1, 9), stride=st.integers(1, 9))
def test_same_has_ceil_positions(length, kernel, stride):
    """TensorFlow's rule: ⌈length / stride⌉ positions, no more zeros than they need, an odd one on the right."""
    left, right = pad_1d("same", length, kernel, stride)
    positions = -(-length // stride)
    assert (length + left + right - kernel) // stride + 1 == positions or kernel < stride
    needed = (positions - 1) * stride + kernel - length
    assert left + right == max(needed, 0) and right - left in (0, 1)
    y = Conv1D(1, 1, kernel, stride, "same").forward(np.ones((1, 1, length), "float32"))
    assert y.shape == (1, 1, positions)


@given(seed=seeds, length=st.integers(2, 12), kernel=st.integers(1, 5), stride=st.integers(1, 4))
def test_same_padding_is_that_many_zeros(backend, seed, length, kernel, stride):
    rng = np.random.default_rng(seed)
    x, weight = rng.standard_normal((2, 3, length)), rng.standard_normal((4, 3, kernel))
    found = []
    for padding in ("same", pad_1d("same", length, kernel, stride)):
        layer = Conv1D(3, 4, kernel, stride, padding, dtype="float64")
        layer.params["weight"] = weight
        found.append(run(on_backend(layer), x))
    (y, dx, grads), (y2, dx2, grads2) = found
    assert np.array_equal(y, y2) and np.array_equal(dx, dx2) and np.array_equal(grads["weight"], grads2["weight"])


def test_mstnets_same_padding_is_256_on_both_sides():
    assert pad_1d("same", 20992, 1024, 512) == (256, 256)


def test_no_input_gradient_where_none_is_needed(backend):
    layer = on_backend(Conv1D(1, 2, 3))
    layer.need_dx = False
    y = layer.forward(asarray(np.ones((2, 1, 8), "float32")))
    assert layer.backward(y) is None and set(layer.grads) == {"weight", "bias"}


@pytest.mark.parametrize(
    "arguments", [(0, 1, 3), (1, 1, 0), (1, 1, 3, 0), (1, 1, 3, 1, "full"), (1, 1, 3, 1, -1), (1, 1, 3, 1, (1, -1))]
)
def test_wrong_options_are_refused(arguments):
    with pytest.raises(ValueError, match="must be"):
        Conv1D(*arguments)


@pytest.mark.parametrize("shape", [(1, 8), (1, 3, 8), (1, 2, 2)])
def test_wrong_inputs_are_refused(shape):
    with pytest.raises(ValueError, match=r"Conv1D\(2, 1, kernel_size=3, stride=1\) takes"):
        Conv1D(2, 1, 3).forward(np.zeros(shape, "float32"))
