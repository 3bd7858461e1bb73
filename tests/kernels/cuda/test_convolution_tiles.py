"""The convolution kernels, however a map is cut into tiles: by small GPUs, few blocks, tiles of any shape."""

import numpy as np
import pytest

from scratchnet.kernels import cuda
from scratchnet.kernels.cuda import conv_forward_plan, conv_tiling, conv_weight_gradient_plan, device
from scratchnet.kernels.cuda.host import HostDevice
from tests.kernels.cuda.convolutions import GEOMETRIES, Geometry, check_backward, check_forward, draw
from tests.support import assert_within


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
@pytest.mark.parametrize("channels, shared", [(96, 24), (128, 28)])
def test_a_result_leaves_in_rounds(channels, shared, tensor_cores, build_dir):
    """Where shared memory does not hold all 48 (64) channels of a warp at once: 32, then the rest; in any order of the
    threads."""
    geometry = Geometry((1, 2, 20, 24), channels, (2, 2), pool=((2, 2), (1, 1)))
    with device.using(HostDevice(build_dir, tensor_cores=tensor_cores, shared_limit=shared * 1024)) as host:
        for host.order in (0, 1, 2):
            check_forward(geometry, *draw(geometry)[:3], host)
        defines = host.launches[-1][2]
        host.close()
    assert (defines["TILE_M"], defines["WARPS_M"], defines["ROUND"]) == (channels, 2, 32)


@pytest.mark.parametrize("tile, size", [((2, 3), 64), ((2, 3), 128), ((1, 4), 64), ((5, 2), 64)], ids=str)
@pytest.mark.parametrize("blocks", [264, 2])
def test_no_tiling_shows(blocks, tile, size, build_dir, monkeypatch):
    """Tiles of any shape, which overhang the map at its ends, one or several to a group; one or several to a block.

    Behind the map no position may be taken for one, though it still begins in x: the last row and column, which no
    window reaches, are NaN.
    """
    monkeypatch.setattr(conv_tiling, "MULTIPROCESSORS", blocks)
    geometry = Geometry((2, 2, 23, 31), 5, (2, 2), (2, 2), pool=((3, 3), (2, 2)))  # 5 × 7 pooled values
    span = (2 * tile[0] + 1) * (2 * tile[1] + 1)
    tiles = geometry.x[0] * -(-5 // tile[0]) * -(-7 // tile[1])
    tiling = conv_tiling.Tiling(size, size // span, *tile, -(-tiles // (size // span)))
    best = conv_tiling.best_tiling
    monkeypatch.setattr(conv_tiling, "best_tiling", lambda *args: tiling if args[2] == geometry.pool else best(*args))
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
    monkeypatch.setattr(conv_tiling, "MULTIPROCESSORS", blocks)
    geometry = GEOMETRIES[name]._replace(x=(20, *GEOMETRIES[name].x[1:]))
    x, weight, bias, rng = draw(geometry)
    saved = check_forward(geometry, x, weight, bias, any_host)
    shape = saved.y.shape if saved.pool is None else saved.argmax.shape
    check_backward(geometry, x, weight, saved, rng.standard_normal(shape).astype(x.dtype), any_host)


@pytest.mark.parametrize("pool", [None, ((2, 2), (2, 2))], ids=str)
@pytest.mark.parametrize("short", [0, 1])
def test_a_gpu_with_room_for_just_so_much(pool, short, build_dir, monkeypatch):
    """A tile of the weight gradient is as wide as shared memory holds, to the byte."""
    monkeypatch.setattr(conv_weight_gradient_plan, "POSITIONS", (16,))
    geometry = Geometry((2, 5, 9, 9), 20, (3, 3), pool=pool)
    x, weight, bias, rng = draw(geometry)
    how = geometry.stride, geometry.padding
    with device.using(HostDevice(build_dir)) as host:
        y, saved = cuda.conv_block_forward(x, weight, bias, *how, "relu", pool)
        dy = rng.standard_normal(y.shape).astype(x.dtype)
        _, *expected = cuda.conv_block_backward(dy, saved, x, weight, *how, False, True)
        values = 0
        if pool is not None:
            tiling = conv_tiling.best_tiling(2, (3, 3), pool, [16])
            values = tiling.groups * tiling.tile_rows * tiling.tile_columns
        host.shared_limit = conv_weight_gradient_plan.shared_memory(32, 64, 16, 4, values, 4, 2) - short
        conv_weight_gradient_plan.plan_gradient.cache_clear()
        _, *found = cuda.conv_block_backward(dy, saved, x, weight, *how, False, True)
        defines = host.launches[-2][2]
        host.close()
    assert defines["TILE_K"] == (32 if short else 64) and defines["STAGES"] == 2 and defines["TILE_P"] == 16
    for a, b in zip(found, expected):
        assert_within(a, b, 2 * 100 * 2.0**-24 * 98 * 25)  # two sums of 98 products, each factor under 5


@pytest.mark.parametrize("tensor_cores", [False, True])
@pytest.mark.parametrize("window", [0, 1])
def test_a_warp_with_the_widest_piece(window, tensor_cores, build_dir, monkeypatch):
    """64 channels in a tile of 256 positions: each warp has 32 × 64 of them; with patches, and with a window."""
    monkeypatch.setattr(conv_forward_plan, "WIDTHS", (256,))
    patches = Geometry((1, 2, 18, 19), 64, (2, 2), pool=((2, 2), (1, 1)))
    geometry = Geometry((1, 1, 1, 2700), 64, (1, 99), (1, 10), pool=((1, 9), (1, 3))) if window else patches
    with device.using(HostDevice(build_dir, tensor_cores=tensor_cores)) as host:
        check_forward(geometry, *draw(geometry)[:3], host)
        defines = host.launches[-1][2]
        host.close()
    assert (defines["TILE_M"], defines["WARPS_M"], defines["TILE_N"] // defines["WARPS_N"]) == (64, 2, 64)
    assert defines["WINDOW"] == window


@pytest.mark.parametrize("tensor_cores", [False, True])
def test_a_warp_with_the_widest_piece_of_a_gradient(tensor_cores, build_dir, monkeypatch):
    """Four warps over 64 channels and 160 taps of a window: each has 80 of them."""
    monkeypatch.setattr(conv_weight_gradient_plan, "tile_widths", lambda *_: [160])
    geometry = Geometry((1, 1, 1, 400), 64, (1, 160), (1, 2), pool=((1, 9), (1, 3)))
    x, weight, bias, rng = draw(geometry)
    with device.using(HostDevice(build_dir, tensor_cores=tensor_cores)) as host:
        saved = check_forward(geometry, x, weight, bias, host)
        check_backward(geometry, x, weight, saved, rng.standard_normal(saved.argmax.shape).astype(x.dtype), host)
        defines = next(d for _, kernel, d in host.launches if kernel == "conv_weight_gradient")
        host.close()
    assert (defines["WINDOW"], defines["TILE_K"] // defines["WARPS_K"]) == (1, 80)
