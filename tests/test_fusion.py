"""Layers in one pass give what they give one by one: convolution (+ normalisation) + ReLU + max-pool, dense + ReLU +
dropout."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchnet import backend as backends
from scratchnet.fusion import ConvBlock, DenseBlock, NormBlock, Plain, fuse
from scratchnet.layers import (
    BatchNorm1D,
    BatchNorm2D,
    Conv1D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPool1D,
    MaxPool2D,
    ReLU,
    Tanh,
)
from tests.support import assert_within, awkward, on_backend, other_shapes, poisoned, rounding, seeds


@st.composite
def blocks(draw):
    """(make layers, x): a convolution, maybe a ReLU, maybe a pool that fits what the convolution gives."""
    axes = draw(st.sampled_from([1, 2]))
    n, c, o = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 5))
    kernel = tuple(draw(st.integers(1, 4)) for _ in range(axes))
    stride = tuple(draw(st.integers(1, 3)) for _ in range(axes))
    padding = draw(st.sampled_from([0, 1, "same", "valid"]))
    size = tuple(k + draw(st.integers(3, 12)) for k in kernel)
    relu, pool, with_bias, seed = draw(st.booleans()), draw(st.booleans()), draw(st.booleans()), draw(seeds)
    first, second = (Conv1D, MaxPool1D) if axes == 1 else (Conv2D, MaxPool2D)
    one = (lambda pair: pair[0]) if axes == 1 else (lambda pair: pair)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, c, *size))
    probe = first(c, o, one(kernel), one(stride), padding, bias=with_bias, dtype="float64", rng=rng)
    positions = probe.forward(x).shape[2:]
    pool_kernel = tuple(draw(st.integers(1, min(4, p))) for p in positions)
    pool_stride = tuple(draw(st.integers(1, 4)) for _ in positions)
    ceil_mode = draw(st.booleans())
    weights = {name: rng.standard_normal(value.shape) for name, value in probe.params.items()}

    def make(dtype):
        conv = first(c, o, one(kernel), one(stride), padding, bias=with_bias, dtype=dtype)
        conv.params = {name: value.astype(dtype) for name, value in weights.items()}
        layers = [conv]
        if relu:
            layers.append(ReLU())
        if pool:
            layers.append(second(one(pool_kernel), one(pool_stride), ceil_mode=ceil_mode))
        return layers

    return make, x, rng


def run(steps, x, dy=None, need_dx=True):
    """→ y, dx, the convolution's gradients, on the host"""
    y = backends.asarray(x)
    for step in steps:
        y = step.forward(y, training=True)
        step.need_dx = True
    steps[0].need_dx = need_dx
    dy = np.ones(y.shape, x.dtype) if dy is None else dy
    y, dx = np.array(backends.to_numpy(y)), backends.asarray(dy)
    for step in reversed(steps):
        dx = step.backward(dx)
    grads = {name: np.array(backends.to_numpy(g)) for name, g in steps[0].layers[0].grads.items()}
    return y, None if dx is None else np.array(backends.to_numpy(dx)), grads


def steps_of(layers, fused):
    on_backend(layers[0])
    return fuse(layers, fused)


@pytest.mark.parametrize("how", [None, "strided", "transposed", "readonly"])
@given(block=blocks())
def test_one_pass_equals_the_layers(backend, how, block):
    make, x, rng = block
    y, _, _ = run(steps_of(make("float64"), False), x)
    dy = rng.standard_normal(y.shape)
    y, dx, grads = run(steps_of(make("float64"), False), x, dy)
    fused = steps_of(make("float64"), True)
    assert len(fused) == 1 and isinstance(fused[0], ConvBlock)
    if how is not None:
        x, dy = awkward(x, how), awkward(dy, how)
    y2, dx2, grads2 = run(fused, x, dy)
    # Sums of at most 48 taps forward, 4·256 positions backward, each product under 50, in another order.
    assert_within(y2, y, rounding("float64", 50) * 48 * 50)
    assert_within(dx2, dx, rounding("float64", 1200) * 1200 * 50)
    assert set(grads2) == set(grads)
    for name in grads:
        assert_within(grads2[name], grads[name], rounding("float64", 1200) * 1200 * 50)


