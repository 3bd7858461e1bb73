"""The gradient of a convolution's weights where no pool made dy sparse, without im2col of more than a few positions.

At every position each number of the window is multiplied by each channel of dy, and the products of all positions are
added up (`outer.py`). Which of the two sides lies in vectors, the layouts say:

    Windows     windows in vectors; dy spread
    Channels    dy in vectors; windows spread, which are so small that vectors of them would be idle

or, where it pays, two positions are taken at a time, with fewer products (`winograd_weight.GradientPairs`).
"""

from __future__ import annotations

import numpy as np

from scratchnet.compiled import compiled
from scratchnet.kernels.cpu import lowering, memory, outer, parallel, winograd, winograd_weight
from scratchnet.kernels.cpu.memory import scratch
from scratchnet.kernels.cpu.outer import STRETCH, add_outer
from scratchnet.kernels.cpu.vectors import element, lanes_of, row, row_at, store

IDLE = 2  # how many times as many products vectors of windows take as those of channels, from which these are better


def backward_weight(x, dy, kernel_size, stride, padding, y=None):
    """See `reference.conv2d_backward_weight`. With y, dy is 0 wherever y ≤ 0 (ReLU)."""
    n, channels, *size = x.shape
    out_channels = dy.shape[1]
    geometry = lowering.lower(channels, tuple(size), tuple(kernel_size), stride, padding)
    samples = geometry.piece(n)
    layout = _layout(geometry, n, out_channels, stride, samples, x.dtype)
    sums = memory.empty((parallel.PARTS, *layout.shape), x.dtype)
    dbiases = np.zeros((parallel.PARTS, out_channels), x.dtype)

    def part(i: int) -> None:
        begin, end = parallel.part(i, n)
        sums[i] = 0
        for s in range(begin, end, samples):
            piece = slice(s, min(s + samples, end))
            buffer = geometry.buffer(samples, x.dtype)
            geometry.fill(buffer, x[piece])
            rows = lowering.gradient_rows(dy[piece], None if y is None else y[piece]).astype(x.dtype, copy=False)
            dbiases[i] += np.ones(len(rows), x.dtype) @ rows
            layout.add(buffer, rows, sums[i])

    parallel.run(part, parallel.PARTS)
    return layout.weight_gradient(sums, (out_channels, channels, *kernel_size)), dbiases.sum(axis=0)


def _layout(geometry, n, out_channels, stride, samples, dtype):
    arguments = geometry, out_channels, samples, dtype
    windows, channels = Windows(*arguments), Channels(*arguments)
    if IDLE * channels.size <= windows.size:
        return channels
    pays = winograd.pays(geometry, n, out_channels, stride, True)
    return winograd_weight.GradientPairs(*arguments, stride) if pays else windows


class Windows:
    """`shape` is that of the sums, `size` how many products a position takes."""

    def __init__(self, geometry, out_channels, samples, dtype):
        self._offsets = geometry.offsets_of(samples)
        self._like, self._starts, self._taps = outer.window_rows(geometry, dtype)
        self.shape = len(self._starts), -(-out_channels // 4), 4, len(self._like) * lanes_of(dtype)
        self.size = np.prod(self.shape)

    def add(self, buffer, rows, sums):
        """Add the products of some samples, their input in the buffer, dy as rows (positions, O)."""
        chunks = scratch("chunks", (STRETCH * sums.shape[-1],), rows.dtype)
        others = _with_slack(rows, 4), rows.shape[1]
        _add_products(buffer, self._offsets[: len(rows)], *others, self._starts, chunks, self._like, sums)

    def weight_gradient(self, sums, shape):
        """Sums (parts, …) as weights of this shape."""
        parts, chunks, groups, four, width = sums.shape
        parts = sums.reshape(parts, chunks, groups * four, width).transpose(0, 2, 1, 3)
        return lowering.weight_gradient(parts, self._taps, shape)


class Channels:
    """As `Windows`."""

    def __init__(self, geometry, out_channels, samples, dtype):
        lanes, taps = lanes_of(dtype), geometry.runs * geometry.run_length
        self._like = outer.fewest(lambda vectors: -(-out_channels // (vectors * lanes)))
        width = len(self._like) * lanes
        self._starts = np.arange(0, out_channels, width)
        self._offsets = geometry.offsets_of(samples)
        run, k = np.divmod(np.arange(taps), geometry.run_length)
        self._steps = np.pad(run * geometry.row_step + k, (0, -taps % 4))  # of a window; the last ones for nothing
        self.shape = len(self._starts), len(self._steps) // 4, 4, width
        self.size = np.prod(self.shape)

    def add(self, buffer, rows, sums):
        """See `Windows`."""
        chunks = scratch("chunks", (STRETCH * sums.shape[-1],), rows.dtype)
        others = scratch("others", (STRETCH * len(self._steps),), rows.dtype)
        windows = buffer, self._offsets[: len(rows)], self._steps
        channels = _with_slack(rows, sums.shape[-1]), rows.shape[1], self._starts
        _add_channels(*windows, *channels, chunks, others, self._like, sums)

    def weight_gradient(self, sums, shape):
        """See `Windows`."""
        out_channels, channels, kh, kw = shape
        taps = sums.transpose(0, 2, 3, 1, 4).reshape(len(sums), len(self._steps), -1)
        # What lies beyond the last tap and channel means nothing.
        taps = taps[:, : kh * kw * channels, :out_channels].sum(axis=0).reshape(kh, kw, channels, out_channels)
        return np.ascontiguousarray(taps.transpose(3, 2, 0, 1))


def _with_slack(rows, multiple):
    """A matrix in a row, of which so many numbers at a time can be read, beyond its end too."""
    if rows.shape[1] % multiple == 0:
        return rows.reshape(-1)
    room = scratch("slack", (rows.size + lowering.SLACK,), rows.dtype)
    room[: rows.size] = rows.reshape(-1)
    return room


def _add_products(numbers, offsets, others, step, starts, chunks, like, sums):
    """sums[chunk, g, i] += Σ others[p · step + 4g + i] · row(p), over a stretch of positions p at a time.

    `chunks` has room for the same chunk of a stretch's rows, side by side: where they lie they may share few cache
    lines, or lines that push each other out.
    """
    groups, width = sums.shape[1], sums.shape[3]
    for first in range(0, len(offsets), STRETCH):
        here = offsets[first : first + STRETCH]
        for chunk in range(len(starts)):
            for p in range(len(here)):
                store(chunks, p * width, row_at(numbers, here[p], starts, chunk, like))
            to = chunk * groups * 4 * width
            add_outer(chunks, others, first * step, step, len(here), groups, like, sums.reshape(-1), to)


def _add_channels(x, offsets, steps, numbers, channels, starts, chunks, others, like, sums):
    """As above, with dy for numbers and windows for the others: what lies `steps` behind the offsets."""
    groups, width, taps = sums.shape[1], sums.shape[3], len(steps)
    for first in range(0, len(offsets), STRETCH):
        count = min(STRETCH, len(offsets) - first)
        for p in range(count):
            for k in range(taps):
                others[p * taps + k] = element(x, offsets[first + p] + steps[k])
        for chunk in range(len(starts)):
            for p in range(count):
                store(chunks, p * width, row(numbers, (first + p) * channels + starts[chunk], like))
            add_outer(chunks, others, 0, taps, count, groups, like, sums.reshape(-1), chunk * groups * 4 * width)


_add_channels = compiled(_add_channels)
_add_products = compiled(_add_products)
