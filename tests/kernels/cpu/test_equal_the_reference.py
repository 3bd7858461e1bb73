"""Every fast CPU kernel equals the reference: on shapes that fill its vectors, panels and pieces, and on others.

Weights and inputs are small whole numbers, so every sum is exact in float32 however it is ordered (under 2²⁴), ties are
certain, and results must be equal, bit for bit. Rounding has its own bounds in tests/layers.
"""

from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from numba import config

from scratchnet.kernels import cpu, reference
from scratchnet.kernels.cpu import dense, elementwise, lowering, panels, parallel, update, winograd, winograd_weight
from tests.support import seeds

both_types = pytest.mark.parametrize("dtype", ["float32", "float64"])


def whole(rng, shape, dtype, size=3):
    return rng.integers(-size, size + 1, shape).astype(dtype)


@pytest.fixture(params=[None, 2048], ids=["large pieces", "small pieces"])
def pieces(request, monkeypatch):
    """With small pieces even these small inputs are cut into several, and results lie in memory full of older ones."""
    if request.param:
        monkeypatch.setattr("scratchnet.kernels.cpu.memory.RECYCLED", 0)
        monkeypatch.setattr(lowering, "PIECE_BYTES", request.param)
        monkeypatch.setattr(panels, "PANEL_BYTES", request.param)
        monkeypatch.setattr(winograd, "NARROW", 1)
        monkeypatch.setattr(winograd, "POSITIONS", 1)
        monkeypatch.setattr(update, "PIECE", 8)
        monkeypatch.setattr(elementwise, "PIECE", 8)
        monkeypatch.setattr(dense, "COLUMNS", 5)


