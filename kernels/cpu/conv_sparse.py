"""The gradients behind a max-pool, from the places that won alone.

A pool of PiczakNet passes 12 of 144 positions on, HeuriNet's first about 347 of 2084: all other positions have gradient
zero, and so have the products with them. Both gradients are sums of a few rows,

    dweight[o, :] = Σ dy · window(place)    over the places that won in channel o
    dwindow(p)    = Σ dy · weight[o, :]     over the channels o in which p won

and one register kernel adds up such rows: 5 vectors stay in registers while it walks along a list.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit

from scratchnet.kernels.cpu import lowering, parallel
from scratchnet.kernels.cpu.parallel import scratch
from scratchnet.kernels.cpu.vectors import fma, lanes_of, load, splat, store

STRETCH = 48  # winners of a channel taken at a time


def backward(dy, argmax, x, weight, stride, padding, need_dx, need_dweight):
    """See `reference.conv_block_backward`."""
    n, channels, *size = x.shape
    out_channels = len(weight)
    geometry = lowering.lower(channels, tuple(size), weight.shape[2:], stride, padding)
    dy = np.ascontiguousarray(dy.transpose(0, 2, 3, 1)).reshape(n, -1, out_channels)
    argmax = np.ascontiguousarray(argmax.transpose(0, 2, 3, 1)).reshape(dy.shape)
    starts, taps = _chunks(geometry, 5 * lanes_of(x.dtype))
    used = taps >= 0
    kernels = np.ascontiguousarray(np.where(used, lowering.rows_of(weight)[:, taps], x.dtype.type(0)))
    dx = parallel.empty((n, *size, channels), x.dtype).transpose(0, 3, 1, 2) if need_dx else None
    dkernels = np.zeros((parallel.PARTS, *kernels.shape), x.dtype)
    dbiases = np.zeros((parallel.PARTS, out_channels), x.dtype)
    samples = geometry.piece(n)

    def part(i: int) -> None:
        begin, end = parallel.part(i, n)
        windows = geometry.buffer(samples, x.dtype)
        dwindows = geometry.buffer(samples, x.dtype, "gradient")
        winners = scratch("winners", (2, out_channels, 1 + dy.shape[1]), np.int32)  # place of each, channel of each
        values = scratch("values", winners.shape, x.dtype)
        counts, firsts = np.empty(out_channels, np.int32), np.empty(geometry.positions + 1, np.int32)
        for s in range(begin, end, samples):
            stop = min(s + samples, end)
            geometry.fill(windows, x[s:stop])
            dwindows[:] = 0
            _gradients(
                dy[s:stop], argmax[s:stop], geometry.sample_size, geometry.offsets, starts, kernels,
                need_dx, need_dweight, windows, dwindows, winners, values, counts, firsts, dkernels[i], dbiases[i],
            )  # fmt: skip
            if need_dx:
                dx[s:stop] = geometry.image(dwindows, stop - s, size)

    parallel.run(part, parallel.PARTS)
    if not need_dweight:
        return dx, None, None
    dweight = np.empty((out_channels, used.sum()), x.dtype)
    dweight[:, taps[used]] = dkernels.sum(axis=0)[:, used]
    return dx, lowering.weight_of(dweight, weight.shape), dbiases.sum(axis=0)


@lru_cache(maxsize=64)
def _chunks(geometry, width):
    """A window cut into chunks of `width` numbers: where each starts, and which tap each number is (−1: none)."""
    if geometry.span <= 1.3 * geometry.runs * geometry.run_length:  # the gaps between runs cost less than their edges
        stretches = [(0, geometry.span)]
    else:
        stretches = [(run * geometry.row_step, geometry.run_length) for run in range(geometry.runs)]
    starts = np.array([s for first, length in stretches for s in range(first, first + length, width)])
    inside = np.array([first + length for first, length in stretches for _ in range(first, first + length, width)])
    place = starts[:, None] + np.arange(width)
    run, k = np.divmod(place, geometry.row_step)
    taps = np.where((place < inside[:, None]) & (k < geometry.run_length), run * geometry.run_length + k, -1)
    return starts, taps.reshape(-1)


def _collect(dy, argmax, places, values, counts, dbias):
    """For each channel the places that won and their gradients, from column 1 on; neighbouring windows that share
    their winner are merged. Without branches: a slot is written again until the next winner comes."""
    place_at, value_at, width = places.reshape(-1), values.reshape(-1), np.uintp(places.shape[1])
    zero = dy.dtype.type(0)
    for o in range(dy.shape[1]):
        first = np.uintp(o) * width
        slot, winner, gradient, total = first, np.int32(-1), zero, zero
        for q in range(dy.shape[0]):
            place = argmax[q, o]
            g = dy[q, o] if place >= 0 else zero
            new = (place != winner) & (place >= 0)
            gradient = g if new else gradient + g
            winner = place if new else winner
            slot += np.uintp(new)
            place_at[slot], value_at[slot] = winner, gradient
            total += g
        counts[o] = slot - first
        dbias[o] += total


def _sort_by_place(places, values, counts, firsts, channels, sorted_values):
    """The same winners ordered by place: those of place p lie in [firsts[p], firsts[p + 1])."""
    firsts[:] = 0
    for o in range(len(counts)):
        for t in range(1, counts[o] + 1):
            firsts[places[o, t] + 1] += 1
    for p in range(1, len(firsts)):
        firsts[p] += firsts[p - 1]
    to, out = channels.reshape(-1), sorted_values.reshape(-1)
    for o in range(len(counts)):
        for t in range(1, counts[o] + 1):
            p = places[o, t]
            to[firsts[p]] = o
            out[firsts[p]] = values[o, t]
            firsts[p] += 1
    for p in range(len(firsts) - 1, 0, -1):  # each first has moved on to the next one
        firsts[p] = firsts[p - 1]
    firsts[0] = 0


def _add_windows(sample, places, values, counts, offsets, starts, dkernels):
    """dkernels[o] += Σ values · window(place). A stretch of every list at a time: its windows overlap, and what they
    have in common stays in the first-level cache."""
    lanes = 64 // sample.itemsize
    out = dkernels.reshape(-1)
    for begin in range(1, counts.max() + 1, STRETCH):
        for o in range(len(counts)):
            for c in range(len(starts)):
                d = o * dkernels.shape[1] + c * 5 * lanes
                a0, a1, a2 = load(out, d), load(out, d + lanes), load(out, d + 2 * lanes)
                a3, a4 = load(out, d + 3 * lanes), load(out, d + 4 * lanes)
                for t in range(begin, min(begin + STRETCH, counts[o] + 1)):
                    g = splat(values[o, t])
                    s = offsets[places[o, t]] + starts[c]
                    a0, a1 = fma(g, load(sample, s), a0), fma(g, load(sample, s + lanes), a1)
                    a2, a3 = fma(g, load(sample, s + 2 * lanes), a2), fma(g, load(sample, s + 3 * lanes), a3)
                    a4 = fma(g, load(sample, s + 4 * lanes), a4)
                store(out, d, a0)
                store(out, d + lanes, a1)
                store(out, d + 2 * lanes, a2)
                store(out, d + 3 * lanes, a3)
                store(out, d + 4 * lanes, a4)


def _add_kernels(kernels, channels, values, firsts, offsets, starts, sample):
    """window(p) += Σ values · kernels[o], chunk by chunk; what a chunk has beyond the window is zero."""
    lanes = 64 // sample.itemsize
    rows, width = kernels.reshape(-1), kernels.shape[1]
    index, gradients = channels.reshape(-1), values.reshape(-1)
    for c in range(len(starts)):
        for p in range(len(firsts) - 1):
            if firsts[p] == firsts[p + 1]:
                continue
            d = offsets[p] + starts[c]
            a0, a1, a2 = load(sample, d), load(sample, d + lanes), load(sample, d + 2 * lanes)
            a3, a4 = load(sample, d + 3 * lanes), load(sample, d + 4 * lanes)
            for t in range(firsts[p], firsts[p + 1]):
                g = splat(gradients[t])
                s = index[t] * width + c * 5 * lanes
                a0, a1 = fma(g, load(rows, s), a0), fma(g, load(rows, s + lanes), a1)
                a2, a3 = fma(g, load(rows, s + 2 * lanes), a2), fma(g, load(rows, s + 3 * lanes), a3)
                a4 = fma(g, load(rows, s + 4 * lanes), a4)
            store(sample, d, a0)
            store(sample, d + lanes, a1)
            store(sample, d + 2 * lanes, a2)
            store(sample, d + 3 * lanes, a3)
            store(sample, d + 4 * lanes, a4)


def _gradients(
    dy, argmax, sample_size, offsets, starts, kernels, need_dx, need_dweight,
    windows, dwindows, winners, values, counts, firsts, dkernels, dbias,
):  # fmt: skip
    """Both gradients for a few samples, whose windows lie one after the other."""
    for j in range(len(dy)):
        here = j * sample_size
        _collect(dy[j], argmax[j], winners[0], values[0], counts, dbias)
        if need_dweight:
            _add_windows(windows[here:], winners[0], values[0], counts, offsets, starts, dkernels)
        if need_dx:
            _sort_by_place(winners[0], values[0], counts, firsts, winners[1], values[1])
            _add_kernels(kernels, winners[1], values[1], firsts, offsets, starts, dwindows[here:])


_collect = njit(nogil=True, cache=True)(_collect)
_sort_by_place = njit(nogil=True, cache=True)(_sort_by_place)
_add_windows = njit(nogil=True, cache=True)(_add_windows)
_add_kernels = njit(nogil=True, cache=True)(_add_kernels)
_gradients = njit(nogil=True, cache=True)(_gradients)
