"""The convolution kernels, run on the CPU, against the definition: forward, both gradients, with ReLU and pool."""

from typing import NamedTuple

import numpy as np
import pytest

from scratchnet.kernels import cuda, reference
from scratchnet.kernels.cuda import conv_plan, conv_weight_gradient, device
from scratchnet.kernels.cuda.conv_input_gradient import input_gradient_sparse
from scratchnet.kernels.cuda.host import HostDevice
from tests.kernels.cuda.bounds import bound, forward_bound
from tests.support import assert_within


class Geometry(NamedTuple):
    """A convolution of (n, c, h, w) by `out` kernels, and the pool behind it."""

    x: tuple
    out: int
    kernel: tuple
    stride: tuple = (1, 1)
    padding: tuple = ((0, 0), (0, 0))
    pool: tuple | None = None


GEOMETRIES = {
    # What no paper asks for.
    "one of everything": Geometry((1, 1, 1, 1), 1, (1, 1)),
    "many channels": Geometry((1, 3, 5, 4), 131, (2, 2)),
    "stride beyond the kernel": Geometry((2, 3, 11, 13), 5, (2, 3), (4, 5)),
    "one kernel, stride beyond it": Geometry((2, 1, 6, 11), 1, (2, 2), (3, 4)),
    "odd strides": Geometry((2, 3, 13, 17), 7, (3, 5), (2, 3), ((1, 2), (3, 0)), ((2, 3), (3, 2))),
    "padding beyond the kernel": Geometry((2, 2, 3, 2), 5, (2, 2), (1, 2), ((3, 1), (0, 5))),
    "overlapping pool in two directions": Geometry((2, 2, 9, 12), 5, (2, 3), pool=((3, 3), (1, 2))),
    "a maximum of nine windows": Geometry((2, 1, 1, 60), 16, (1, 3), pool=((1, 9), (1, 1))),
    "a pool of one value": Geometry((2, 2, 1, 20), 5, (1, 3), pool=((1, 1), (1, 2))),
    "a pool beyond a tile": Geometry((1, 2, 20, 30), 3, (2, 2), pool=((15, 20), (2, 4))),
    "tiles over both sides of the weights": Geometry((2, 33, 5, 6), 131, (2, 2), pool=((2, 2), (2, 1))),
    "stride beyond the map": Geometry((2, 2, 3, 2), 3, (2, 2), (4, 5)),
    "a depth as wide as the widest tile": Geometry((2, 16, 1, 40), 20, (1, 15), (1, 4), pool=((1, 2), (1, 2))),
    # One channel: a tile's input is copied once where its windows overlap enough, with zeros around it.
    "windows over the padding": Geometry((3, 1, 1, 200), 6, (1, 41), (1, 3), ((0, 0), (20, 17)), ((1, 4), (1, 4))),
    "windows in two directions": Geometry((2, 1, 30, 40), 5, (7, 6), (2, 1), ((3, 2), (1, 4)), ((2, 3), (3, 2))),
    "windows whose columns lie apart": Geometry((1, 1, 1, 700), 64, (1, 99), (1, 10), pool=((1, 9), (1, 3))),
    "a gradient of one channel": Geometry((2, 3, 10, 12), 1, (5, 6), (1, 1), ((2, 2), (2, 2))),
    "a gradient of one channel, upright": Geometry((2, 3, 40, 6), 1, (15, 1), (1, 1), ((7, 7), (0, 0))),
    "a gradient of one channel, across": Geometry((2, 3, 6, 40), 1, (1, 15), (1, 1), ((0, 0), (7, 7))),
    "a row that no window reaches": Geometry((2, 1, 1, 40), 6, (1, 7), (1, 3), pool=((1, 4), (1, 4))),
    # The layers of the paper, made small: the same strides, pools and roads through the kernels.
    "heurinet conv1": Geometry((3, 1, 1, 560), 20, (1, 31), (1, 10), pool=((1, 9), (1, 3))),
    "heurinet conv2": Geometry((2, 20, 1, 90), 12, (1, 15), (1, 4), pool=((1, 9), (1, 4))),
    "mstnet conv1": Geometry((3, 1, 1, 96), 18, (1, 32), (1, 16), padding=((0, 0), (8, 8))),
    "mstnet conv2": Geometry((2, 16, 1, 21), 24, (1, 3), padding=((0, 0), (1, 1))),
    "piczak conv1": Geometry((3, 1, 20, 17), 20, (17, 6), pool=((4, 3), (1, 3))),
    "piczak conv2": Geometry((5, 16, 1, 12), 16, (1, 3), pool=((1, 3), (1, 3))),
}
some = pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)