@st.composite
def blocks(draw):
    """(x shape, out channels, kernel, stride, padding, relu, pool), of a convolution and what follows it."""
    n, c = draw(st.sampled_from([1, 2, 3, 5, 17])), draw(st.sampled_from([1, 1, 2, 3, 17]))
    out_channels = draw(st.sampled_from([1, 3, 16, 40, 41, 83, 160]))
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 7)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 4)))
    side = st.integers(0, 2)
    padding = draw(st.tuples(st.tuples(side, side), st.tuples(side, side)))
    map_size = draw(st.tuples(st.integers(1, 6), st.integers(1, 9)))
    extra = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))  # samples that no window reaches
    size = [(m - 1) * s + k + min(e, s - 1) - sum(p) for m, s, k, e, p in zip(map_size, stride, kernel, extra, padding)]
    size = [max(1, length) for length in size]
    rows, columns = ((length + sum(p) - k) // s + 1 for length, p, k, s in zip(size, padding, kernel, stride))
    if rows < 1 or columns < 1:
        size = [length + k for length, k in zip(size, kernel)]
        rows, columns = ((length + sum(p) - k) // s + 1 for length, p, k, s in zip(size, padding, kernel, stride))
    pool = None
    if draw(st.booleans()):
        pool_kernel = draw(st.tuples(st.integers(1, rows), st.integers(1, columns)))
        pool = pool_kernel, draw(st.tuples(st.integers(1, 3), st.integers(1, 5)))
    return (n, c, *size), out_channels, kernel, stride, padding, draw(st.booleans()), pool


# Like the networks' own, but smaller: HeuriNet's conv1 and conv2, PiczakNet's conv1 and conv2, MSTNet's conv1.
OURS = [
    ((3, 1, 1, 400), 83, (1, 55), (1, 10), ((0, 0), (0, 0)), True, ((1, 9), (1, 3))),
    ((2, 20, 1, 150), 60, (1, 15), (1, 4), ((0, 0), (0, 0)), True, ((1, 9), (1, 4))),
    ((3, 1, 20, 41), 80, (17, 6), (1, 1), ((0, 0), (0, 0)), True, ((4, 3), (1, 3))),
    ((5, 30, 1, 12), 80, (1, 3), (1, 1), ((0, 0), (0, 0)), True, ((1, 3), (1, 3))),
    ((2, 1, 1, 300), 170, (1, 64), (1, 32), ((0, 0), (16, 16)), True, None),
    ((1, 2, 1, 260), 3, (1, 3), (1, 1), ((0, 0), (1, 1)), False, ((1, 2), (1, 1))),  # more than 48 winners a channel
    (
        (20, 1, 1, 99),
        2,
        (1, 90),
        (1, 2),
        ((0, 0), (0, 0)),
        True,
        ((1, 2), (1, 1)),
    ),  # many samples, a whole row of vectors
    ((1, 1, 1, 33000), 3, (1, 2), (1, 1), ((0, 0), (0, 0)), True, ((1, 2), (1, 2))),  # places beyond 16 bits
    ((20, 1, 95, 3), 2, (90, 2), (2, 1), ((0, 0), (0, 0)), True, ((2, 1), (1, 1))),  # the same, turned
    ((2, 3, 9, 7), 5, (7, 7), (1, 1), ((0, 0), (0, 0)), True, None),  # rows of a window without gaps between them
]
NAMES = ["heurinet1", "heurinet2", "piczak1", "piczak2", "mstnet1", "crowded", "many", "long", "turned", "square"]


@both_types
@settings(max_examples=30)
@given(block=blocks(), with_bias=st.booleans(), seed=seeds)
def test_convolution_blocks(pieces, dtype, block, with_bias, seed):
    compare(dtype, block, with_bias, seed)


@pytest.mark.parametrize("block", OURS, ids=NAMES)
@both_types
def test_blocks_like_those_of_our_networks(request, dtype, block):
    if config.DISABLE_JIT and "long" in request.node.name:
        pytest.skip("takes minutes without the compiler")
    compare(dtype, block, True, 0)


def compare(dtype, block, with_bias, seed):
    """Values, and all gradients, of a block on both."""
    shape, out_channels, kernel, stride, padding, relu, pool = block
    rng = np.random.default_rng(seed)
    x, weight = whole(rng, shape, dtype), whole(rng, (out_channels, shape[1], *kernel), dtype)
    bias = whole(rng, out_channels, dtype) if with_bias else None
    arguments = (x, weight, bias, stride, padding, "relu" if relu else "none", pool)
    y, saved = cpu.conv_block_forward(*arguments)
    expected, expected_saved = reference.conv_block_forward(*arguments)
    assert y.dtype == np.dtype(dtype) and np.array_equal(y, expected)
    dy = whole(rng, y.shape, dtype)
    for need_dx, need_dweight in ((True, True), (True, False), (False, True)):
        found = cpu.conv_block_backward(dy, saved, x, weight, stride, padding, need_dx, need_dweight)
        right = reference.conv_block_backward(dy, expected_saved, x, weight, stride, padding, need_dx, need_dweight)
        for name, ours, theirs in zip(("dx", "dweight", "dbias"), found, right):
            assert (ours is None) == (theirs is None), name
            if ours is not None:
                assert ours.dtype == np.dtype(dtype) and np.array_equal(ours, theirs), name


# More positions than the weight gradient takes at a time.
@both_types
@example(block=((1, 2, 1, 300), 3, (1, 3), (1, 1), ((0, 0), (0, 0)), False, None), seed=0)
@example(block=((17, 1, 5, 9), 40, (3, 3), (1, 1), ((1, 1), (1, 1)), False, None), seed=0)
@example(block=((2, 1, 9, 40), 40, (3, 3), (1, 1), ((1, 1), (1, 1)), False, None), seed=0)
@example(block=((2, 1, 9, 40), 64, (2, 3), (1, 1), ((0, 0), (1, 1)), False, None), seed=0)
@given(block=blocks(), seed=seeds)
def test_convolutions(pieces, dtype, block, seed):
    shape, out_channels, kernel, stride, padding, _, _ = block
    rng = np.random.default_rng(seed)
    x, weight = whole(rng, shape, dtype), whole(rng, (out_channels, shape[1], *kernel), dtype)
    y = cpu.conv2d_forward(x, weight, None, stride, padding)
    assert np.array_equal(y, reference.conv2d_forward(x, weight, None, stride, padding))
    dy = whole(rng, y.shape, dtype)
    found = cpu.conv2d_backward_weight(x, dy, kernel, stride, padding)
    assert all(map(np.array_equal, found, reference.conv2d_backward_weight(x, dy, kernel, stride, padding)))
    dx = cpu.conv2d_backward_input(dy, weight, shape[2:], stride, padding)
    assert np.array_equal(dx, reference.conv2d_backward_input(dy, weight, shape[2:], stride, padding))


# Kernels two or three strides wide: MiniVGG's, MSTNet's conv1 and conv2.
@both_types
@example(shape=(2, 2, 1, 351), out_channels=3, runs=1, stride=(1, 1), blocks=3, padding=((0, 0), (0, 0)), seed=0)
@example(shape=(17, 5, 1, 283), out_channels=9, runs=1, stride=(1, 40), blocks=3, padding=((0, 0), (0, 0)), seed=0)
@example(shape=(3, 2, 6, 9), out_channels=40, runs=3, stride=(1, 1), blocks=3, padding=((1, 1), (1, 1)), seed=0)
@example(shape=(5, 1, 1, 64), out_channels=70, runs=1, stride=(1, 8), blocks=2, padding=((0, 0), (4, 4)), seed=0)
@example(shape=(5, 20, 1, 9), out_channels=17, runs=1, stride=(1, 1), blocks=3, padding=((0, 0), (1, 1)), seed=0)
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 20), st.integers(1, 7), st.integers(1, 20)),
    out_channels=st.integers(1, 90),
    runs=st.integers(1, 3),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    blocks=st.sampled_from([2, 3]),
    padding=st.tuples(st.tuples(st.integers(0, 2), st.integers(0, 2)), st.tuples(st.integers(0, 2), st.integers(0, 2))),
    seed=seeds,
)
def test_convolutions_two_outputs_at_a_time(pieces, dtype, shape, out_channels, runs, stride, blocks, padding, seed):
    rng, kernel = np.random.default_rng(seed), (runs, blocks * stride[1])
    assume(all(length + sum(p) >= k for length, p, k in zip(shape[2:], padding, kernel)))
    x, weight = whole(rng, shape, dtype), whole(rng, (out_channels, shape[1], *kernel), dtype)
    bias = whole(rng, out_channels, dtype)
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "NARROW", 1)
        patch.setattr(winograd, "POSITIONS", 1)
        patch.setattr("scratchnet.kernels.cpu.conv_weight.IDLE", np.inf)
        combine, add = winograd._combine, winograd_weight._add_pairs
        patch.setattr(winograd, "_combine", lambda *a: (calls.append(combine), combine(*a)))
        patch.setattr(winograd_weight, "_add_pairs", lambda *a: (calls.append(add), add(*a)))
        y, saved = cpu.conv_block_forward(x, weight, bias, stride, padding, "relu", None)
        dy = whole(rng, y.shape, dtype)
        found = cpu.conv_block_backward(dy, saved, x, weight, stride, padding, False, True)
    right, saved = reference.conv_block_forward(x, weight, bias, stride, padding, "relu", None)
    assert np.array_equal(y, right)
    right = reference.conv_block_backward(dy, saved, x, weight, stride, padding, False, True)
    assert all(map(np.array_equal, found[1:], right[1:]))
    assert set(calls) == {combine, add} or runs > kernel[1]  # a tall kernel is turned