@given(block=blocks())
def test_float32(backend, block):
    """The winner of a pool may be another where two are equal up to rounding: weights and inputs are small whole
    numbers here, and every sum of them is exact, so that nothing may differ at all."""
    make, x, rng = block
    x = np.round(2 * x).astype("float32")
    layers = make("float32")
    layers[0].params = {name: np.round(2 * value) for name, value in layers[0].params.items()}
    again = make("float32")
    again[0].params = {name: value.copy() for name, value in layers[0].params.items()}
    y, _, _ = run(steps_of(layers, False), x)
    dy = rng.integers(-3, 4, y.shape).astype("float32")
    y, dx, grads = run(steps_of(layers, False), x, dy)
    y2, dx2, grads2 = run(steps_of(again, True), x, dy)
    assert y2.dtype == dx2.dtype == np.float32
    # Ties are certain among whole numbers: the first of equals must win here too.
    assert np.array_equal(y2, y) and np.array_equal(dx2, dx)
    assert all(np.array_equal(grads2[name], grads[name]) for name in grads)


@given(block=blocks(), need_dx=st.booleans(), frozen=st.booleans())
def test_only_what_is_needed_is_computed(backend, block, need_dx, frozen):
    make, x, _ = block
    layers = make("float64")
    _, dx, grads = run(steps_of(make("float64"), True), x)
    layers[0].frozen = frozen
    _, dx2, grads2 = run(steps_of(layers, True), x, need_dx=need_dx)
    assert (dx2 is not None) == need_dx and (dx2 is None or np.array_equal(dx2, dx))
    assert set(grads2) == (set() if frozen else set(grads))
    assert all(np.array_equal(grads2[name], grads[name]) for name in grads2)


@pytest.mark.parametrize("how", ["training", "evaluation", "frozen norm", "frozen conv", "both frozen"])
@given(block=blocks())
def test_a_normalisation_in_between(backend, how, block):
    """In training and outside, where its running statistics are taken into the weights; and whatever is frozen."""
    make, x, rng = block
    conv = make("float64")[0]
    out_channels, kind = len(conv.params["weight"]), BatchNorm1D if isinstance(conv, Conv1D) else BatchNorm2D
    drawn = {name: rng.uniform(0.5, 2, out_channels) for name in ("weight", "bias", "running_mean", "running_var")}
    x, found, dy = np.concatenate([x, x + 1]), [], None  # two samples at least
    for fused, need_dx in ((False, True), (True, True), (True, False)):
        layers = make("float64")
        norm = on_backend(kind(out_channels, dtype="float64"))
        layers.insert(1, norm)
        for arrays in (norm.params, norm.buffers):
            arrays.update((name, backends.asarray(drawn[name].copy())) for name in arrays)
        layers[0].frozen, norm.frozen = how in ("frozen conv", "both frozen"), how in ("frozen norm", "both frozen")
        steps = steps_of(layers, fused)
        assert not fused or (len(steps) == 1 and isinstance(steps[0], NormBlock))
        steps[0].need_dx = need_dx
        y = backends.asarray(x)
        for step in steps:
            y = step.forward(y, training=how != "evaluation")
        arrays = {"y": y}
        dy = rng.standard_normal(y.shape) if dy is None else dy
        back = backends.asarray(dy)
        for step in reversed(steps):
            back = step.backward(back)
        assert (back is None) == (not need_dx)
        arrays |= {"dx": back} if need_dx else {}
        arrays |= {f"conv {name}": a for name, a in layers[0].grads.items()}
        arrays |= {f"norm {name}": a for name, a in (norm.grads | norm.buffers).items()}
        found.append({name: np.array(backends.to_numpy(a)) for name, a in arrays.items()})
    assert set(found[0]) == set(found[1]) == set(found[2]) | {"dx"}
    for one in found[1:]:
        for name, array in one.items():
            # Twice the terms of blocks without a normalisation, each up to 4 times as large: γ / √(σ² + ε) < 2 / √0.5.
            assert_within(array, found[0][name], rounding("float64", 2400) * 2400 * 200)


