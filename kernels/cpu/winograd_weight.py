"""The gradient of the weights of a convolution that takes two outputs at a time (`winograd.py`), with as few products.

Of two outputs' gradients ∂y and the inputs c under them, added up over all pairs:

    ∂s = (∂y₀ + ∂y₁) c₁              ∂g₀ = ∂s + ∂y₀ (c₀ − c₁)
                                     ∂g₁ = ∂s + ∂y₁ (c₂ − c₁)

    ∂s = ½(∂y₀ + ∂y₁) (c₁ + c₂)      ∂g₀ = ∂s + ∂d + ∂y₀ (c₀ − c₂)
    ∂d = ½(∂y₀ − ∂y₁) (c₂ − c₁)      ∂g₁ = ∂s − ∂d
                                     ∂g₂ = ∂s + ∂d + ∂y₁ (c₃ − c₁)

The sums of either side are made a stretch of pairs at a time, on their way to the register kernel. A NaN or infinity
makes more of the weights NaN than in the plain gradient: it is in both outputs' sums, or multiplied by 0.
"""

from __future__ import annotations

import numpy as np

from scratchnet.compiled import compiled
from scratchnet.kernels.cpu import lowering, outer
from scratchnet.kernels.cpu.memory import scratch
from scratchnet.kernels.cpu.outer import STRETCH, add_outer
from scratchnet.kernels.cpu.processor import BYTES
from scratchnet.kernels.cpu.vectors import fma, lanes_of, load, row_at, splat, store, zeros

# For each product: how much of ∂y₀ and of ∂y₁; which block of c, which other, and how much of that.
TWO = [(1, 1), (1, 0), (0, 1)], [(1, 1, 0), (0, 1, -1), (2, 1, -1)]
THREE = [(0.5, 0.5), (0.5, -0.5), (1, 0), (0, 1)], [(1, 2, 1), (2, 1, -1), (0, 2, -1), (3, 1, -1)]


class GradientPairs:
    """A layout; see `conv_weight.Windows`."""

    def __init__(self, geometry, out_channels, samples, dtype, stride):
        block, padded = stride[1] * geometry.channels, (geometry.height, geometry.width)
        kernel = geometry.runs, stride[1]  # one block wide
        column = lowering.lower(geometry.channels, padded, kernel, stride, ((0, 0), (0, 0)))
        self._like, self._starts, self._taps = outer.window_rows(column, dtype)
        shares, sums = TWO if geometry.run_length == 2 * block else THREE
        first, other, signs = np.array(sums).T
        self._shares, self._signs = np.array(shares, dtype), signs.astype(dtype)
        places = np.arange(samples * geometry.positions).reshape(-1, geometry.columns)
        y0 = places[:, ::2].reshape(-1)
        second = y0 % geometry.columns + 1 < geometry.columns  # whether there is one, in its row
        self._outputs, self._second = np.stack([y0, y0 + second]), second.astype(dtype)
        c = geometry.offsets_of(samples)[y0] + block * np.arange(len(sums))[:, None]
        c[-1, ~second] = c[0, ~second]  # what goes beyond a row is not read
        self._inputs = np.stack([c[first], c[other]], axis=1)
        self._positions, self._pairs = geometry.positions, len(y0) // samples
        self.shape = len(sums), len(self._starts), -(-out_channels // 4), 4, len(self._like) * lanes_of(dtype)

    def add(self, buffer, rows, sums):
        """See `conv_weight.Windows`."""
        pairs, channels = len(rows) // self._positions * self._pairs, rows.shape[1]
        chunks = scratch("chunks", (STRETCH * sums.shape[-1],), rows.dtype)
        others = scratch("others", (STRETCH * channels + lowering.SLACK,), rows.dtype)
        outputs = rows.reshape(-1), channels, self._outputs, self._second, self._shares
        inputs = buffer, self._inputs, self._signs, self._starts
        _add_pairs(pairs, *outputs, *inputs, chunks, others, self._like, sums)

    def weight_gradient(self, sums, shape):
        """See `conv_weight.Windows`."""
        parts, products, chunks, groups, four, width = sums.shape
        sums = sums.reshape(parts, products, chunks, groups * four, width).transpose(1, 0, 3, 2, 4)
        out_channels, channels, kh, kw = shape
        block = out_channels, kw // (products - 1) * channels, kh, 1
        found = [lowering.weight_gradient(product, self._taps, block)[..., 0] for product in sums]
        if products == 3:
            s, y0, y1 = found
            columns = s + y0, s + y1
        else:
            s, d, y0, y1 = found
            columns = s + d + y0, s - d, s + d + y1
        blocks = np.stack(columns, axis=-1).reshape(out_channels, -1, channels, kh, len(columns))
        return np.ascontiguousarray(blocks.transpose(0, 2, 3, 4, 1)).reshape(shape)


def _add_pairs(pairs, dy, channels, outputs, second, shares, x, inputs, signs, starts, chunks, others, like, sums):
    """sums[product, chunk] += Σ outer products of so many pairs, a stretch at a time, with room for its sums."""
    groups, width = sums.shape[2], sums.shape[4]
    for first in range(0, pairs, STRETCH):
        count = min(STRETCH, pairs - first)
        to = 0
        for t in range(len(signs)):
            _combine_outputs(dy, channels, outputs[:, first:], second[first:], shares[t], count, others)
            for chunk in range(len(starts)):
                for p in range(count):
                    a = row_at(x, inputs[t, 0, first + p], starts, chunk, like)
                    b = row_at(x, inputs[t, 1, first + p], starts, chunk, like)
                    store(chunks, p * width, fma(splat(signs[t]), b, a))
                add_outer(chunks, others, 0, channels, count, groups, like, sums.reshape(-1), to)
                to += groups * 4 * width


def _combine_outputs(dy, channels, outputs, second, shares, count, out):
    """out[p, o] = the shares of dy of both outputs of a pair, added up"""
    lanes, nothing = BYTES // dy.itemsize, zeros(dy)
    vectors = channels // lanes * lanes
    for p in range(count):
        y0, y1, to = outputs[0, p] * channels, outputs[1, p] * channels, p * channels
        a, b = shares[0], shares[1] * second[p]
        for o in range(0, vectors, lanes):
            left = fma(splat(a), load(dy, y0 + o), nothing)
            store(out, to + o, fma(splat(b), load(dy, y1 + o), left))
        for o in range(vectors, channels):
            out[to + o] = a * dy[y0 + o] + b * dy[y1 + o]


_combine_outputs = compiled(_combine_outputs)
_add_pairs = compiled(_add_pairs)
