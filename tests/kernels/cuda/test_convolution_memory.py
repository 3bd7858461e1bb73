"""The convolution kernels, run on the CPU, on arrays that lie anyhow in memory: views, gaps, odd beginnings.

Two or four numbers may be brought together only where they lie together, begin at a multiple of as many and are inside
of the image, or outside, together.
"""

import numpy as np
import pytest

from scratchnet.kernels import cuda
from tests.kernels.cuda.convolutions import GEOMETRIES, Geometry, check_backward, check_forward, draw
from tests.support import assert_within


def views(x):
    """The same values in other memory: channels last, and so shifted by one element, rows contiguous, every second
    column, turned round, shifted by one element."""
    yield x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
    shifted = (
        np.full(x.size + 1, np.nan, x.dtype)[1:].reshape(*x.shape[:1], *x.shape[2:], x.shape[1]).transpose(0, 3, 1, 2)
    )
    shifted[...] = x
    yield shifted
    yield x.transpose(0, 1, 3, 2).copy().transpose(0, 1, 3, 2)
    wide = np.full((*x.shape[:3], 2 * x.shape[3]), np.nan, x.dtype)
    wide[..., ::2] = x
    yield wide[..., ::2]
    yield x[:, :, ::-1, ::-1].copy()[:, :, ::-1, ::-1]
    shifted = np.full(x.size + 1, np.nan, x.dtype)
    shifted[1:] = x.reshape(-1)
    yield shifted[1:].reshape(x.shape)


@pytest.mark.parametrize("name", ["heurinet conv1", "heurinet conv2", "odd strides"])
def test_any_strides(name, host):
    geometry = GEOMETRIES[name]
    x, weight, bias, rng = draw(geometry)
    for view in views(x):
        saved = check_forward(geometry, view, weight, bias, host)
        dy = rng.standard_normal(saved.argmax.shape).astype(x.dtype)
        check_backward(geometry, view, weight, saved, dy, host)
    for view in views(dy):
        check_backward(geometry, x, weight, saved, view, host)


@pytest.mark.parametrize("gap", [(0, 1), (1, 0), (2, 1), (2, 2)], ids=str)
@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("width", [1, 4])
def test_a_view_of_some_channels_or_columns(gap, stride, width, host):
    """Channels that lie together may be brought together only where each position begins as they are aligned."""
    wide = np.random.default_rng(0).standard_normal((2, 1, 11 + gap[1], 4 + gap[0])).astype(np.float32)
    x = wide[:, :, :11, :4].transpose(0, 3, 1, 2)
    for left in (0, 1, 2):
        geometry = Geometry(x.shape, 4, (1, width), (1, stride), ((0, 0), (left, 3)))
        _, weight, bias, rng = draw(geometry)
        saved = check_forward(geometry, x, weight, bias, host)
        check_backward(geometry, x, weight, saved, rng.standard_normal(saved.y.shape).astype(x.dtype), host)


@pytest.mark.parametrize("row_gap, sample_gap", [(0, 0), (2, 0), (2, 2), (0, 2), (0, 4)])
@pytest.mark.parametrize("stride, top", [((2, 1), 0), ((2, 1), 1), ((1, 2), 0), ((4, 4), 2)], ids=str)
@pytest.mark.parametrize("height", [1, 2])
def test_a_view_of_some_rows_or_samples(row_gap, sample_gap, stride, top, height, host):
    row = 4 * 7 + row_gap
    sample = 5 * row + sample_gap
    memory = np.random.default_rng(0).standard_normal(2 * sample).astype(np.float32)
    x = np.lib.stride_tricks.as_strided(memory, (2, 4, 5, 7), [4 * n for n in (sample, 1, row, 4)])
    geometry = Geometry(x.shape, 4, (height, 4), stride, ((top, 0), (0, 1)))
    _, weight, bias, rng = draw(geometry)
    saved = check_forward(geometry, x, weight, bias, host)
    check_backward(geometry, x, weight, saved, rng.standard_normal(saved.y.shape).astype(x.dtype), host)


@pytest.mark.parametrize("rows, top, bottom", [(10, 0, 2), (9, 0, 3), (12, 0, 0), (8, 4, 4), (10, 2, 0)])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("apart", [False, True])
def test_chunks_that_run_down_the_rows(rows, top, bottom, turned, apart, host):
    """Where rows lie together (turned: columns), a chunk of them must end where the image does; also where the next
    one begins at a multiple of four."""
    geometry = Geometry((2, 1, 8, rows), 4, (3, 4), (4, 4), ((0, 0), (top, bottom)))
    x, weight, bias, rng = draw(geometry)
    memory = np.full((2, 1, 8, 12 if apart else rows), np.nan, x.dtype)
    memory[..., :rows] = x
    x = memory[..., :rows]
    if not turned:
        x, weight = x.transpose(0, 1, 3, 2), weight.transpose(0, 1, 3, 2)
        geometry = geometry._replace(x=x.shape, kernel=(4, 3), padding=((top, bottom), (0, 0)))
    saved = check_forward(geometry, x, weight, bias, host)
    check_backward(geometry, x, weight, saved, rng.standard_normal(saved.y.shape).astype(x.dtype), host)