@pytest.mark.parametrize("norm", [False, True])
@given(block=blocks())
def test_blocks_write_their_outputs_in_full(backend, norm, block):
    """Into memory full of NaN; and a pass over NaN before leaves nothing behind."""
    make, x, rng = block
    x = np.concatenate([x, x + 1])  # two samples at least

    def steps():
        layers = make("float64")
        if norm:
            out_channels = len(layers[0].params["weight"])
            kind = BatchNorm1D if isinstance(layers[0], Conv1D) else BatchNorm2D
            layers.insert(1, on_backend(kind(out_channels, dtype="float64")))
        return steps_of(layers, True)

    y, dx, grads = run(steps(), x)
    with poisoned():
        run(steps(), np.full_like(x, np.nan))
        y2, dx2, grads2 = run(steps(), x)
    assert np.array_equal(y2, y) and np.array_equal(dx2, dx)
    assert all(np.array_equal(grads2[name], grads[name]) for name in grads)


@st.composite
def dense_blocks(draw):
    """(make layers, x): a dense layer, a ReLU, maybe dropout."""
    n, i, o = (draw(st.integers(1, 9)) for _ in range(3))
    drops, with_bias, rng = draw(st.booleans()), draw(st.booleans()), np.random.default_rng(draw(seeds))
    weights = {"weight": np.round(2 * rng.standard_normal((o, i)))}
    if with_bias:
        weights["bias"] = np.round(2 * rng.standard_normal(o)) + 0.5  # a half: no sum is 0, where ReLU has its kink

    def make(dtype):
        dense = Dense(i, o, bias=with_bias, dtype=dtype)
        dense.params = {name: value.astype(dtype) for name, value in weights.items()}
        dropout = Dropout(0.5)
        dropout.reseed(3, 1)
        return [dense, ReLU(), dropout] if drops else [dense, ReLU()]

    return make, np.round(2 * rng.standard_normal((n, i))), rng


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("how", [None, "strided", "transposed", "readonly"])
@given(block=dense_blocks(), need_dx=st.booleans())
def test_a_dense_block_equals_its_layers(backend, how, dtype, block, need_dx):
    """Whole numbers, halves, and dropout's factor 2: nothing is rounded, nothing may differ."""
    make, x, rng = block
    x = x.astype(dtype)
    y, _, _ = run(steps_of(make(dtype), False), x)
    dy = rng.integers(-3, 4, y.shape).astype(dtype)
    y, dx, grads = run(steps_of(make(dtype), False), x, dy)
    fused = steps_of(make(dtype), True)
    assert len(fused) == 1 and isinstance(fused[0], DenseBlock)
    if how is not None:
        x, dy = awkward(x, how), awkward(dy, how)
    for _ in range(2):
        for layer in fused[0].layers[2:]:
            layer.reseed(3, 1)
        with poisoned():
            y2, dx2, grads2 = run(fused, x, dy, need_dx=need_dx)
        assert np.array_equal(y2, y) and set(grads2) == set(grads)
        assert np.array_equal(dx2, dx) if need_dx else dx2 is None
        assert all(np.array_equal(grads2[name], grads[name]) for name in grads)
    fused[0].layers[0].frozen = True
    fused[0].layers[0].grads = {}
    assert run(fused, x, dy)[2] == {}


def test_nan_goes_through_a_dense_block(backend):
    x = np.array([[np.nan, 1], [1, 1]], "float32")
    y, _, _ = run(steps_of([Dense(2, 3), ReLU()], True), x)
    assert np.isnan(y[0]).all() and not np.isnan(y[1]).any()


