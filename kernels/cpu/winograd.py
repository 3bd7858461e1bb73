"""Convolutions with fewer multiplications: Winograd's minimal filtering along the rows (S. Winograd 1980; Lavin & Gray
2016, section 4.1).

A row of the input is cut into blocks c as long as the stride. Two neighbouring outputs of a kernel that is two or three
such blocks wide, g, take three products instead of four, or four instead of six:

    y₀ = g₀c₀ + g₁c₁ = s + g₀(c₀ − c₁)                s = (g₀ + g₁)c₁
    y₁ = g₀c₁ + g₁c₂ = s + g₁(c₂ − c₁)

    y₀ = g₀c₀ + g₁c₁ + g₂c₂ = s + d + g₀(c₀ − c₂)     s = ½(g₀ + g₁ + g₂)(c₁ + c₂)
    y₁ = g₀c₁ + g₁c₂ + g₂c₃ = s − d + g₂(c₃ − c₁)     d = ½(g₀ − g₁ + g₂)(c₂ − c₁)

The products are the register kernel's, whose sums go on from what the ones before have left. They round otherwise than
the plain convolution does: those of three blocks hardly more, those of two √1.5 times as much (the tests derive it).
"""

from __future__ import annotations

import numpy as np

from scratchnet.compiled import compiled
from scratchnet.kernels.cpu import lowering
from scratchnet.kernels.cpu.memory import scratch
from scratchnet.kernels.cpu.panels import Panels
from scratchnet.kernels.cpu.processor import BYTES
from scratchnet.kernels.cpu.vectors import add, fma, load, splat, store

NARROW = 32  # numbers of a block, and output channels, from which it pays
POSITIONS = 2000  # of the whole batch, from which it pays


def pays(geometry, n, out_channels, stride, two) -> bool:
    """Whether a kernel is three blocks wide, or, with `two`, two, and the work large enough.

    Two are not for the map of a layer without a ReLU: it may be MelNet's transform, of which a logarithm is taken, and
    the quietest bands would show what rounds worse.
    """
    block = stride[1] * geometry.channels
    if geometry.run_length != 3 * block and not (two and geometry.run_length == 2 * block):
        return False
    return min(block, out_channels) >= NARROW and n * geometry.positions >= POSITIONS


class Pairs:
    """The maps of such a convolution, two outputs of a row at a time."""

    def __init__(self, geometry, samples, panels, stride):
        self.geometry, self.samples, self.panels = geometry, samples, panels
        block, size = stride[1] * geometry.channels, (geometry.height, -(-geometry.columns // 2))
        self.terms = lowering.lower(block, size, (geometry.runs, 1), (stride[0], 1), ((0, 0), (0, 0)))  # one a pair
        self.offsets = self.terms.offsets_of(samples)

    @staticmethod
    def arrange(weight, bias, stride):
        """The weights of the products, as the register kernel reads them; the first has the bias."""
        runs, block = weight.shape[2], stride[1] * weight.shape[1]
        g = np.moveaxis(lowering.rows_of(weight).reshape(len(weight), runs, -1, block), 2, 0)
        half = g.dtype.type(0.5)
        if len(g) == 2:
            kernels = [g[0] + g[1], g[0], g[1]]
        else:
            kernels = [(g[0] + g[1] + g[2]) * half, (g[0] - g[1] + g[2]) * half, g[0], g[2]]
        rows = [kernel.reshape(len(weight), -1) for kernel in kernels]
        return [Panels(row, bias if i == 0 else None, runs) for i, row in enumerate(rows)]

    def __call__(self, buffer, samples):
        """The map of some samples, (positions, channels and more), a row filled up to an even number of positions."""
        channels, three = self.panels[0].channels, len(self.panels) == 4
        image = buffer[: samples * self.geometry.sample_size].reshape(-1, self.geometry.row_step)
        # Of a whole piece: the last positions, filled up to a multiple of 4, may lie in the sample after these.
        terms = scratch("terms", (len(self.panels), self.samples * self.terms.sample_size), buffer.dtype)
        _combine(image, self.terms.channels, terms, self.terms.row_step)
        conv_map = scratch("map", (len(self.offsets), 2, channels), buffer.dtype)
        even, odd = conv_map.reshape(-1), conv_map.reshape(-1)[channels:]
        here = self.offsets[: -(-samples * self.terms.positions // 4) * 4]

        def multiply(i, out, fresh=False):
            self.panels[i].convolve(terms[i], here, self.terms.row_step, out, 2 * channels, fresh)

        multiply(0, even, True)
        if three:
            multiply(1, odd, True)
            _sum_and_difference(conv_map[: len(here)])
        else:
            conv_map[: len(here), 1] = conv_map[: len(here), 0]
        multiply(-2, even)
        multiply(-1, odd)
        return conv_map.reshape(-1, channels)


def _combine(image, block, terms, row_step):
    """What the products' kernels are multiplied by, as long as a block for each pair of outputs (see the top).

    What goes beyond a row is not read: a pair's second output is none of the map's there.
    """
    x, lanes, minus = image.reshape(-1), BYTES // image.itemsize, -image.dtype.type(1)
    products, vectors = len(terms), block // lanes * lanes
    a, b, c, d = terms[0], terms[1], terms[products - 2], terms[products - 1]
    for r in range(len(image)):
        row = r * image.shape[1]
        for j in range(row_step // block):
            c0 = row + 2 * j * block
            c1, c2, last = c0 + block, c0 + 2 * block, c0 + (products - 1) * block
            last = last if last + block <= row + image.shape[1] else c0
            to = r * row_step + j * block
            for k in range(0, vectors, lanes):
                first, second, end = load(x, c0 + k), load(x, c1 + k), load(x, last + k)
                store(d, to + k, fma(splat(minus), second, end))
                if products == 3:
                    store(a, to + k, second)
                    store(b, to + k, fma(splat(minus), second, first))
                else:
                    third = load(x, c2 + k)
                    store(a, to + k, add(second, third))
                    store(b, to + k, fma(splat(minus), second, third))
                    store(c, to + k, fma(splat(minus), third, first))
            for k in range(vectors, block):
                first, second, end = x[c0 + k], x[c1 + k], x[last + k]
                d[to + k] = end - second
                if products == 3:
                    a[to + k], b[to + k] = second, first - second
                else:
                    third = x[c2 + k]
                    a[to + k], b[to + k], c[to + k] = second + third, third - second, first - third


def _sum_and_difference(conv_map):
    """s + d and s − d, where both outputs of a pair begin."""
    for p in range(len(conv_map)):
        for o in range(conv_map.shape[2]):
            s, d = conv_map[p, 0, o], conv_map[p, 1, o]
            conv_map[p, 0, o], conv_map[p, 1, o] = s + d, s - d


_combine = compiled(_combine)
_sum_and_difference = compiled(_sum_and_difference)
