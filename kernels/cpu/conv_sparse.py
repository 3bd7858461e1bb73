"""The gradients behind a max-pool, from the places that won alone.

A pool of PiczakNet passes 12 of 144 positions on, HeuriNet's first about 350 of 2084: all other positions have gradient
zero, and so have the products with them. Both gradients are sums of a few rows,

    dweight[o, :] = Σ dy · window(place)    over the places that won in channel o
    dwindow(p)    = Σ dy · weight[o, :]     over the channels o in which p won

and one register kernel adds up such rows: a row of vectors stays in registers while it walks along a list.
"""

from __future__ import annotations

import numpy as np

from scratchnet.compiled import compiled
from scratchnet.kernels.cpu import lowering, memory, parallel
from scratchnet.kernels.cpu.memory import scratch
from scratchnet.kernels.cpu.processor import BYTES
from scratchnet.kernels.cpu.vectors import (
    add,
    fma,
    is_place,
    lanes_of,
    load,
    load_int,
    row,
    row_at,
    scatter,
    splat,
    splat_int,
    store,
    store_at,
    vectors_in,
    where,
    zeros,
)

ROW = vectors_in(320)  # bytes: 5 registers of AVX-512's 32, 10 of AVX2's 16, 20 of NEON's 32
STRETCH = 48  # winners of a channel taken at a time


def backward(dy, argmax, x, weight, stride, padding, need_dx, need_dweight):
    """See `reference.conv_block_backward`."""
    n, channels, *size = x.shape
    out_channels = len(weight)
    geometry = lowering.lower(channels, tuple(size), weight.shape[2:], stride, padding)
    dy, argmax = _at_least(lanes_of(x.dtype), dy, 0), _at_least(lanes_of(x.dtype), argmax, -1)
    starts, taps, kernels = in_chunks(geometry, weight)
    dx = memory.empty((n, *size, channels), x.dtype).transpose(0, 3, 1, 2) if need_dx else None
    dkernels = memory.empty((parallel.PARTS, *kernels.shape), x.dtype)
    dbiases = np.zeros((parallel.PARTS, dy.shape[2]), x.dtype)
    rooms = np.arange(dy.shape[2], dtype=np.int32) * (1 + dy.shape[1])  # where each channel's list begins
    samples = geometry.piece(n)

    def part(i: int) -> None:
        begin, end = parallel.part(i, n)
        dkernels[i] = 0
        windows = geometry.buffer(samples, x.dtype)
        dwindows = geometry.buffer(samples, x.dtype, "gradient")
        winners = scratch("winners", (2, len(rooms), 1 + dy.shape[1]), np.int32)  # place of each, channel of each
        values = scratch("values", winners.shape, x.dtype)
        counts, firsts = np.empty(len(rooms), np.int32), np.empty(geometry.positions + 1, np.int32)
        for s in range(begin, end, samples):
            stop = min(s + samples, end)
            if need_dweight:
                geometry.fill(windows, x[s:stop])
            if need_dx:
                dwindows[:] = 0
            _gradients(
                dy[s:stop], argmax[s:stop], geometry.sample_size, geometry.offsets, starts, kernels,
                need_dx, need_dweight, windows, dwindows, winners, values, rooms, counts, firsts,
                dkernels[i], dbiases[i],
            )  # fmt: skip
            if need_dx:
                dx[s:stop] = geometry.image(dwindows, stop - s, size)

    parallel.run(part, parallel.PARTS)
    if not need_dweight:
        return dx, None, None
    parts = dkernels.reshape(parallel.PARTS, out_channels, len(starts), -1)
    return dx, lowering.weight_gradient(parts, taps, weight.shape), dbiases.sum(axis=0)[:out_channels]


def in_chunks(geometry, weight):
    """`lowering.chunks`, and the weights in their order: (O, all chunks), 0 where a chunk goes beyond the window."""
    starts, taps = lowering.chunks(geometry, lanes_of(weight.dtype), len(ROW))
    kernels = memory.zeros((len(weight), len(taps)), weight.dtype)
    kernels[:, taps >= 0] = lowering.rows_of(weight)[:, taps[taps >= 0]]
    return starts, taps, kernels


def _at_least(lanes, maps, nothing):
    """Maps (N, O, H', W') as (N, H' · W', O), with further channels of `nothing` where they do not fill a vector."""
    n, channels, height, width = maps.shape
    rows = np.ascontiguousarray(maps.transpose(0, 2, 3, 1)).reshape(n, height * width, channels)
    if channels >= lanes:
        return rows
    return np.pad(rows, ((0, 0), (0, 0), (0, lanes - channels)), constant_values=nothing)