def test_nan_goes_through(backend):
    layers = [Conv1D(1, 2, 3), ReLU(), MaxPool1D(2)]
    x = np.ones((1, 1, 12), "float32")
    x[0, 0, 5] = np.nan
    y, _, _ = run(steps_of(layers, True), x)
    # The convolution spreads it over positions 3, 4, 5, the pool keeps it in 1 and 2.
    assert np.array_equal(np.isnan(y[0, 0]), [False, True, True, False, False])


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(
    "layers, shape",
    [
        ([Conv1D(1, 4, 3), ReLU()], (2, 2, 9)),
        ([Conv1D(2, 4, 3), ReLU()], (2, 1, 9)),
        ([Conv1D(1, 4, 3)], (2, 1, 2)),
        ([Conv1D(1, 4, 3)], (2, 9)),
        ([Conv1D(1, 4, 3), ReLU(), MaxPool1D(9)], (2, 1, 9)),
        ([Conv2D(1, 4, 3), ReLU()], (2, 2, 9, 9)),
        ([Conv2D(1, 4, 3)], (2, 1, 2, 9)),
        ([Conv2D(1, 4, 3), MaxPool2D((2, 9))], (2, 1, 9, 9)),
        ([Dense(5, 4), ReLU()], (2, 6)),
        ([Dense(5, 4), ReLU()], (2, 1, 5)),
    ],
)
def test_wrong_inputs_are_refused(layers, shape, fused):
    x = np.ones(shape, "float32")
    with pytest.raises(ValueError, match="takes"):
        for step in fuse(layers, fused):
            x = step.forward(x)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "layers, shape",
    [
        ([Conv1D(1, 4, 3)], (2, 1, 9)),
        ([Conv1D(1, 4, 3), ReLU(), MaxPool1D(2)], (2, 1, 9)),
        ([Conv1D(1, 4, 3), MaxPool1D(2, ceil_mode=True)], (2, 1, 9)),
        ([Conv2D(1, 4, 3), BatchNorm2D(4), ReLU()], (2, 1, 9, 7)),
        ([Conv2D(1, 4, 3), BatchNorm2D(4), ReLU(), MaxPool2D(2)], (2, 1, 9, 7)),
        ([Dense(5, 4), ReLU()], (2, 5)),
        ([Dense(5, 4), ReLU(), Dropout(0.5)], (2, 5)),
    ],
)
def test_gradients_of_another_shape_are_refused(backend, layers, shape, training):
    for layer in layers:
        layer.grads = {}
    (step,) = fuse([on_backend(layer) for layer in layers], True)
    y = step.forward(backends.asarray(np.ones(shape, "float32")), training)
    for other in other_shapes(y.shape):
        with pytest.raises(ValueError, match=re.escape(f"{layers[-1]!r} takes dy of shape {y.shape}, not {other}")):
            step.backward(backends.asarray(np.ones(other, "float32")))
    assert all(layer.grads == {} for layer in layers)
    assert step.backward(y).shape == shape


@pytest.mark.parametrize(
    "layers, shape",
    [
        ([Conv1D(1, 20, 3), ReLU(), MaxPool1D(2)], (2, 1, 9)),
        ([Conv1D(1, 20, 3), ReLU()], (2, 1, 9)),
        ([Dense(5, 4), ReLU()], (2, 5)),
    ],
)
def test_gradients_of_another_type_are_converted(backend, layers, shape):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype("float32")
    (step,) = fuse([on_backend(layer) for layer in layers], True)
    y = step.forward(backends.asarray(x), training=True)
    dy = rng.standard_normal(y.shape).astype("float32")
    narrow = [backends.to_numpy(step.backward(backends.asarray(dy))).copy(), *copies(layers[0].grads)]
    wide = [backends.to_numpy(step.backward(backends.asarray(dy.astype("float64")))).copy(), *copies(layers[0].grads)]
    assert all(a.dtype == np.float32 and np.array_equal(a, b) for a, b in zip(wide, narrow, strict=True))


def copies(grads):
    return [backends.to_numpy(value).copy() for value in grads.values()]


def test_gradients_that_somebody_holds_do_not_change(backend):
    (step,) = fuse([on_backend(Dense(600, 500)), ReLU()], True)  # large enough for memory to be used again
    held = []
    for seed in range(3):
        x = np.random.default_rng(seed).standard_normal((4, 600)).astype("float32")
        step.backward(step.forward(backends.asarray(x), training=True))
        gradient = step.layers[0].grads["weight"]
        held.append((gradient, backends.to_numpy(gradient).copy()))
    assert all(np.array_equal(backends.to_numpy(gradient), as_it_was) for gradient, as_it_was in held)


