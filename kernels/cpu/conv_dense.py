"""The gradient of a convolution's input where no pool made dy sparse, without im2col.

It is itself a convolution. With a stride of s, the s inputs under one step of the kernel are taken together as s · C
output channels: then it has stride 1, and the register kernel of the forward pass does it all. Where these channels are
few, that kernel would be mostly idle, and the windows are added up one by one.
"""

from __future__ import annotations

import numpy as np

from scratchnet.kernels.cpu import conv_forward, conv_sparse, lowering, memory, parallel
from scratchnet.kernels.cpu.memory import scratch

FEW = 16  # input channels under one step, up to which a panel of the forward kernel would be mostly idle


def backward_input(dy, weight, size, stride, padding, y=None):
    """See `reference.conv2d_backward_input`. With y, dy is 0 wherever y ≤ 0 (ReLU)."""
    if weight.shape[1] * stride[0] * stride[1] <= FEW:
        return _input_of_few_channels(dy, weight, size, stride, padding, y)
    out_channels, channels, kh, kw = weight.shape
    (sh, sw), (top, _), (left, _) = stride, *padding
    steps = -(-kh // sh), -(-kw // sw)  # of the stride, under the kernel
    whole = np.pad(weight, ((0, 0), (0, 0), (0, steps[0] * sh - kh), (0, steps[1] * sw - kw)))
    blocks = whole.reshape(out_channels, channels, steps[0], sh, steps[1], sw)[:, :, ::-1, :, ::-1]
    flipped = blocks.transpose(3, 5, 1, 0, 2, 4).reshape(sh * sw * channels, out_channels, *steps)
    skipped = min(top // sh, steps[0] - 1), min(left // sw, steps[1] - 1)  # whole steps inside the padding
    height, width = -(-(size[0] + top) // sh), -(-(size[1] + left) // sw)
    around = tuple(
        (step - 1 - skip, max(0, full - length))
        for step, skip, full, length in zip(steps, skipped, (height, width), dy.shape[2:])
    )
    dx = conv_forward.forward(dy, flipped, None, (1, 1), around, False, None, mask=y, keep=False)[0]
    dx = dx.transpose(0, 2, 3, 1).reshape(len(dy), *dx.shape[2:], sh, sw, channels).transpose(0, 1, 3, 2, 4, 5)
    dx = dx.reshape(len(dy), dx.shape[1] * sh, dx.shape[3] * sw, channels).transpose(0, 3, 1, 2)
    top, left = top - skipped[0] * sh, left - skipped[1] * sw
    return dx[:, :, top : top + size[0], left : left + size[1]]


def _input_of_few_channels(dy, weight, size, stride, padding, y):
    """The same, window by window: each gets the sum of dy times the weights, zeros of dy skipped."""
    n, out_channels, channels = len(dy), *weight.shape[:2]
    geometry = lowering.lower(channels, tuple(size), weight.shape[2:], stride, padding)
    starts, _, kernels = conv_sparse.in_chunks(geometry, weight)
    dx = memory.empty((n, *size, channels), dy.dtype).transpose(0, 3, 1, 2)
    samples = geometry.piece(n)

    def piece(i: int) -> None:
        part = slice(i * samples, min(n, (i + 1) * samples))
        rows = lowering.gradient_rows(dy[part], None if y is None else y[part]).reshape(
            -1, geometry.positions, out_channels
        )
        buffer = geometry.buffer(samples, dy.dtype, "gradient")
        buffer[:] = 0
        room = 1 + geometry.positions * out_channels
        lists = scratch("winners", (room,), np.int32), scratch("values", (room,), dy.dtype)
        firsts = np.empty(geometry.positions + 1, np.int32)
        conv_sparse.add_all(rows, geometry.sample_size, kernels, geometry.offsets, starts, *lists, firsts, buffer)
        dx[part] = geometry.image(buffer, len(rows), size)

    parallel.run(piece, -(-n // samples))
    return dx
