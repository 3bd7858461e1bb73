"""Conv2D: the sum itself, its adjoints, its symmetries, its paddings, on every backend."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import correlate

from scratchnet.backend import asarray
from scratchnet.layers import Conv2D
from scratchnet.layers.geometry import pad_2d
from tests.support import assert_within, conv1d, conv2d, on_backend, rounding, run, seeds


def sizes_of_sums(layer, x, dy):
    """For each of y, dx, weight, bias: Σ |product| of each element's sum, and an upper bound of its number of terms."""
    absolute = Conv2D(
        layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, dtype="float64"
    )
    absolute.params["weight"] = np.abs(layer.params["weight"]).astype("float64")
    bias = layer.params.get("bias", np.zeros(layer.out_channels))
    absolute.params["bias"] = np.abs(bias).astype("float64")
    y, dx, grads = run(on_backend(absolute), np.abs(x).astype("float64"), np.abs(dy).astype("float64"))
    taps = int(np.prod(layer.kernel_size))
    positions = dy.shape[0] * dy.shape[2] * dy.shape[3]
    terms = {
        "y": layer.in_channels * taps + 1,
        "dx": layer.out_channels * taps,
        "weight": positions,
        "bias": positions,
    }
    return {"y": y, "dx": dx, **grads}, terms


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(case=conv2d())
def test_every_backend_gives_the_definition(backend, dtype, case):
    """Against scipy's 2D correlation in float64 at stride 1, of which every stride-th value is kept; the gradients
    against loops over the kernel's taps. The bound is that of any order of summation in `dtype`."""
    layer, x = case.make(dtype), case.x.astype(dtype)
    weight = layer.params["weight"].astype("float64")
    bias = layer.params.get("bias", np.zeros(layer.out_channels)).astype("float64")
    padding = pad_2d(layer.padding, x.shape[2:], layer.kernel_size, layer.stride)
    padded = np.pad(x.astype("float64"), ((0, 0), (0, 0), *padding))
    (kh, kw), (sh, sw) = layer.kernel_size, layer.stride
    full = np.array(
        [[sum(correlate(image[c], w[c], "valid", "direct") for c in range(len(w))) for w in weight] for image in padded]
    )
    expected = {"y": full[:, :, ::sh, ::sw] + bias[:, None, None]}
    rows, columns = expected["y"].shape[2:]
    dy = case.rng.standard_normal(expected["y"].shape).astype(dtype)
    dweight, dpadded = np.zeros(weight.shape), np.zeros(padded.shape)
    for a, b in np.ndindex(kh, kw):
        seen = np.s_[:, :, a : a + (rows - 1) * sh + 1 : sh, b : b + (columns - 1) * sw + 1 : sw]
        dweight[:, :, a, b] = np.tensordot(dy.astype("float64"), padded[seen], ([0, 2, 3], [0, 2, 3]))
        dpadded[seen] += np.moveaxis(np.tensordot(dy.astype("float64"), weight[:, :, a, b], (1, 0)), -1, 1)
    (top, _), (left, _) = padding
    expected["dx"] = dpadded[:, :, top : top + x.shape[2], left : left + x.shape[3]]
    expected |= {"weight": dweight, "bias": dy.astype("float64").sum((0, 2, 3))}
    magnitude, terms = sizes_of_sums(layer, x, dy)
    y, dx, grads = run(on_backend(case.make(dtype)), x, dy)
    for key, value in {"y": y, "dx": dx, **grads}.items():
        assert_within(value, expected[key], 2 * rounding(dtype, terms[key] + 1) * magnitude[key])


@given(case=conv2d(bias=st.just(False)))
def test_backward_is_the_adjoint(backend, case):
    """⟨conv(x), y⟩ = ⟨x, convᵀ(y)⟩ = ⟨weight, dweight⟩, for any y."""
    layer = on_backend(case.make())
    y, _, _ = run(layer, case.x)
    dy = case.rng.standard_normal(y.shape)
    y, dx, grads = run(layer, case.x, dy)
    magnitude, terms = sizes_of_sums(case.make(), case.x, dy)
    bound = 2 * rounding("float64", sum(terms.values()) + y.size + dx.size) * float((np.abs(dy) * magnitude["y"]).sum())
    assert_within((y * dy).sum(), (case.x * dx).sum(), bound)
    assert_within((y * dy).sum(), (case.make().params["weight"] * grads["weight"]).sum(), bound)


@given(case=conv2d(), factor=st.floats(-3, 3))
def test_linear(backend, case, factor):
    layer = on_backend(case.make())
    z = case.rng.standard_normal(case.x.shape)
    zero = run(layer, 0 * z)[0]
    left = run(layer, factor * case.x + z)[0] - zero
    right = factor * (run(layer, case.x)[0] - zero) + run(layer, z)[0] - zero
    # 48 products under 25, times at most 3 and added: under 200 each; 10 roundings around them.
    assert_within(left, right, rounding("float64", 48 + 10) * 48 * 200)


