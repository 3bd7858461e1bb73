"""Convolution + bias + ReLU + max-pool in one pass over a few samples, without im2col.

The register kernel keeps 4 positions × a row of 3 to 5 vectors of output channels in registers and walks once along the four
windows; the windows overlap in memory and are read where they lie. The convolution's map of a few samples stays in the
cache until it is pooled; only the pooled values and their places are written out.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from scratchnet.kernels.cpu import lowering, parallel
from scratchnet.kernels.cpu.parallel import scratch
from scratchnet.kernels.cpu.vectors import exceeds, fma, lanes_of, load, row, splat, splat_int, store, where


def forward(x, weight, bias, stride, padding, relu, pool, turned=False):
    """See `reference.conv_block_forward`. y and argmax are (N, O, H', W') views of channels-last memory.

    With `turned`, rows and columns are exchanged: of equal values the first column's wins, not the first row's.
    """
    n, channels, height, width = x.shape
    out_channels, _, kh, kw = weight.shape
    geometry = lowering.lower(channels, (height, width), (kh, kw), stride, padding)
    kernel, step = pool or ((1, 1), (1, 1))
    rows, columns = (geometry.rows - kernel[0]) // step[0] + 1, (geometry.columns - kernel[1]) // step[1] + 1
    y = parallel.empty((n, rows, columns, out_channels), x.dtype)
    argmax = parallel.empty(y.shape, np.int32)
    vectors = _vectors(-(-out_channels // lanes_of(x.dtype)))
    like = (0,) * vectors  # tells the kernel at compile time
    panels = _pack(lowering.rows_of(weight), bias, vectors * lanes_of(x.dtype), x.dtype)
    walk = (kernel[0], geometry.columns), (kernel[1], 1)  # through a window: how many, how far apart; outer, inner
    window = np.array([geometry.columns, *step, relu, *walk[turned], *walk[not turned]])
    samples = geometry.piece(n)

    def piece(i: int) -> None:
        part = slice(i * samples, min(n, (i + 1) * samples))
        buffer = geometry.buffer(samples, x.dtype)
        geometry.fill(buffer, x[part])
        conv_map = scratch("map", (len(geometry.offsets), len(panels) * panels.shape[2]), x.dtype)
        shape = np.array([geometry.sample_size, geometry.runs, geometry.row_step, geometry.run_length])
        _block(buffer, shape, geometry.offsets, panels, like, conv_map, window, y[part], argmax[part])

    parallel.run(piece, -(-n // samples))
    return y.transpose(0, 3, 1, 2), argmax.transpose(0, 3, 1, 2)


def _vectors(needed):
    """How many vectors of channels a panel has, of 3, 4 or 5: as few idle lanes as can be, then as many as can be."""
    return min((5, 4, 3), key=lambda v: (-needed % v, -v))


def _pack(rows, bias, width, dtype):
    """Weights (O, K) and bias as panels of `width` channels: (panels, 1 + K, width), the bias first."""
    out_channels, taps = rows.shape
    count = -(-out_channels // width)
    packed = parallel.zeros((count, 1 + taps, width), dtype)
    for panel, first in zip(packed, range(0, out_channels, width)):
        part = slice(first, min(first + width, out_channels))
        panel[1:, : part.stop - first] = rows[part].T
        if bias is not None:
            panel[0, : part.stop - first] = bias[part]
    return packed


def _convolve(buffer, offsets, runs, row_step, run_length, panels, like, conv_map):
    """conv_map[p, o] = bias[o] + Σ over the window at offsets[p]; 4 positions × a row of channels at a time."""
    width = panels.shape[2]
    out = conv_map.reshape(-1)
    for g in range(len(panels)):
        panel = panels[g].reshape(-1)
        for p in range(0, len(offsets), 4):
            a = b = c = d = row(panel, 0, like)
            at = width
            for run in range(runs):
                shift = run * row_step
                ia, ib = offsets[p] + shift, offsets[p + 1] + shift
                ic, id = offsets[p + 2] + shift, offsets[p + 3] + shift
                for k in range(run_length):
                    weights = row(panel, at, like)
                    at += width
                    a = fma(splat(buffer[ia + k]), weights, a)
                    b = fma(splat(buffer[ib + k]), weights, b)
                    c = fma(splat(buffer[ic + k]), weights, c)
                    d = fma(splat(buffer[id + k]), weights, d)
            first, step = p * conv_map.shape[1] + g * width, conv_map.shape[1]
            store(out, first, a)
            store(out, first + step, b)
            store(out, first + 2 * step, c)
            store(out, first + 3 * step, d)


_convolve = njit(nogil=True, cache=True)(_convolve)


def _pool(conv_map, window, y, argmax):
    """y[i, j, o] = the window's maximum (ReLU: at least 0), argmax its position in conv_map, −1 where ReLU cut it."""
    columns, sh, sw, relu, outer, outer_step, inner, inner_step = window
    rows_out, columns_out, out_channels = y.shape
    lanes = 64 // conv_map.itemsize
    width = conv_map.shape[1]
    values = conv_map.reshape(-1)
    best, place = np.empty(width, conv_map.dtype), np.empty(width, np.int32)
    for i in range(rows_out):
        for j in range(columns_out):
            first = i * sh * columns + j * sw
            for o in range(0, width, lanes):
                top = load(values, first * width + o)
                where_top = splat_int(top, first)
                for a in range(outer):
                    for b in range(inner):
                        p = first + a * outer_step + b * inner_step
                        value = load(values, p * width + o)
                        greater = exceeds(value, top)
                        top, where_top = where(greater, value, top), where(greater, splat_int(value, p), where_top)
                store(best, o, top)
                store(place, o, where_top)
            for o in range(out_channels):
                cut = relu & (best[o] <= 0)
                y[i, j, o] = 0 if cut else best[o]
                argmax[i, j, o] = -1 if cut else place[o]


_pool = njit(nogil=True, cache=True)(_pool)


def _block(buffer, shape, offsets, panels, like, conv_map, window, y, argmax):
    """Convolution and pool, sample by sample."""
    sample_size, runs, row_step, run_length = shape
    for s in range(len(y)):
        _convolve(buffer[s * sample_size :], offsets, runs, row_step, run_length, panels, like, conv_map)
        _pool(conv_map, window, y[s], argmax[s])


_block = njit(nogil=True, cache=True)(_block)
