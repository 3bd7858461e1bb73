"""Convolution + bias + ReLU + max-pool in one pass over a few samples, without im2col.

The convolution's map of a few samples stays in the cache until it is pooled; only the pooled values and their places
are written out.
"""

from __future__ import annotations

import numpy as np

from scratchnet.compiled import compiled
from scratchnet.kernels.cpu import kept, lowering, memory, parallel, winograd
from scratchnet.kernels.cpu.memory import scratch
from scratchnet.kernels.cpu.panels import Panels
from scratchnet.kernels.cpu.processor import BYTES
from scratchnet.kernels.cpu.vectors import exceeds, lanes_of, load, splat_int, store, where

SHARE = 2_000_000  # multiplications from which some of the channels are a thread's work


def forward(x, weight, bias, stride, padding, relu, pool, transposed=False, mask=None, keep=True):
    """See `reference.conv_block_forward`. y and argmax are (N, O, H', W') views of channels-last memory.

    With `transposed`, rows and columns are exchanged: of equal values the first column's wins, not the first row's.
    With `mask`, x is taken as 0 wherever that is 0 or less. With `keep`, what is made of the weights is kept for the
    next call.
    """
    n, channels, height, width = x.shape
    geometry = lowering.lower(channels, (height, width), weight.shape[2:], stride, padding)
    size = n, *pool_shape((geometry.rows, geometry.columns), pool)
    place_type = np.int16 if geometry.positions <= np.iinfo(np.int16).max else np.int32
    window = pool_window(geometry.columns, pool, relu, transposed)
    pairs = pool is None and winograd.pays(geometry, n, len(weight), stride, relu)
    pieces, columns = geometry.pieces(n, 2 if pairs else 1), geometry.columns + (pairs and geometry.columns % 2)
    samples, way = max(part.stop - part.start for part in pieces), winograd.Pairs if pairs else _Windows
    shares = _shares(n, geometry, weight)

    def made():
        return [way.arrange(weight[share], None if bias is None else bias[share], stride) for share in shares]

    panels = kept.of([weight, bias], (pairs, stride, len(shares)), made) if keep else made()
    to_maps = [way(geometry, samples, of_share, stride) for of_share in panels]
    ys = [memory.empty((*size, share.stop - share.start), x.dtype) for share in shares]
    argmaxes = [memory.empty(y.shape if pool else (0, *y.shape[1:]), place_type) for y in ys]

    def piece(i: int) -> None:
        part, share = pieces[i // len(shares)], i % len(shares)
        y, argmax = ys[share], argmaxes[share]
        buffer = geometry.buffer(samples, x.dtype)
        geometry.fill(buffer, x[part] if mask is None else np.where(mask[part] <= 0, 0, x[part]))
        conv_map = to_maps[share](buffer, len(y[part]))
        if pool:
            pool_maps(conv_map, geometry.positions, window, y[part], argmax[part])
        else:
            _copy(conv_map, columns, relu, y[part])

    parallel.run(piece, len(pieces) * len(shares))
    y, argmax = (of[0] if len(of) == 1 else np.concatenate(of, axis=-1) for of in (ys, argmaxes))
    return y.transpose(0, 3, 1, 2), argmax.transpose(0, 3, 1, 2)


def _shares(n, geometry, weight):
    """All output channels; or, where there are several threads for each sample, whole vectors of them for each.

    As many shares as there are pairs of vectors, at most: a panel has no fewer than two.
    """
    vectors = -(-len(weight) // lanes_of(weight.dtype))
    most = n * geometry.positions * weight.size // SHARE
    count = max(1, min(parallel.threads() // max(1, n), -(-vectors // 2), most))
    edges = [min(len(weight), i * vectors // count * lanes_of(weight.dtype)) for i in range(count + 1)]
    return [slice(begin, end) for begin, end in zip(edges, edges[1:])]


class _Windows:
    """The convolution as it is written: every output the product of its window with the weights."""

    def __init__(self, geometry, samples, panels, stride):
        self.geometry, self.panels, self.offsets = geometry, panels, geometry.offsets_of(samples)

    @staticmethod
    def arrange(weight, bias, stride):
        """The weights as the register kernel reads them."""
        return Panels(lowering.rows_of(weight), bias, weight.shape[2])

    def __call__(self, buffer, samples):
        """The map of some samples, (positions, channels and more)."""
        conv_map = scratch("map", (len(self.offsets), self.panels.channels), buffer.dtype)
        here = self.offsets[: -(-samples * self.geometry.positions // 4) * 4]
        self.panels.convolve(buffer, here, self.geometry.row_step, conv_map.reshape(-1), conv_map.shape[1])
        return conv_map


def pool_shape(size, pool):
    """Rows and columns that a pool makes of a map of `size`."""
    kernel, step = pool or ((1, 1), (1, 1))
    return tuple((size[i] - kernel[i]) // step[i] + 1 for i in range(2))


def pool_window(columns, pool, relu, transposed=False):
    """What `pool_maps` needs to know of a pool."""
    kernel, step = pool or ((1, 1), (1, 1))
    walk = (kernel[0], columns), (kernel[1], 1)  # through a window: how many, how far apart; outer, inner
    return np.array([columns, *step, relu, *walk[transposed], *walk[not transposed]])


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


pool_maps = compiled(_pool)


def _copy(conv_map, columns, relu, y):
    """Without a pool: y = the map, whose rows have so many `columns`, cut at 0 by ReLU."""
    rows = y.reshape(-1, *y.shape[2:])
    for i in range(len(rows)):
        for j in range(y.shape[2]):
            for o in range(y.shape[3]):
                value = conv_map[i * columns + j, o]
                rows[i, j, o] = 0 if relu & (value <= 0) else value


_copy = compiled(_copy)
