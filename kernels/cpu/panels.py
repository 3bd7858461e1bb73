"""The register kernel of convolutions: windows that overlap in memory, read where they lie, times panels of weights.

It keeps 4 positions × a row of 2 to 5 vectors of output channels in registers (of 16 registers, 2 or 3), and
walks along the four windows.
"""

from __future__ import annotations

import numpy as np

from scratchnet.compiled import compiled
from scratchnet.kernels.cpu import memory, parallel
from scratchnet.kernels.cpu.processor import REGISTERS
from scratchnet.kernels.cpu.transpose import copy_transposed
from scratchnet.kernels.cpu.vectors import element, fma, lanes_of, row, splat, store

MOST = 5 if REGISTERS == 32 else 3  # vectors in a row: four such rows of sums, one of weights, and a number
TWO = 1 if REGISTERS == 32 else 1.3  # how much longer a vector takes where there are but two: sums wait for each other
PANEL_BYTES = 128 * 1024  # of weights that are walked through for all positions: they stay in the second-level cache


class Panels:
    """Weights (O, K), in the order of a window, and bias as panels of a row of vectors, ready for `convolve`."""

    def __init__(self, rows: np.ndarray, bias: np.ndarray | None, runs: int) -> None:
        lanes = lanes_of(rows.dtype)
        self.like = (0,) * _vectors(-(-len(rows) // lanes))  # tells the kernel at compile time
        self.packed = _pack(rows, bias, len(self.like) * lanes)
        self.channels = len(self.packed) * self.packed.shape[2]  # of a map's row
        self.cuts = np.array(_cuts(runs, rows.shape[1] // runs, PANEL_BYTES // self.packed[0, 0].nbytes))

    def convolve(self, buffer, offsets, row_step, out, step, fresh=True) -> None:
        """out[p · step + o] = bias[o] + Σ over the window at offsets[p]; not `fresh`, it is added to what is there."""
        _convolve(buffer, offsets, row_step, self.cuts, self.packed, self.like, out, step, fresh)


def _vectors(needed):
    """How many vectors of channels a panel has: as few in all panels as can be, then as many in one as can be.

    Where there are 16 registers, each of two counts for TWO."""
    return min(range(2, MOST + 1), key=lambda v: (-(-needed // v) * v * (TWO if v == 2 else 1), -v))


def _pack(rows, bias, width):
    """Panels of `width` channels: (panels, 1 + K, width), the bias first."""
    out_channels, taps = rows.shape
    count = -(-out_channels // width)
    packed = memory.zeros((count, 1 + taps, width), rows.dtype)
    flat = np.ascontiguousarray(rows).reshape(-1)

    def fill(i: int) -> None:
        part = slice(i * width, min((i + 1) * width, out_channels))
        copy_transposed(flat, taps, 0, taps, part.start, part.stop - part.start, packed[i, 1:].reshape(-1), width)
        if bias is not None:
            packed[i, 0, : part.stop - part.start] = bias[part]

    parallel.run(fill, count)
    return packed


def _cuts(runs, run_length, depth):
    """A window's taps in cuts of about `depth`: first tap, first and last run, first and last number of each run."""
    if run_length <= depth:
        together = depth // run_length
        return [(r * run_length, r, min(r + together, runs), 0, run_length) for r in range(0, runs, together)]
    parts = -(-run_length // depth)
    edges = [i * run_length // parts for i in range(parts + 1)]
    return [(r * run_length + k, r, r + 1, k, end) for r in range(runs) for k, end in zip(edges, edges[1:])]


def _convolve(buffer, offsets, row_step, cuts, panels, like, out, step, fresh):
    """See `Panels.convolve`; 4 positions × a row of channels at a time.

    A panel's taps are walked through in cuts, each for all positions, so that a cut's weights stay in the cache.
    """
    width = panels.shape[2]
    for g in range(len(panels)):
        panel = panels[g].reshape(-1)
        for cut in range(len(cuts)):
            tap, run_begin, run_end, begin, end = cuts[cut]
            for p in range(0, len(offsets), 4):
                to = p * step + g * width
                if fresh and cut == 0:
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


_convolve = compiled(_convolve)