def test_pieces_are_as_many_for_each_thread_and_the_last_ones_half_as_large(monkeypatch):
    monkeypatch.setattr(parallel, "threads", lambda: 4)
    geometry = lowering.lower(1, (1, 20992), (1, 1024), (1, 512), ((0, 0), (256, 256)))  # MSTNet's conv1: 4 fit

    def sizes(n, times=1):
        parts = geometry.pieces(n, times)
        ends = [0, *(part.stop for part in parts)]
        assert [part.start for part in parts] == ends[:-1] and ends[-1] == n  # every sample once, in order
        return [part.stop - part.start for part in parts]

    assert sizes(0) == [0]
    assert sizes(1) == [1]
    assert sizes(5) == [2, 1, 1, 1]
    assert sizes(32) == [4] * 8
    assert sizes(64) == [4] * 8 + [2] * 16
    first, last = sizes(100)[:16], sizes(100)[16:]  # 6 × 4 pieces, the last 8 cut in two
    assert first == [5, 4, 4, 4, 4, 4, 5, 4, 4, 4, 4, 4, 5, 4, 4, 4] and sorted(last) == [2] * 15 + [3]
    assert sizes(100, 2) == [9, 8, 8, 9, 8, 8, 9, 8, 8, 9, 8, 8]  # too few to cut
    assert max(sizes(257, 2)) == sizes(257, 2)[0]


