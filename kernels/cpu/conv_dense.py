"""The gradients of a convolution that no pool made sparse, without im2col.

The input's gradient is itself a convolution. With a stride of s, the s inputs under one step of the kernel are taken
together as s · C output channels: then it has stride 1, and the register kernel of the forward pass does it all. Where
these channels are few, that kernel would be mostly idle, and the windows are added up one by one.

The weight's gradient keeps 4 output channels × 2 to 4 vectors of taps in registers (of 16 registers, 2 or 3)
while it walks along the positions.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from scratchnet.kernels.cpu import conv_forward, conv_sparse, lowering, parallel
from scratchnet.kernels.cpu.parallel import scratch
from scratchnet.kernels.cpu.processor import REGISTERS
from scratchnet.kernels.cpu.vectors import element, fma, lanes_of, row, splat, store

STRETCH = 128  # positions whose windows stay in the first-level cache
MOST = 4 if REGISTERS == 32 else 3  # vectors of taps
FEW = 16  # input channels under one step, up to which a panel of the forward kernel would be mostly idle


def backward_weight(x, dy, kernel_size, stride, padding, y=None):
    """See `reference.conv2d_backward_weight`. With y, dy counts where y > 0 (ReLU)."""
    n, channels, *size = x.shape
    out_channels = dy.shape[1]
    geometry = lowering.lower(channels, tuple(size), tuple(kernel_size), stride, padding)
    like, starts, taps = _chunks(geometry, x.dtype)
    groups = -(-out_channels // 4)
    width = len(taps) // len(starts)
    dkernels = parallel.empty((parallel.PARTS, len(starts), groups, 4, width), x.dtype)  # in the order of the walk
    dbiases = np.zeros((parallel.PARTS, out_channels), x.dtype)
    samples = geometry.piece(n)
    offsets = geometry.offsets_of(samples)

    def part(i: int) -> None:
        begin, end = parallel.part(i, n)
        dkernels[i] = 0
        for s in range(begin, end, samples):
            piece = slice(s, min(s + samples, end))
            buffer = geometry.buffer(samples, x.dtype)
            geometry.fill(buffer, x[piece])
            rows = _rows(dy[piece], None if y is None else y[piece])
            dbiases[i] += np.ones(len(rows), x.dtype) @ rows
            gradients = scratch("gradients", (groups, len(rows), 4), x.dtype)
            _by_fours(rows, gradients)
            chunks = scratch("chunks", (STRETCH, width), x.dtype)
            _add_products(buffer, offsets[: len(rows)], gradients, starts, chunks, like, dkernels[i])

    parallel.run(part, parallel.PARTS)
    parts = dkernels.reshape(parallel.PARTS, len(starts), 4 * groups, width).transpose(0, 2, 1, 3)
    dweight = lowering.weight_gradient(parts, taps, (out_channels, channels, *kernel_size))
    return dweight, dbiases.sum(axis=0)


def backward_input(dy, weight, size, stride, padding, y=None):
    """See `reference.conv2d_backward_input`. y: as above."""
    if weight.shape[1] * stride[0] * stride[1] <= FEW:
        return _input_of_few_channels(dy, weight, size, stride, padding, y)
    out_channels, channels, kh, kw = weight.shape
    (sh, sw), (top, _), (left, _) = stride, *padding
    steps = -(-kh // sh), -(-kw // sw)  # of the stride, under the kernel
    whole = np.pad(weight, ((0, 0), (0, 0), (0, steps[0] * sh - kh), (0, steps[1] * sw - kw)))
    blocks = whole.reshape(out_channels, channels, steps[0], sh, steps[1], sw)[:, :, ::-1, :, ::-1]
    turned = blocks.transpose(3, 5, 1, 0, 2, 4).reshape(sh * sw * channels, out_channels, *steps)
    skipped = min(top // sh, steps[0] - 1), min(left // sw, steps[1] - 1)  # whole steps inside the padding
    height, width = -(-(size[0] + top) // sh), -(-(size[1] + left) // sw)
    around = tuple(
        (step - 1 - skip, max(0, full - length))
        for step, skip, full, length in zip(steps, skipped, (height, width), dy.shape[2:])
    )
    dx = conv_forward.forward(dy, turned, None, (1, 1), around, False, None, mask=y, keep=False)[0]
    dx = dx.transpose(0, 2, 3, 1).reshape(len(dy), *dx.shape[2:], sh, sw, channels).transpose(0, 1, 3, 2, 4, 5)
    dx = dx.reshape(len(dy), dx.shape[1] * sh, dx.shape[3] * sw, channels).transpose(0, 3, 1, 2)
    top, left = top - skipped[0] * sh, left - skipped[1] * sw
    return dx[:, :, top : top + size[0], left : left + size[1]]


def _input_of_few_channels(dy, weight, size, stride, padding, y):
    """The same, window by window: each gets the sum of dy times the weights, zeros of dy skipped."""
    n, out_channels, channels = len(dy), *weight.shape[:2]
    geometry = lowering.lower(channels, tuple(size), weight.shape[2:], stride, padding)
    starts, _, kernels = conv_sparse.in_chunks(geometry, weight)
    dx = parallel.empty((n, *size, channels), dy.dtype).transpose(0, 3, 1, 2)
    samples = geometry.piece(n)

    def piece(i: int) -> None:
        part = slice(i * samples, min(n, (i + 1) * samples))
        rows = _rows(dy[part], None if y is None else y[part]).reshape(-1, geometry.positions, out_channels)
        buffer = geometry.buffer(samples, dy.dtype, "gradient")
        buffer[:] = 0
        room = 1 + geometry.positions * out_channels
        lists = scratch("winners", (room,), np.int32), scratch("values", (room,), dy.dtype)
        firsts = np.empty(geometry.positions + 1, np.int32)
        conv_sparse.add_all(rows, geometry.sample_size, kernels, geometry.offsets, starts, *lists, firsts, buffer)
        dx[part] = geometry.image(buffer, len(rows), size)

    parallel.run(piece, -(-n // samples))
    return dx


def _rows(dy, y):
    """dy, 0 where y is not positive, as a matrix (S · positions, O)."""
    rows = np.ascontiguousarray(dy.transpose(0, 2, 3, 1)).reshape(-1, dy.shape[1])
    return rows if y is None else np.where(y.transpose(0, 2, 3, 1).reshape(rows.shape) <= 0, 0, rows)


def _chunks(geometry, dtype):
    """`lowering.chunks` of 2 to MOST vectors, whichever are fewer vectors; and a tuple of as many members."""
    likes = [(0,) * count for count in range(MOST, 1, -1)]
    of_each = {like: lowering.chunks(geometry, len(like) * lanes_of(dtype)) for like in likes}
    like = min(of_each, key=lambda like: len(of_each[like][1]))
    return like, *of_each[like]


def _by_fours(rows, gradients):
    """gradients[g, p, i] = rows[p, 4g + i]; what goes beyond the last channel is 0."""
    whole = rows.shape[1] // 4
    for p in range(rows.shape[0]):
        for g in range(whole):
            for i in range(4):
                gradients[g, p, i] = rows[p, 4 * g + i]
        if whole < len(gradients):
            for i in range(4):
                gradients[whole, p, i] = rows[p, 4 * whole + i] if 4 * whole + i < rows.shape[1] else 0


def _add_products(sample, offsets, gradients, starts, chunks, like, dkernels):
    """dkernels[chunk, g, i] += Σ dy[p, 4g + i] · window(p), chunk by chunk, over a stretch of positions p at a time.

    `chunks` has room for the same chunk of a stretch's windows, side by side: where they lie they may share few cache
    lines, or lines that push each other out.
    """
    width, taps = dkernels.shape[3], chunks.reshape(-1)
    out = dkernels.reshape(-1)
    for first in range(0, len(offsets), STRETCH):
        here = offsets[first : first + STRETCH]
        to = 0
        for chunk in range(len(starts)):
            for p in range(len(here)):
                store(taps, p * width, row(sample, here[p] + starts[chunk], like))
            for g in range(len(gradients)):
                dy = gradients[g, first:].reshape(-1)
                a, b = row(out, to, like), row(out, to + width, like)
                c, d = row(out, to + 2 * width, like), row(out, to + 3 * width, like)
                for p in range(len(here)):
                    x = row(taps, p * width, like)
                    a, b = fma(splat(element(dy, 4 * p)), x, a), fma(splat(element(dy, 4 * p + 1)), x, b)
                    c, d = fma(splat(element(dy, 4 * p + 2)), x, c), fma(splat(element(dy, 4 * p + 3)), x, d)
                store(out, to, a)
                store(out, to + width, b)
                store(out, to + 2 * width, c)
                store(out, to + 3 * width, d)
                to += 4 * width


_by_fours = njit(nogil=True, cache=True)(_by_fours)
_add_products = njit(nogil=True, cache=True)(_add_products)