def _collect(dy, argmax, places, values, starts, counts, dbias):
    """For each channel the places that won and their gradients, from column 1 on; neighbouring windows that share
    their winner are merged. A vector of channels at a time, without branches: a slot is written again until the next
    winner comes. The last vector begins early enough to end with the last channel."""
    gradient_at, winner_at = dy.reshape(-1), argmax.reshape(-1)
    place_at, value_at = places.reshape(-1), values.reshape(-1)
    channels, lanes = dy.shape[1], BYTES // dy.itemsize
    totals = np.empty(channels, dy.dtype)
    zero = zeros(dy)
    nothing = splat_int(zero, -1)
    for c in range(0, channels, lanes):
        o = min(c, channels - lanes)
        winner, gradient, total = nothing, zero, zero
        slot = load_int(zero, starts, o)
        for q in range(o, dy.size, channels):
            place = load_int(zero, winner_at, q)
            new = is_place(place, winner)
            g = where(is_place(place, nothing), load(gradient_at, q), zero)
            winner, gradient = where(new, place, winner), where(new, g, add(gradient, g))
            slot = add(slot, new)
            scatter(place_at, slot, winner)
            scatter(value_at, slot, gradient)
            total = add(total, g)
        store(counts, o, slot)
        store(totals, o, total)
    for o in range(channels):
        counts[o] -= starts[o]
        dbias[o] += totals[o]


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
    width = dkernels.shape[1] // len(starts)
    out = dkernels.reshape(-1)
    for begin in range(1, counts.max() + 1, STRETCH):
        for o in range(len(counts)):
            for c in range(len(starts)):
                d = o * dkernels.shape[1] + c * width
                total = row(out, d, ROW)
                for t in range(begin, min(begin + STRETCH, counts[o] + 1)):
                    total = fma(splat(values[o, t]), row_at(sample, offsets[places[o, t]], starts, c, ROW), total)
                store(out, d, total)


def _add_all(dy, sample_size, kernels, offsets, starts, channels, values, firsts, samples):
    """window(p) += Σ dy · kernels over the channels whose dy is not zero, for a few samples.   dy (S, positions, O)"""
    for s in range(len(dy)):
        count = 0
        for p in range(dy.shape[1]):
            firsts[p] = count
            for o in range(dy.shape[2]):
                channels[count], values[count] = o, dy[s, p, o]
                count += dy[s, p, o] != 0
        firsts[dy.shape[1]] = count
        _add_kernels(kernels, channels, values, firsts, offsets, starts, samples[s * sample_size :])


def _add_kernels(kernels, channels, values, firsts, offsets, starts, sample):
    """window(p) += Σ values · kernels[o], chunk by chunk; what a chunk has beyond the window is zero.

    Zero times infinity is NaN: of a gradient that is not finite, NaN gets into neighbouring inputs too.
    """
    rows, width = kernels.reshape(-1), kernels.shape[1] // len(starts)
    index, gradients = channels.reshape(-1), values.reshape(-1)
    for c in range(len(starts)):
        for p in range(len(firsts) - 1):
            if firsts[p] == firsts[p + 1]:
                continue
            total = row_at(sample, offsets[p], starts, c, ROW)
            for t in range(firsts[p], firsts[p + 1]):
                k = index[t] * kernels.shape[1] + c * width
                total = fma(splat(gradients[t]), row(rows, k, ROW), total)
            store_at(sample, offsets[p], starts, c, total)


def _gradients(
    dy, argmax, sample_size, offsets, starts, kernels, need_dx, need_dweight,
    windows, dwindows, winners, values, rooms, counts, firsts, dkernels, dbias,
):  # fmt: skip
    """Both gradients for a few samples, whose windows lie one after the other."""
    for j in range(len(dy)):
        here = j * sample_size
        _collect(dy[j], argmax[j], winners[0], values[0], rooms, counts, dbias)
        lists = counts[: len(kernels)]
        if need_dweight:
            _add_windows(windows[here:], winners[0], values[0], lists, offsets, starts, dkernels)
        if need_dx:
            _sort_by_place(winners[0], values[0], lists, firsts, winners[1], values[1])
            _add_kernels(kernels, winners[1], values[1], firsts, offsets, starts, dwindows[here:])


_collect = compiled(_collect)
_sort_by_place = compiled(_sort_by_place)
_add_windows = compiled(_add_windows)
_add_kernels = compiled(_add_kernels)
_gradients = compiled(_gradients)
add_all = compiled(_add_all)