@pytest.mark.parametrize("pool", [None, ((1, 3), (1, 2))])
def test_no_sample(pool):
    x, weight = np.zeros((0, 2, 1, 9), np.float32), np.ones((3, 2, 1, 3), np.float32)
    y, saved = cpu.conv_block_forward(x, weight, None, (1, 1), ((0, 0), (0, 0)), "relu", pool)
    assert y.shape == (0, 3, 1, 3 if pool else 7)
    dx, dweight, dbias = cpu.conv_block_backward(y, saved, x, weight, (1, 1), ((0, 0), (0, 0)), True, True)
    assert dx.shape == x.shape and not dweight.any() and not dbias.any() and dweight.shape == weight.shape


@both_types
@given(n=st.integers(1, 3), c=st.integers(1, 3), length=st.integers(1, 20), data=st.data())
def test_one_dimensional_convolutions(dtype, n, c, length, data):
    rng = np.random.default_rng(data.draw(seeds))
    kernel, stride, o = data.draw(st.integers(1, length)), data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    padding = data.draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    x, weight, bias = whole(rng, (n, c, length), dtype), whole(rng, (o, c, kernel), dtype), whole(rng, o, dtype)
    y = cpu.conv1d_forward(x, weight, bias, stride, padding)
    assert np.array_equal(y, reference.conv1d_forward(x, weight, bias, stride, padding))
    dy = whole(rng, y.shape, dtype)
    found = cpu.conv1d_backward_weight(x, dy, kernel, stride, padding)
    assert all(map(np.array_equal, found, reference.conv1d_backward_weight(x, dy, kernel, stride, padding)))
    dx = cpu.conv1d_backward_input(dy, weight, length, stride, padding)
    assert np.array_equal(dx, reference.conv1d_backward_input(dy, weight, length, stride, padding))


@both_types
@given(block=blocks(), seed=seeds)
def test_nan_stays_in_its_windows(pieces, dtype, block, seed):
    """Registers read past a window's end: nothing of what lies there may come in."""
    shape, out_channels, kernel, stride, padding, relu, pool = block
    rng = np.random.default_rng(seed)
    x, weight = whole(rng, shape, dtype), whole(rng, (out_channels, shape[1], *kernel), dtype)
    x[rng.random(shape) < 0.05] = np.nan
    arguments = (x, weight, None, stride, padding, "relu" if relu else "none", pool)
    assert np.array_equal(
        cpu.conv_block_forward(*arguments)[0], reference.conv_block_forward(*arguments)[0], equal_nan=True
    )