@given(case=conv2d(padding=st.just("valid")), shift=st.tuples(st.integers(0, 2), st.integers(0, 2)))
def test_shifting_by_strides_shifts_the_output(backend, case, shift):
    layer = on_backend(case.make())
    (down, right), (sh, sw) = shift, case.make().stride
    y = run(layer, case.x)[0]
    larger = case.rng.standard_normal((*case.x.shape[:2], case.x.shape[2] + down * sh, case.x.shape[3] + right * sw))
    larger[:, :, down * sh :, right * sw :] = case.x
    assert_within(run(layer, larger)[0][:, :, down:, right:], y, rounding("float64", 49) * 48 * 50)


@given(case=conv1d(padding=st.integers(0, 3)))
def test_height_one_is_conv1d(backend, case):
    """A time series is an image of height 1."""
    line = case.make()
    flat = Conv2D(
        line.in_channels, line.out_channels, (1, line.kernel_size), (1, line.stride), (0, line.padding), dtype="float64"
    )
    flat.params = {"weight": line.params["weight"][:, :, None], **{k: v for k, v in line.params.items() if k == "bias"}}
    y, dx, grads = run(on_backend(line), case.x)
    y2, dx2, grads2 = run(on_backend(flat), case.x[:, :, None])
    bound = rounding("float64", 60) * 60 * 50
    assert_within(y2[:, :, 0], y, bound)
    assert_within(dx2[:, :, 0], dx, bound)
    assert_within(grads2["weight"][:, :, 0], grads["weight"], bound)


@given(size=st.tuples(st.integers(1, 20), st.integers(1, 20)), stride=st.integers(1, 5))
def test_same_has_ceil_positions(size, stride):
    y = Conv2D(1, 1, (3, 2), stride, "same").forward(np.ones((1, 1, *size), "float32"))
    assert y.shape == (1, 1, -(-size[0] // stride), -(-size[1] // stride))


@given(seed=seeds, size=st.tuples(st.integers(3, 9), st.integers(2, 9)), stride=st.tuples(*[st.integers(1, 4)] * 2))
def test_same_padding_is_that_many_zeros(backend, seed, size, stride):
    rng = np.random.default_rng(seed)
    x, weight = rng.standard_normal((2, 3, *size)), rng.standard_normal((4, 3, 3, 2))
    found = []
    for padding in ("same", pad_2d("same", size, (3, 2), stride)):
        layer = Conv2D(3, 4, (3, 2), stride, padding, dtype="float64")
        layer.params["weight"] = weight
        found.append(run(on_backend(layer), x))
    (y, dx, grads), (y2, dx2, grads2) = found
    assert np.array_equal(y, y2) and np.array_equal(dx, dx2) and np.array_equal(grads["weight"], grads2["weight"])


def test_a_pair_pads_height_then_width():
    y = Conv2D(1, 1, 1, padding=(1, 3)).forward(np.ones((1, 1, 5, 5), "float32"))
    assert y.shape == (1, 1, 7, 11)


def test_no_input_gradient_where_none_is_needed(backend):
    layer = on_backend(Conv2D(1, 2, 3))
    layer.need_dx = False
    y = layer.forward(asarray(np.ones((2, 1, 5, 4), "float32")))
    assert layer.backward(y) is None and set(layer.grads) == {"weight", "bias"}


@pytest.mark.parametrize(
    "arguments", [(0, 1, 3), (1, 1, (3, 0)), (1, 1, 3, (1, 0)), (1, 1, 3, 1, "full"), (1, 1, 3, 1, (1, -1))]
)
def test_wrong_options_are_refused(arguments):
    with pytest.raises(ValueError, match="must be"):
        Conv2D(*arguments)


@pytest.mark.parametrize("shape", [(1, 2, 8), (1, 3, 8, 8), (1, 2, 2, 8), (1, 2, 8, 2)])
def test_wrong_inputs_are_refused(shape):
    with pytest.raises(ValueError, match=r"Conv2D\(2, 1, .* takes"):
        Conv2D(2, 1, 3).forward(np.zeros(shape, "float32"))


def test_a_padding_that_changes_later_is_not_the_layers():
    """It is kept in Python's own numbers, a pair as what stands on each side."""
    padding = [np.int64(1), np.int64(2)]
    layer = Conv2D(1, 1, 1, padding=padding)
    padding[0] = 5
    assert layer.padding == ((1, 1), (2, 2)) and "padding=((1, 1), (2, 2))" in repr(layer)
    assert Conv2D(1, 1, 1, padding=(1, (2, 3))).padding == ((1, 1), (2, 3))
    assert Conv2D(1, 1, 1, padding="same").padding == "same" and Conv2D(1, 1, 1, padding=np.int64(2)).padding == 2
