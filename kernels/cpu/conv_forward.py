"""Convolution + bias + ReLU + max-pool in one pass over a few samples, without im2col.

The register kernel keeps 4 positions × a row of 2 to 5 vectors of output channels in registers and walks along the four
windows; the windows overlap in memory and are read where they lie. The convolution's map of a few samples stays in the
cache until it is pooled; only the pooled values and their places are written out.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from scratchnet.kernels.cpu import lowering, parallel
from scratchnet.kernels.cpu.parallel import scratch
from scratchnet.kernels.cpu.vectors import (
    BYTES,
    element,
    exceeds,
    fma,
    lanes_of,
    load,
    row,
    splat,
    splat_int,
    store,
    where,
)

PANEL_BYTES = 32 * 1024  # of weights that are walked through for all positions: they fit the first-level cache


def forward(x, weight, bias, stride, padding, relu, pool, turned=False, mask=None):
    """See `reference.conv_block_forward`. y and argmax are (N, O, H', W') views of channels-last memory.

    With `turned`, rows and columns are exchanged: of equal values the first column's wins, not the first row's. With
    `mask`, x counts where that is not 0 or less.
    """
    n, channels, height, width = x.shape
    out_channels, _, kh, kw = weight.shape
    geometry = lowering.lower(channels, (height, width), (kh, kw), stride, padding)
    y = parallel.empty((n, *pool_shape((geometry.rows, geometry.columns), pool), out_channels), x.dtype)
    place_type = np.int16 if geometry.positions <= np.iinfo(np.int16).max else np.int32
    argmax = parallel.empty(y.shape if pool else (0, *y.shape[1:]), place_type)
    vectors = _vectors(-(-out_channels // lanes_of(x.dtype)))
    like = (0,) * vectors  # tells the kernel at compile time
    panels = _pack(lowering.rows_of(weight), bias, vectors * lanes_of(x.dtype), x.dtype)
    cuts = np.array(_cuts(geometry.runs, geometry.run_length, PANEL_BYTES // panels[0, 0].nbytes))
    window = pool_window(geometry.columns, pool, relu, turned)
    samples = geometry.piece(n)
    offsets = geometry.offsets_of(samples)

    def piece(i: int) -> None:
        part = slice(i * samples, min(n, (i + 1) * samples))
        buffer = geometry.buffer(samples, x.dtype)
        geometry.fill(buffer, x[part] if mask is None else np.where(mask[part] <= 0, 0, x[part]))
        conv_map = scratch("map", (len(offsets), len(panels) * panels.shape[2]), x.dtype)
        here = offsets[: -(-len(y[part]) * geometry.positions // 4) * 4]
        _convolve(buffer, here, geometry.row_step, cuts, panels, like, conv_map)
        if pool:
            pool_maps(conv_map, geometry.positions, window, y[part], argmax[part])
        else:
            _copy(conv_map, relu, y[part])

    parallel.run(piece, -(-n // samples))
    return y.transpose(0, 3, 1, 2), argmax.transpose(0, 3, 1, 2)


def _cuts(runs, run_length, depth):
    """A window's taps in cuts of about `depth`: first tap, first and last run, first and last number of each run."""
    if run_length <= depth:
        together = depth // run_length
        return [(r * run_length, r, min(r + together, runs), 0, run_length) for r in range(0, runs, together)]
    parts = -(-run_length // depth)
    edges = [i * run_length // parts for i in range(parts + 1)]
    return [(r * run_length + k, r, r + 1, k, end) for r in range(runs) for k, end in zip(edges, edges[1:])]


def _vectors(needed):
    """How many vectors of channels a panel has, of 2 to 5: as few idle lanes as can be, then as many as can be."""
    return min((5, 4, 3, 2), key=lambda v: (-needed % v, -v))


def _pack(rows, bias, width, dtype):
    """Weights (O, K) and bias as panels of `width` channels: (panels, 1 + K, width), the bias first."""
    out_channels, taps = rows.shape
    count = -(-out_channels // width)
    packed = parallel.zeros((count, 1 + taps, width), dtype)

    def fill(i: int) -> None:
        part = slice(i * width, min((i + 1) * width, out_channels))
        packed[i, 1:, : part.stop - part.start] = rows[part].T
        if bias is not None:
            packed[i, 0, : part.stop - part.start] = bias[part]

    parallel.run(fill, count)
    return packed


def _convolve(buffer, offsets, row_step, cuts, panels, like, conv_map):
    """conv_map[p, o] = bias[o] + Σ over the window at offsets[p]; 4 positions × a row of channels at a time.

    A panel's taps are walked through in cuts, each for all positions, so that a cut's weights stay in the first cache.
    """
    width, step = panels.shape[2], conv_map.shape[1]
    out = conv_map.reshape(-1)
    for g in range(len(panels)):
        panel = panels[g].reshape(-1)
        for cut in range(len(cuts)):
            tap, run_begin, run_end, begin, end = cuts[cut]
            for p in range(0, len(offsets), 4):
                to = p * step + g * width
                if cut == 0:
                    a = b = c = d = row(panel, 0, like)
                else:
                    a, b = row(out, to, like), row(out, to + step, like)
                    c, d = row(out, to + 2 * step, like), row(out, to + 3 * step, like)
                at = (1 + tap) * width
                for run in range(run_begin, run_end):
                    shift = run * row_step
                    ia, ib = offsets[p] + shift, offsets[p + 1] + shift
                    ic, id_ = offsets[p + 2] + shift, offsets[p + 3] + shift
                    for k in range(begin, end):
                        weights = row(panel, at, like)
                        at += width
                        a = fma(splat(element(buffer, ia + k)), weights, a)
                        b = fma(splat(element(buffer, ib + k)), weights, b)
                        c = fma(splat(element(buffer, ic + k)), weights, c)
                        d = fma(splat(element(buffer, id_ + k)), weights, d)
                store(out, to, a)
                store(out, to + step, b)
                store(out, to + 2 * step, c)
                store(out, to + 3 * step, d)


_convolve = njit(nogil=True, cache=True)(_convolve)


def pool_shape(size, pool):
    """Rows and columns that a pool makes of a map of `size`."""
    kernel, step = pool or ((1, 1), (1, 1))
    return tuple((size[i] - kernel[i]) // step[i] + 1 for i in range(2))


def pool_window(columns, pool, relu, turned=False):
    """What `pool_maps` needs to know of a pool."""
    kernel, step = pool or ((1, 1), (1, 1))
    walk = (kernel[0], columns), (kernel[1], 1)  # through a window: how many, how far apart; outer, inner
    return np.array([columns, *step, relu, *walk[turned], *walk[not turned]])


def _pool(conv_maps, positions, window, y, argmax):
    """y[s, i, j, o] = the window's maximum (ReLU: at least 0), argmax its position in the sample's map, −1 where ReLU
    cut it."""
    columns, sh, sw, relu, outer, outer_step, inner, inner_step = window
    samples, rows_out, columns_out, out_channels = y.shape
    lanes = BYTES // conv_maps.itemsize
    width = conv_maps.shape[1]
    best, place = np.empty(width, conv_maps.dtype), np.empty(width, np.int32)
    for s in range(samples):
        values = conv_maps[s * positions :].reshape(-1)
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
                    y[s, i, j, o] = 0 if cut else best[o]
                    argmax[s, i, j, o] = -1 if cut else place[o]


pool_maps = njit(nogil=True, cache=True)(_pool)


def _copy(conv_map, relu, y):
    """Without a pool: y = the map, cut at 0 by ReLU."""
    rows = y.reshape(-1, y.shape[3])
    for p in range(len(rows)):
        for o in range(y.shape[3]):
            value = conv_map[p, o]
            rows[p, o] = 0 if relu & (value <= 0) else value


_copy = njit(nogil=True, cache=True)(_copy)