def test_an_infinite_gradient_behind_a_closed_relu_is_nothing(backend):
    conv = Conv1D(1, 1, 2, bias=True)
    conv.params["weight"][...] = 1
    (step,) = fuse([on_backend(conv), ReLU()], True)
    step.forward(backends.asarray(np.array([[[1.0, 1.0, -5.0, 1.0]]], "float32")), training=True)  # y = 2, 0, 0
    dx = step.backward(backends.asarray(np.array([[[1.0, np.inf, np.inf]]], "float32")))
    assert np.array_equal(backends.to_numpy(dx), [[[1, 1, 0, 0]]])
    assert np.array_equal(backends.to_numpy(conv.grads["bias"]), [1])


@pytest.mark.parametrize("width, apart", [(36, False), (37, True), (38, True)])
def test_a_ceiling_pool_is_part_of_the_pass_where_no_window_hangs_over(backend, width, apart, monkeypatch):
    """Piczak's first pool makes 12 columns of 36 either way; nothing but its kernel's windows is looked at."""
    calls = []
    monkeypatch.setattr(MaxPool2D, "forward", lambda self, x, training=False: calls.append(x.shape) or x)
    (step,) = fuse([on_backend(Conv2D(1, 2, (57, 6))), ReLU(), MaxPool2D((4, 3), (1, 3), ceil_mode=True)], True)
    y = step.forward(backends.asarray(np.ones((1, 1, 60, width + 5), "float32")))
    assert calls == ([(1, 2, 4, width)] if apart else [])
    assert apart or y.shape == (1, 2, 1, 12)


@pytest.mark.parametrize("kind", [Conv1D, ReLU, MaxPool1D, Dense, Dropout])
def test_a_subclass_runs_by_itself(kind):
    """It may do something else than the kernel of its base."""
    own = type("Own", (kind,), {})
    layers = [Conv1D(1, 2, 3), ReLU(), MaxPool1D(2), Flatten(), Dense(8, 4), ReLU(), Dropout(0.5)]
    at = next(i for i, layer in enumerate(layers) if type(layer) is kind)
    layers[at].__class__ = own
    steps = fuse(layers, fused=True)
    assert [layer for step in steps for layer in step.layers] == layers
    assert next(type(step) for step in steps if layers[at] in step.layers) is Plain


def test_what_becomes_a_block():
    def kinds(*layers):
        return [[type(layer).__name__ for layer in step.layers] for step in fuse(list(layers), True)]

    assert kinds(Conv1D(1, 1, 3), ReLU(), MaxPool1D(3)) == [["Conv1D", "ReLU", "MaxPool1D"]]
    names = ["Conv2D", "BatchNorm2D", "ReLU", "MaxPool2D"]
    assert kinds(Conv2D(1, 1, 3), BatchNorm2D(1), ReLU(), MaxPool2D(3)) == [names]
    assert kinds(Conv2D(1, 2, 3), BatchNorm2D(1)) == [["Conv2D"], ["BatchNorm2D"]]
    assert kinds(Conv2D(1, 1, 3), BatchNorm2D(1, dtype="float64")) == [["Conv2D"], ["BatchNorm2D"]]
    assert kinds(Conv2D(1, 1, 3), MaxPool2D(3), ReLU()) == [["Conv2D", "MaxPool2D"], ["ReLU"]]
    assert kinds(Conv1D(1, 1, 3), Tanh(), Dense(1, 1), Tanh()) == [["Conv1D"], ["Tanh"], ["Dense"], ["Tanh"]]
    assert kinds(Dense(1, 1), ReLU(), Dropout(0.5), Dropout(0.5)) == [["Dense", "ReLU", "Dropout"], ["Dropout"]]
    assert kinds(Dense(1, 1), ReLU(), Dense(1, 1), Dropout(0.5)) == [["Dense", "ReLU"], ["Dense"], ["Dropout"]]
    assert kinds(Conv1D(1, 1, 3), ReLU(), MaxPool1D(3, ceil_mode=True)) == [["Conv1D", "ReLU", "MaxPool1D"]]
    # Pools that a block does not know stay by themselves.
    assert kinds(Conv1D(1, 1, 3), ReLU(), MaxPool1D(3, padding=1)) == [["Conv1D", "ReLU"], ["MaxPool1D"]]
    assert all(isinstance(step, Plain) for step in fuse([Conv1D(1, 1, 3), ReLU()], False))
