"""The convolution kernels, run on the CPU, against the definition: forward, both gradients, with ReLU and pool."""

import numpy as np
import pytest

from scratchnet.kernels import cuda, reference
from scratchnet.kernels.cuda.conv_input_gradient import input_gradient_sparse
from tests.kernels.cuda.bounds import bound
from tests.kernels.cuda.convolutions import GEOMETRIES, Geometry, check_backward, check_forward, draw
from tests.support import assert_within

some = pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)


@some
def test_block(geometry, any_host):
    x, weight, bias, rng = draw(geometry)
    saved = check_forward(geometry, x, weight, bias, any_host)
    shape = saved.y.shape if saved.pool is None else saved.argmax.shape
    check_backward(geometry, x, weight, saved, rng.standard_normal(shape).astype(x.dtype), any_host)


@pytest.mark.parametrize("name", ["heurinet conv2", "odd strides", "mstnet conv1", "mstnet conv2"])
def test_block_in_float64(name, host):
    """MSTNet's first layer brings float32 four at a time, and float64 two."""
    geometry = GEOMETRIES[name]
    x, weight, bias, rng = draw(geometry, np.float64)
    saved = check_forward(geometry, x, weight, bias, host)
    shape = saved.y.shape if saved.pool is None else saved.argmax.shape
    check_backward(geometry, x, weight, saved, rng.standard_normal(shape), host)