def draw(geometry, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((geometry.out, geometry.x[1], *geometry.kernel)).astype(dtype)
    return rng.standard_normal(geometry.x).astype(dtype), weight, rng.standard_normal(geometry.out).astype(dtype), rng


def check_forward(geometry, x, weight, bias, host):
    """y within rounding of the definition, and its argmax a place where the definition's map is as large."""
    y, saved = cuda.conv_block_forward(x, weight, bias, geometry.stride, geometry.padding, "relu", geometry.pool)
    expected, _ = reference.conv_block_forward(
        x, weight, bias, geometry.stride, geometry.padding, "relu", geometry.pool
    )
    full = reference.conv2d_forward(x, weight, bias, geometry.stride, geometry.padding)
    error = forward_bound(x, weight, bias, geometry.stride, geometry.padding, host.tensor_cores)
    assert_within(y, expected, error.max(axis=(2, 3), keepdims=True))
    if geometry.pool is not None:
        argmax = saved.argmax
        assert ((argmax == -1) == (y == 0)).all()
        flat = full.reshape(*full.shape[:2], -1)
        there = np.take_along_axis(flat, np.maximum(argmax, 0).reshape(*y.shape[:2], -1), axis=2).reshape(y.shape)
        assert_within(np.where(argmax >= 0, there, 0), y, error.max(axis=(2, 3), keepdims=True))
    return saved


def check_backward(geometry, x, weight, saved, dy, host):
    """dx, dweight, dbias from the device's own argmax, against the definition."""
    dx, dweight, dbias = cuda.conv_block_backward(dy, saved, x, weight, geometry.stride, geometry.padding, True, True)
    if saved.pool is None:
        dmap = reference.relu_backward(dy, saved.y)
    else:
        size = reference.conv2d_forward(x[:1], weight[:1], None, geometry.stride, geometry.padding).shape[2:]
        cut = np.where(saved.argmax >= 0, dy, dy.dtype.type(0))
        dmap = reference.maxpool2d_backward(cut, np.maximum(saved.argmax, 0), size)
    how = geometry.stride, geometry.padding
    expected = reference.conv2d_backward_input(dmap, weight, x.shape[2:], *how)
    args = dmap, weight, x.shape[2:], *how
    assert_within(
        dx, expected, bound(weight[:, 0].size, x.dtype, host.tensor_cores, reference.conv2d_backward_input, *args)
    )
    expected = reference.conv2d_backward_weight(x, dmap, weight.shape[2:], *how)
    args = x, dmap, weight.shape[2:], *how
    terms = dmap[:, 0].size
    error = [
        bound(terms, x.dtype, host.tensor_cores, lambda *a, i=i: reference.conv2d_backward_weight(*a)[i], *args)
        for i in (0, 1)
    ]
    assert_within(dweight, expected[0], error[0])
    assert_within(dbias, expected[1], error[1])


@some
def test_block(geometry, any_host):
    x, weight, bias, rng = draw(geometry)
    saved = check_forward(geometry, x, weight, bias, any_host)
    shape = saved.y.shape if saved.pool is None else saved.argmax.shape
    check_backward(geometry, x, weight, saved, rng.standard_normal(shape).astype(x.dtype), any_host)


@pytest.mark.parametrize("name, size", [
    ("heurinet conv1", "small"), ("odd strides", "small"), ("piczak conv1", "small"), ("many tiles", "middle"),
])  # fmt: skip
def test_block_on_a_small_gpu(name, size, devices):
    """With 48 KB of shared memory, tiles and stages shrink; with 81 KB, a result needs more room than two slices."""
    geometry = {**GEOMETRIES, "many tiles": Geometry((1, 2, 30, 40), 64, (2, 2), pool=((2, 2), (1, 1)))}[name]
    with device.using(devices[size]) as host:
        x, weight, bias, rng = draw(geometry)
        saved = check_forward(geometry, x, weight, bias, host)
        check_backward(geometry, x, weight, saved, rng.standard_normal(saved.argmax.shape).astype(x.dtype), host)


@pytest.mark.parametrize("tensor_cores", [False, True])
def test_a_result_leaves_in_rounds(tensor_cores, build_dir):
    """Where shared memory does not hold all 48 channels of a warp at once: 32, then 16; in any order of the threads."""
    geometry = Geometry((1, 2, 20, 24), 96, (2, 2), pool=((2, 2), (1, 1)))
    with device.using(HostDevice(build_dir, tensor_cores=tensor_cores, shared_limit=24 * 1024)) as host:
        for host.order in (0, 1, 2):
            check_forward(geometry, *draw(geometry)[:3], host)
        defines = host.launches[-1][2]
        host.close()
    assert (defines["TILE_M"], defines["WARPS_M"], defines["ROUND"]) == (96, 2, 32)


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


@pytest.mark.parametrize("tile, size", [((2, 3), 64), ((2, 3), 128), ((1, 4), 64), ((5, 2), 64)], ids=str)
@pytest.mark.parametrize("blocks", [264, 2])
def test_no_tiling_shows(blocks, tile, size, build_dir, monkeypatch):
    """Tiles of any shape, which overhang the map at its ends, one or several to a group; one or several to a block.

    Behind the map no position may be taken for one, though it still begins in x: the last row and column, which no
    window reaches, are NaN.
    """
    monkeypatch.setattr(conv_plan, "MULTIPROCESSORS", blocks)
    geometry = Geometry((2, 2, 23, 31), 5, (2, 2), (2, 2), pool=((3, 3), (2, 2)))  # 5 × 7 pooled values
    span = (2 * tile[0] + 1) * (2 * tile[1] + 1)
    tiles = geometry.x[0] * -(-5 // tile[0]) * -(-7 // tile[1])
    tiling = conv_plan.Tiling(size, size // span, *tile, -(-tiles // (size // span)))
    best = conv_plan.best_tiling
    monkeypatch.setattr(conv_plan, "best_tiling", lambda *args: tiling if args[2] == geometry.pool else best(*args))
    x, weight, bias, rng = draw(geometry)
    x[:, :, 22], x[..., 30] = np.nan, np.nan
    with device.using(HostDevice(build_dir)) as host:  # a new one has no plans
        saved = check_forward(geometry, x, weight, bias, host)
        check_backward(geometry, x, weight, saved, rng.standard_normal(saved.argmax.shape).astype(x.dtype), host)
        host.close()


@pytest.mark.parametrize(
    "name", ["mstnet conv1", "padding beyond the kernel", "tiles over both sides of the weights", "a pool of one value"]
)
@pytest.mark.parametrize("blocks", [0, 264])
def test_one_block_takes_all_tiles(name, blocks, any_host, monkeypatch):
    """The next tile comes into one buffer while the other is multiplied; or many blocks share them."""
    monkeypatch.setattr(conv_plan, "MULTIPROCESSORS", blocks)
    geometry = GEOMETRIES[name]._replace(x=(20, *GEOMETRIES[name].x[1:]))
    x, weight, bias, rng = draw(geometry)
    saved = check_forward(geometry, x, weight, bias, any_host)
    shape = saved.y.shape if saved.pool is None else saved.argmax.shape
    check_backward(geometry, x, weight, saved, rng.standard_normal(shape).astype(x.dtype), any_host)


@pytest.mark.parametrize("pool", [None, ((2, 2), (2, 2))], ids=str)
@pytest.mark.parametrize("short", [0, 1])
def test_a_gpu_with_room_for_just_so_much(pool, short, build_dir, monkeypatch):
    """A tile of the weight gradient is as wide as shared memory holds, to the byte."""
    monkeypatch.setattr(conv_weight_gradient, "POSITIONS", (16,))
    geometry = Geometry((2, 5, 9, 9), 20, (3, 3), pool=pool)
    x, weight, bias, rng = draw(geometry)
    how = geometry.stride, geometry.padding
    with device.using(HostDevice(build_dir)) as host:
        y, saved = cuda.conv_block_forward(x, weight, bias, *how, "relu", pool)
        dy = rng.standard_normal(y.shape).astype(x.dtype)
        _, *expected = cuda.conv_block_backward(dy, saved, x, weight, *how, False, True)
        values = 0
        if pool is not None:
            tiling = conv_plan.best_tiling(2, (3, 3), pool, [16])
            values = tiling.groups * tiling.tile_rows * tiling.tile_columns
        host.shared_limit = conv_plan.gradient_shared(32, 64, 16, 4, values, 4, 2) - short
        conv_weight_gradient._plan_weight_gradient.cache_clear()
        _, *found = cuda.conv_block_backward(dy, saved, x, weight, *how, False, True)
        defines = host.launches[-2][2]
        host.close()
    assert defines["TILE_K"] == (32 if short else 64) and defines["STAGES"] == 2 and defines["TILE_P"] == 16
    for a, b in zip(found, expected):
        assert_within(a, b, 2 * 100 * 2.0**-24 * 98 * 25)  # two sums of 98 products, each factor under 5


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