@both_types
@given(n=st.integers(1, 5), c=st.integers(1, 5), size=st.tuples(st.integers(1, 9), st.integers(1, 9)), data=st.data())
def test_pools(dtype, n, c, size, data):
    rng = np.random.default_rng(data.draw(seeds))
    x = whole(rng, (n, c, *size), dtype)
    x[rng.random(x.shape) < data.draw(st.sampled_from([0, 0.1]))] = np.nan
    kernel = tuple(data.draw(st.integers(1, length)) for length in size)
    stride = tuple(data.draw(st.integers(1, 4)) for _ in size)
    padding = tuple((data.draw(st.integers(0, k // 2)), data.draw(st.integers(0, k // 2))) for k in kernel)
    arguments = (x, kernel, stride, padding, data.draw(st.booleans()))
    (y, argmax), (right, right_argmax) = cpu.maxpool2d_forward(*arguments), reference.maxpool2d_forward(*arguments)
    assert argmax.dtype == np.int32
    assert np.array_equal(y, right, equal_nan=True) and np.array_equal(argmax, right_argmax)
    dy = whole(rng, y.shape, dtype)
    assert np.array_equal(cpu.maxpool2d_backward(dy, argmax, size), reference.maxpool2d_backward(dy, argmax, size))
    line = (x[:, :, 0], kernel[1], stride[1], padding[1], arguments[-1])
    (y, argmax), (right, right_argmax) = cpu.maxpool1d_forward(*line), reference.maxpool1d_forward(*line)
    assert np.array_equal(y, right, equal_nan=True) and np.array_equal(argmax, right_argmax)
    dy, width = dy[:, :, 0, : y.shape[2]], size[1]
    assert np.array_equal(cpu.maxpool1d_backward(dy, argmax, width), reference.maxpool1d_backward(dy, argmax, width))


@both_types
@given(n=st.integers(1, 9), i=st.integers(1, 30), o=st.integers(1, 30), with_bias=st.booleans(), seed=seeds)
def test_dense_layers(pieces, dtype, n, i, o, with_bias, seed):
    rng = np.random.default_rng(seed)
    x, weight, dy = whole(rng, (n, i), dtype), whole(rng, (o, i), dtype), whole(rng, (n, o), dtype)
    bias = whole(rng, o, dtype) if with_bias else None
    assert np.array_equal(cpu.dense_forward(x, weight, bias), reference.dense_forward(x, weight, bias))
    assert np.array_equal(cpu.dense_backward_input(dy, weight), reference.dense_backward_input(dy, weight))
    found, right = cpu.dense_backward_weight(x, dy), reference.dense_backward_weight(x, dy)
    assert all(map(np.array_equal, found, right))


def sparse(rng, shape, dtype, density):
    return whole(rng, shape, dtype) * (rng.random(shape) < density)


@both_types
@given(
    m=st.integers(1, 40), k=st.integers(1, 40), n=st.integers(1, 40), density=st.sampled_from([0, 0.1, 1]), seed=seeds
)
def test_dense_products(pieces, dtype, m, k, n, density, seed):
    """Of any strides; and the sparse product, whatever the density, in tiles of any size."""
    rng = np.random.default_rng(seed)
    a, b = sparse(rng, (m, k), dtype, density), whole(rng, (k, n), dtype)
    right = a @ b
    assert np.array_equal(dense.product(a, b), right)
    assert np.array_equal(dense.product(np.asfortranarray(a), np.asfortranarray(b)), right)


# More rows than a tile is high; more columns than the tiles, and more inner ones than the stretches, of a piece.
@both_types
@pytest.mark.parametrize("depth, height", [(80, 1024), (3, 7), (16, 60)])
@example(m=200, k=3, n=1100, density=1, seed=0)
@example(m=3, k=700, n=40, density=1, seed=0)
@given(
    m=st.integers(1, 40),
    k=st.integers(1, 200),
    n=st.integers(1, 150),
    density=st.sampled_from([0, 0.1, 0.5, 1]),
    seed=seeds,
)
def test_the_sparse_product(dtype, depth, height, m, k, n, density, seed):
    rng, times = np.random.default_rng(seed), np.zeros((m, n), int)
    a, b = sparse(rng, (m, k), dtype, density), whole(rng, (k, n), dtype)
    with mock.patch.multiple(dense, DEPTH=depth, HEIGHT=height):
        for left, right in ((a, b), (np.asfortranarray(a), np.asfortranarray(b))):
            out = np.full((m, n), np.nan, dtype)
            dense.sparse_product(left, right, out, lambda y, *at: [np.add(z[at], 1, out=z[at]) for z in (y, times)])
            assert np.array_equal(out, a @ b + 1) and times.min() == times.max()  # each part once


@pytest.mark.parametrize(
    "m, k, n, density, taken",
    [
        (600, 520, 530, 0.3, True),
        (600, 520, 530, 0.5, False),
        (200, 520, 530, 0.5, True),  # a batch of few rows
        (530, 200, 520, 0.5, True),  # and its weights' gradient
        (200, 520, 530, 0.9, False),
        (100, 520, 400, 0.3, False),  # too narrow
        (31, 1000, 1000, 0.3, False),
        (1000, 31, 1000, 0.3, False),
        (50, 600, 600, 0.3, False),  # too small
    ],
)
def test_the_sparse_product_is_taken_where_zeros_are_many(monkeypatch, m, k, n, density, taken):
    rng, calls = np.random.default_rng(0), []
    monkeypatch.setattr(dense, "sparse_product", lambda *_: calls.append(1))
    dense.product(sparse(rng, (m, k), "float32", density), whole(rng, (k, n), "float32"))
    assert bool(calls) == taken


@both_types
@given(
    n=st.integers(1, 9),
    i=st.integers(1, 30),
    o=st.integers(1, 30),
    with_bias=st.booleans(),
    p=st.sampled_from([0.0, 0.5]),
    seed=seeds,
)
def test_dense_blocks(pieces, dtype, n, i, o, with_bias, p, seed):
    rng = np.random.default_rng(seed)
    x, weight = whole(rng, (n, i), dtype), whole(rng, (o, i), dtype)
    bias = whole(rng, o, dtype) if with_bias else None
    y = cpu.dense_block_forward(x, weight, bias, p, 5, 7)
    assert np.array_equal(y, reference.dense_block_forward(x, weight, bias, p, 5, 7))
    dy = whole(rng, y.shape, dtype)
    for need_dx, need_dweight in ((True, True), (True, False), (False, True)):
        found = cpu.dense_block_backward(dy, y, x, weight, p, need_dx, need_dweight)
        right = reference.dense_block_backward(dy, y, x, weight, p, need_dx, need_dweight)
        for ours, theirs in zip(found, right):
            assert (ours is None) == (theirs is None) and (ours is None or np.array_equal(ours, theirs))


@both_types
@given(size=st.integers(1, 50), seed=seeds)
def test_updates(pieces, dtype, size, seed):
    """Whole numbers and powers of two: lr, momentum and decay change nothing but exponents, so nothing is rounded."""
    rng = np.random.default_rng(seed)
    arrays = {name: [whole(rng, size, dtype) for _ in range(3)] for name in ("cpu", "reference")}
    arrays["reference"] = [a.copy() for a in arrays["cpu"]]
    cpu.nesterov_steps(*([a] for a in arrays["cpu"]), 0.5, 0.25, 0.125)
    reference.nesterov_step(*arrays["reference"], 0.5, 0.25, 0.125)
    assert all(map(np.array_equal, arrays["cpu"], arrays["reference"]))
    x = whole(rng, size, dtype, 9)
    assert cpu.squared_norms([[x]]) == [reference.squared_norm(x)]
    first, second = x.copy(), x.copy()
    assert cpu.clip_by_norms([[first]], 2.0) == [reference.clip_by_norm(second, 2.0)] and np.array_equal(first, second)
    param, grad, m = (whole(rng, size, dtype) for _ in range(3))
    v = np.abs(whole(rng, size, dtype)) + dtype_of(dtype)(1)
    ours, theirs = ([a.copy() for a in (param, grad, m, v)] for _ in range(2))
    cpu.adam_steps(*([a] for a in ours), 3, 0.5, 0.75, 0.5, 0.25, 0.125)
    reference.adam_step(*theirs, 3, 0.5, 0.75, 0.5, 0.25, 0.125)
    # a root and two quotients: 4 roundings of numbers under 10 in size
    assert np.allclose(ours[0], theirs[0], rtol=0, atol=8 * 10 * np.finfo(dtype).eps)
    assert all(map(np.array_equal, ours[1:], theirs[1:]))


def dtype_of(name):
    return np.dtype(name).type


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("p", [0.0, 0.3, 0.9])
def test_dropout(pieces, shape, p):
    x = whole(np.random.default_rng(0), shape, "float64")
    for seed, offset in ((0, 0), (2**63 - 1, 2**40), (123456789012345, 3)):
        assert np.array_equal(cpu.dropout_forward(x, p, seed, offset), reference.dropout_forward(x, p, seed, offset))


def test_both_offer_the_same_operations():
    operations = {name for name in vars(reference) if name.endswith(("_forward", "_backward", "_steps", "_norms"))}
    operations |= {
        name for name in vars(reference) if name.startswith(("conv", "dense")) and callable(vars(reference)[name])
    }
    assert operations <= set(vars(cpu)), operations - set(vars(cpu))
