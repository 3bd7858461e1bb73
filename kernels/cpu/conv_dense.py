"""Convolution through BLAS: windows are copied side by side (im2col), a few samples at a time, and multiplied.

For gradients that are not sparse, and for layers with many output channels, whose weights fill the cache.
"""

from __future__ import annotations

import numpy as np

from scratchnet.kernels.cpu import lowering, parallel
from scratchnet.kernels.cpu.parallel import scratch

COLUMN_BYTES = 4 << 20  # of windows side by side, multiplied at a time


def forward(x, weight, bias, stride, padding, relu):
    """y (N, O, H', W'), of channels-last memory; with `relu`, cut at 0."""
    n, channels, height, width = x.shape
    geometry = lowering.lower(channels, (height, width), weight.shape[2:], stride, padding)
    rows = lowering.rows_of(weight)
    y = parallel.empty((n, geometry.positions, len(weight)), x.dtype)
    samples = _piece(geometry, n)

    def piece(i: int) -> None:
        begin, end = i * samples, min(n, (i + 1) * samples)
        out = y[begin:end].reshape(-1, len(weight))
        np.matmul(_im2col(geometry, x[begin:end], stride), rows.T, out=out)
        if bias is not None:
            out += bias
        if relu:
            np.maximum(out, 0, out=out)

    parallel.run(piece, -(-n // samples))
    return y.reshape(n, geometry.rows, geometry.columns, -1).transpose(0, 3, 1, 2)


def backward_weight(x, dy, kernel_size, stride, padding, y=None):
    """See `reference.conv2d_backward_weight`: dweight = dyᵀ · im2col(x). With y, dy counts where y > 0 (ReLU)."""
    n, channels, height, width = x.shape
    geometry = lowering.lower(channels, (height, width), tuple(kernel_size), stride, padding)
    shape = (dy.shape[1], channels, *kernel_size)
    dweights = np.zeros((parallel.PARTS, dy.shape[1], geometry.runs * geometry.run_length), x.dtype)
    dbiases = np.zeros((parallel.PARTS, dy.shape[1]), x.dtype)
    samples = _piece(geometry, n)

    def part(p: int) -> None:
        begin, end = parallel.part(p, n)
        for s in range(begin, end, samples):
            stop = min(s + samples, end)
            rows = _rows_of_map(dy, y, s, stop)
            dweights[p] += rows.T @ _im2col(geometry, x[s:stop], stride)
            dbiases[p] += rows.sum(axis=0)

    parallel.run(part, parallel.PARTS)
    return lowering.weight_of(dweights.sum(axis=0), shape), dbiases.sum(axis=0)


def backward_input(dy, weight, size, stride, padding, y=None):
    """See `reference.conv2d_backward_input`: dwindows = dy · weight, added up where they overlap. y: as above."""
    n, channels = len(dy), weight.shape[1]
    geometry = lowering.lower(channels, tuple(size), weight.shape[2:], stride, padding)
    rows = lowering.rows_of(weight)
    dx = parallel.empty((n, *size, channels), dy.dtype).transpose(0, 3, 1, 2)
    samples = _piece(geometry, n)
    kh, kw = weight.shape[2:]
    (sh, sw), (out_h, out_w) = stride, dy.shape[2:]

    def piece(i: int) -> None:
        begin, end = i * samples, min(n, (i + 1) * samples)
        dy_rows = _rows_of_map(dy, y, begin, end)
        product = scratch("columns", (len(dy_rows), rows.shape[1]), dy.dtype)
        dwindows = np.matmul(dy_rows, rows, out=product).reshape(-1, out_h, out_w, kh, kw, channels)
        buffer = geometry.buffer(end - begin, dy.dtype)
        buffer[:] = 0
        full = buffer[: -lowering.SLACK].reshape(-1, geometry.height, geometry.width, channels)
        for a in range(kh):
            for b in range(kw):
                taken = full[:, a : a + (out_h - 1) * sh + 1 : sh, b : b + (out_w - 1) * sw + 1 : sw]
                taken += dwindows[:, :, :, a, b]
        dx[begin:end] = geometry.image(buffer, end - begin, size)

    parallel.run(piece, -(-n // samples))
    return dx


def _piece(geometry, n):
    """How many samples make a matrix that is large enough for BLAS."""
    return max(1, min(n, COLUMN_BYTES // (4 * geometry.positions * geometry.runs * geometry.run_length)))


def _im2col(geometry, x, stride):
    """The windows of x (S, C, H, W), copied side by side: (S · positions, taps)."""
    buffer = geometry.buffer(len(x), x.dtype)
    geometry.fill(buffer, x)
    windows = geometry.windows(buffer, len(x), stride)
    columns = scratch("columns", windows.shape, x.dtype)
    columns[...] = windows
    return columns.reshape(len(x) * geometry.positions, -1)


def _rows_of_map(dy, y, begin, end):
    """dy[begin:end], 0 where y is not positive, as a matrix (S · positions, O)."""
    rows = np.ascontiguousarray(dy[begin:end].transpose(0, 2, 3, 1)).reshape(-1, dy.shape[1])
    return rows if y is None else rows * (y[begin:end].transpose(0, 2, 3, 1).reshape(rows.shape) > 0)