@pytest.mark.parametrize("seed", range(6))
def test_random_shapes(seed, host):
    rng = np.random.default_rng(seed)
    kernel = tuple(int(k) for k in rng.integers(1, 5, 2))
    size = [k + int(rng.integers(0, 14)) for k in kernel]
    padding = tuple(tuple(int(p) for p in pair) for pair in rng.integers(0, 3, (2, 2)))
    stride = tuple(int(s) for s in rng.integers(1, 4, 2))
    geometry = Geometry(
        (int(rng.integers(1, 4)), int(rng.integers(1, 4)), *size), int(rng.integers(1, 10)), kernel, stride, padding
    )
    room = [(size[i] + sum(padding[i]) - kernel[i]) // stride[i] + 1 for i in range(2)]
    pool = tuple(int(rng.integers(1, min(r, 4) + 1)) for r in room), tuple(int(s) for s in rng.integers(1, 4, 2))
    geometry = geometry._replace(pool=pool if seed % 3 else None)
    x, weight, bias, rng = draw(geometry, seed=seed)
    saved = check_forward(geometry, x, weight, bias if seed % 2 else None, host)
    shape = saved.y.shape if saved.pool is None else saved.argmax.shape
    check_backward(geometry, x, weight, saved, rng.standard_normal(shape).astype(x.dtype), host)


@pytest.mark.parametrize("name, dtype", [
    ("heurinet conv2", np.float32), ("mstnet conv2", np.float32), ("piczak conv1", np.float32),
    ("tiles over both sides of the weights", np.float32), ("many channels", np.float64),
    ("a maximum of nine windows", np.float32),
])  # fmt: skip
def test_the_order_of_threads_does_not_show(name, dtype, any_host):
    """Threads and blocks in another order give the same bits: no race, and sums that are always added up alike.

    HeuriNet's second layer is two tiles of its depth wide, and of many float64 channels a tile has fewer than a block
    has threads: no block writes into another's. What several windows give to one maximum is added up in turns.
    """
    geometry = GEOMETRIES[name]
    x, weight, bias, rng = draw(geometry, dtype)
    results = []
    for order in (0, 1, 2, 3, 4):
        any_host.order = order
        y, saved = cuda.conv_block_forward(x, weight, bias, geometry.stride, geometry.padding, "relu", geometry.pool)
        dy = np.random.default_rng(5).standard_normal(y.shape).astype(x.dtype)
        results.append(
            (y, *cuda.conv_block_backward(dy, saved, x, weight, geometry.stride, geometry.padding, True, True))
        )
    any_host.order = 0
    for other in results[1:]:
        for a, b in zip(results[0], other):
            np.testing.assert_array_equal(a, b)


def test_a_large_pool_behind_relu(host):
    geometry = GEOMETRIES["a pool beyond a tile"]
    x, weight, _, _ = draw(geometry)
    saved = check_forward(geometry, x, weight, np.array([-1e3, 0, 1e3], np.float32), host)
    assert (saved.argmax[:, 0] == -1).all() and (saved.argmax[:, 1:] >= 0).all()


def test_tensor_cores_are_taken(any_host):
    """For float32 alone."""
    geometry = GEOMETRIES["piczak conv2"]
    for dtype in (np.float32, np.float64):
        any_host.launches.clear()
        x, weight, bias, _ = draw(geometry, dtype)
        y, saved = cuda.conv_block_forward(x, weight, bias, geometry.stride, geometry.padding, "relu", geometry.pool)
        cuda.conv_block_backward(y, saved, x, weight, geometry.stride, geometry.padding, True, True)
        convolutions = [defines for _, kernel, defines in any_host.launches if kernel.startswith("conv")]
        assert len(convolutions) == 3
        for defines in convolutions:
            assert defines.get("TENSOR_CORES") == (1 if any_host.tensor_cores and dtype == np.float32 else None)


SPARSE = [
    Geometry((2, 3, 9, 11), 5, (2, 3), (1, 2), ((1, 0), (0, 2)), ((2, 2), (1, 2))),
    Geometry((3, 1, 30, 22), 20, (17, 6), (2, 1), ((1, 2), (0, 3)), ((3, 4), (2, 3))),
    Geometry((2, 2, 7, 8), 3, (3, 1), (3, 2), ((0, 2), (3, 1)), ((1, 3), (1, 1))),
    Geometry((1, 3, 12, 11), 4, (9, 8), pool=((2, 2), (1, 2))),  # more taps than lanes take at once
]


@pytest.mark.parametrize("geometry", SPARSE, ids=str)
def test_sparse_input_gradient(geometry, host):
    """Whatever the shapes, though it is taken for PiczakNet's alone; with as many warps as shared memory holds."""
    x, weight, bias, rng = draw(geometry)
    how = geometry.stride, geometry.padding
    y, saved = cuda.conv_block_forward(x, weight, bias, *how, "relu", geometry.pool)
    argmax = saved.argmax
    dy = rng.standard_normal((len(x), *argmax.shape[2:], geometry.out)).astype(x.dtype).transpose(0, 3, 1, 2)
    size = reference.conv2d_forward(x[:1], weight[:1], None, *how).shape[2:]
    dmap = reference.maxpool2d_backward(np.where(argmax >= 0, dy, np.float32(0)), np.maximum(argmax, 0), size)
    args = dmap, weight, x.shape[2:], *how
    expected = reference.conv2d_backward_input(*args)
    error = bound(weight[:, 0].size, x.dtype, False, reference.conv2d_backward_input, *args)

    def check_infinite(dy, finite):
        """One infinite gradient reaches its own patch, and there is no 0 · ∞ beside it."""
        place = tuple(np.argwhere(argmax >= 0)[0])
        large = dy.copy(order="K")
        large[place] = np.inf
        found = input_gradient_sparse(large, argmax, weight, x.shape[2:], size, *how)
        dmap[...] = 0
        dmap[(*place[:2], *np.unravel_index(argmax[place], size))] = 1
        reached = reference.conv2d_backward_input(dmap, np.ones_like(weight), x.shape[2:], *how) > 0
        assert np.isinf(found[reached]).all()
        np.testing.assert_array_equal(found[~reached], finite[~reached])

    before, warps = host.shared_limit, []
    least = 4 * (x[0].size + dy[0].size) + 8 * dy[0].size
    try:
        for copies in (7, 3, 1, 0):  # of dx, beyond the one that each warp needs
            host.shared_limit = least + 4 * copies * x[0].size
            found = input_gradient_sparse(dy, argmax, weight, x.shape[2:], size, *how)
            assert_within(found, expected, error)
            check_infinite(dy, found)
            warps.append(host.launches[-1][2]["WARPS"])
        host.shared_limit = least - 1
        assert input_gradient_sparse(dy, argmax, weight, x.shape[2:], size, *how) is None
    finally:
        host.shared_limit = before
    assert warps == [8, 4, 2, 1]


def test_plain_convolutions_in_one_and_two_dimensions(host):
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((2, 3, 20)).astype("f4"), rng.standard_normal((4, 3, 5)).astype("f4")
    bias = rng.standard_normal(4).astype("f4")
    y = cuda.conv1d_forward(x, weight, bias, 2, (1, 3))
    error = 4 * 17 * 2.0**-24  # two sums of 16 terms, each within γ₁₆ of Σ |products|, as `bounds.bound` has it
    assert_within(
        y,
        reference.conv1d_forward(x, weight, bias, 2, (1, 3)),
        error * reference.conv1d_forward(*map(np.abs, (x, weight, bias)), 2, (1, 3)),
    )
    dy = rng.standard_normal(y.shape).astype("f4")
    dx = cuda.conv1d_backward_input(dy, weight, 20, 2, (1, 3))
    absolute = reference.conv1d_backward_input(np.abs(dy), np.abs(weight), 20, 2, (1, 3))
    assert_within(dx, reference.conv1d_backward_input(dy, weight, 20, 2, (1, 3)), 4 * 21 * 2.0**-24 * absolute)
    for actual, expected, scale in zip(
        cuda.conv1d_backward_weight(x, dy, 5, 2, (1, 3)),
        reference.conv1d_backward_weight(x, dy, 5, 2, (1, 3)),
        reference.conv1d_backward_weight(np.abs(x), np.abs(dy), 5, 2, (1, 3)),
    ):
        assert_within(actual, expected, 4 * 21 * 2.0**-24 * scale)


def test_no_sample(host):
    x, weight = np.zeros((0, 2, 1, 9), np.float32), np.ones((3, 2, 1, 3), np.float32)
    y, saved = cuda.conv_block_forward(x, weight, None, (1, 1), ((0, 0), (0, 0)), "relu", ((1, 2), (1, 2)))
    assert y.shape == (0, 3, 1, 3)
    dx, dweight, dbias = cuda.conv_block_backward(y, saved, x, weight, (1, 1), ((0, 0), (0, 0)), True, True)
    assert dx.shape == x.shape and not dweight.any() and not dbias.any()


def test_ties_and_nan(host):
    """The first of equals wins, NaN wins over all, and ReLU lets NaN pass."""
    x = np.array([[[[1, 2, 2, 0, np.nan, 5, np.nan, 1, -1, -2, -3, -4, -1, 0, -2, 0]]]], np.float32)
    y, saved = cuda.conv_block_forward(
        x, np.ones((1, 1, 1, 1), np.float32), None, (1, 1), ((0, 0), (0, 0)), "relu", ((1, 4), (1, 4))
    )
    np.testing.assert_array_equal(y[0, 0, 0], [2, np.nan, 0, 0])
    np.testing.assert_array_equal(saved.argmax[0, 0, 0], [1, 4, -1, -1])


@pytest.mark.parametrize("depth", [3, 13, 18])
def test_infinity_meets_no_padding(depth, any_host):
    """What stands beside the depth, to fill a slice, is never multiplied by anything: 0 · ∞ would be NaN."""
    x, weight = np.ones((1, 1, 1, 40), np.float32), np.ones((2, 1, 1, depth), np.float32)
    x[..., 20] = np.inf
    y = cuda.conv2d_forward(x, weight, None, (1, 1), ((0, 0), (0, 0)))
    np.testing.assert_array_equal(y, reference.conv2d_forward(x, weight, None, (1, 1), ((0, 0), (0, 0))))


def test_the_layers_take_the_roads_that_they_were_made_for(host):
    """HeuriNet's first layer brings its samples two at a time, MSTNet's four; PiczakNet's dx is sparse."""
    host.launches.clear()
    for name in ("heurinet conv1", "mstnet conv1", "piczak conv1"):
        geometry = GEOMETRIES[name]
        x, weight, bias, rng = draw(geometry)
        y, saved = cuda.conv_block_forward(x, weight, bias, geometry.stride, geometry.padding, "relu", geometry.pool)
        cuda.conv_block_backward(y, saved, x, weight, geometry.stride, geometry.padding, name == "piczak conv1", True)
    launches = [
        (kernel, defines.get("VECTOR"), defines.get("POOLED"))
        for _, kernel, defines in host.launches
        if "conv" in kernel
    ]
    assert launches == [
        ("conv_forward", 2, None), ("conv_weight_gradient", 2, 1),
        ("conv_forward", 4, None), ("conv_weight_gradient", 4, 0),
        ("conv_forward", 1, None), ("conv_weight_gradient", 1, 1), ("conv_input_gradient_sparse", None, None),
    ]  # fmt: skip
