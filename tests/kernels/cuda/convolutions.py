"""Convolutions that the tests of CUDA kernels run, and how their results are held against the definition."""

from typing import NamedTuple

import numpy as np

from scratchnet.kernels import cuda, reference
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
    "two tiles of channels, four at a time": Geometry((1, 2, 5, 6), 136, (2, 2)),
    "two tiles of channels behind a pool": Geometry((1, 2, 5, 6), 136, (2, 2), pool=((2, 2), (2, 1))),
    "80 channels": Geometry((1, 2, 5, 6), 80, (2, 2), pool=((2, 2), (1, 1))),
    "a depth that fills its tile": Geometry((3, 2, 9, 9), 16, (4, 4)),
    "padding at the bottom of a wide image": Geometry((2, 3, 5, 14), 5, (3, 2), padding=((0, 2), (0, 0))),
    "padding at the right of an upright image": Geometry((2, 3, 14, 5), 5, (2, 3), padding=((0, 0), (0, 2))),
    "stride beyond the kernel": Geometry((2, 3, 11, 13), 5, (2, 3), (4, 5)),
    "one kernel, stride beyond it": Geometry((2, 1, 6, 11), 1, (2, 2), (3, 4)),
    "odd strides": Geometry((2, 3, 13, 17), 7, (3, 5), (2, 3), ((1, 2), (3, 0)), ((2, 3), (3, 2))),
    "padding beyond the kernel": Geometry((2, 2, 3, 2), 5, (2, 2), (1, 2), ((3, 1), (0, 5))),
    "overlapping pool in two directions": Geometry((2, 2, 9, 12), 5, (2, 3), pool=((3, 3), (1, 2))),
    "a maximum of nine windows": Geometry((2, 1, 1, 60), 16, (1, 3), pool=((1, 9), (1, 1))),
    "a pool of one value": Geometry((2, 2, 1, 20), 5, (1, 3), pool=((1, 1), (1, 2))),
    "a pool down the rows": Geometry((2, 2, 14, 6), 5, (3, 2), pool=((3, 1), (2, 1))),
    "a pool beyond a tile": Geometry((1, 2, 20, 30), 3, (2, 2), pool=((15, 20), (2, 4))),
    "tiles over both sides of the weights": Geometry((2, 33, 5, 6), 131, (2, 2), pool=((2, 2), (2, 1))),
    "stride beyond the map": Geometry((2, 2, 3, 2), 3, (2, 2), (4, 5)),
    "a depth as wide as the widest tile": Geometry((2, 16, 1, 40), 20, (1, 15), (1, 4), pool=((1, 2), (1, 2))),
    # One channel: a tile's input is copied once where its windows overlap enough, with zeros around it.
    "windows over the padding": Geometry((3, 1, 1, 200), 6, (1, 41), (1, 3), ((0, 0), (20, 17)), ((1, 4), (1, 4))),
    "windows in two directions": Geometry((2, 1, 30, 40), 5, (7, 6), (2, 1), ((3, 2), (1, 4)), ((2, 3), (3, 2))),
    "windows whose columns lie apart": Geometry((1, 1, 1, 700), 64, (1, 99), (1, 10), pool=((1, 9), (1, 3))),
    "windows of an odd number": Geometry((3, 1, 1, 200), 6, (1, 41), (1, 2), pool=((1, 5), (1, 1))),
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