@pytest.mark.parametrize("row, first, gap", [(9, 0, 0), (10, 0, 0), (8, 1, 0), (8, 2, 0), (8, 0, 1), (8, 0, 2)])
@pytest.mark.parametrize("step, top", [(1, 0), (4, 1)])
def test_rows_that_begin_anywhere(row, first, gap, step, top, host):
    """Four numbers of a row lie together, but not every row, or sample, begins at a multiple of four, or of two."""
    sample = 4 * row + gap
    memory = np.random.default_rng(0).standard_normal(first + 2 * sample).astype(np.float32)[first:]
    x = np.lib.stride_tricks.as_strided(memory, (2, 1, 4, 8), [4 * n for n in (sample, 4 * row, row, 1)])
    geometry = Geometry(x.shape, 3, (1, 4), (step, 4), ((top, 0), (0, 0)))
    _, weight, bias, rng = draw(geometry)
    saved = check_forward(geometry, x, weight, bias, host)
    check_backward(geometry, x, weight, saved, rng.standard_normal(saved.y.shape).astype(x.dtype), host)


def test_a_gradient_that_lies_askew(host):
    """dy of four channels, not aligned to as many."""
    x, dy = draw(Geometry((2, 3, 5, 6), 1, (2, 2)))[0], draw(Geometry((2, 4, 4, 5), 1, (1, 1)))[0]
    memory = np.zeros(dy.size + 1, dy.dtype)[1:].reshape(2, 4, 5, 4).transpose(0, 3, 1, 2)
    memory[...] = dy
    for found, expected in zip(
        cuda.conv2d_backward_weight(x, memory, (2, 2), (1, 1), ((0, 0), (0, 0))),
        cuda.conv2d_backward_weight(x, dy, (2, 2), (1, 1), ((0, 0), (0, 0))),
    ):
        assert_within(found, expected, 2 * 42 * 2.0**-24 * 40 * 25)  # two sums of 40 products, each factor under 5


def test_an_input_gradient_of_what_lies_askew(host):
    """dy begins one number behind a multiple of 256 bytes."""
    dy, weight = draw(Geometry((2, 4, 4, 5), 1, (1, 1)))[0], draw(Geometry((2, 3, 5, 6), 4, (2, 2)))[1]
    room = np.zeros(dy.size + 65, dy.dtype)
    first = -room.__array_interface__["data"][0] % 256 // 4 + 1
    memory = room[first : first + dy.size].reshape(2, 4, 5, 4).transpose(0, 3, 1, 2)
    memory[...] = dy
    how = weight, [5, 6], [1, 1], [[0, 0], [0, 0]]  # lists are as good as tuples
    found, expected = cuda.conv2d_backward_input(memory, *how), cuda.conv2d_backward_input(dy, *how)
    assert_within(found, expected, 2 * 18 * 2.0**-24 * 16 * 25)  # two sums of 16 products, each factor under 5


def test_lists_are_as_good_as_tuples(host):
    x, weight, bias, _ = draw(Geometry((2, 3, 9, 8), 4, (2, 2)))
    results = []
    for kind in (tuple, list):
        stride, padding = kind((1, 2)), kind((kind((0, 1)), kind((1, 0))))
        pool = kind((kind((3, 3)), kind((2, 1))))
        y, saved = cuda.conv_block_forward(x, weight, bias, stride, padding, "relu", pool)
        results.append((y, *cuda.conv_block_backward(y, saved, x, weight, stride, padding, True, True)))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("period, beginning", [(240, 60), (272, 68)])
def test_a_gradient_that_begins_beside_a_multiple_of_16_bytes(period, beginning, host):
    """Of four channels, which are brought together where they are aligned; it begins at one of 15, or of 17."""
    geometry = GEOMETRIES["mstnet conv2"]._replace(out=4)
    x, weight, bias, rng = draw(geometry)
    saved = check_forward(geometry, x, weight, bias, host)
    memory = np.empty(saved.y.size + period // 4, np.float32)
    first = next(i for i in range(period // 4) if (memory.ctypes.data + 4 * i) % period == beginning)
    n, channels, *size = saved.y.shape
    dy = memory[first : first + saved.y.size].reshape(n, *size, channels).transpose(0, 3, 1, 2)
    dy[...] = rng.standard_normal(dy.shape)
    dx = cuda.conv2d_backward_input(dy, weight, x.shape[2:], geometry.stride, geometry.padding)
    aligned = cuda.conv2d_backward_input(dy.copy(), weight, x.shape[2:], geometry.stride, geometry.padding)
    np.testing.assert_array_equal(dx, aligned)
