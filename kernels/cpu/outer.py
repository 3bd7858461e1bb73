"""The register kernel of weight gradients: outer products, added up over positions.

4 numbers of one side, each spread over a vector, × 2 to 4 vectors of the other (of 16 registers, 2 or 3) stay in
registers while the kernel walks along a stretch of positions.
"""

from __future__ import annotations

from scratchnet.compiled import compiled
from scratchnet.kernels.cpu import lowering
from scratchnet.kernels.cpu.processor import REGISTERS
from scratchnet.kernels.cpu.vectors import element, fma, lanes_of, row, splat, store

STRETCH = 128  # positions whose rows stay in the first-level cache
MOST = 4 if REGISTERS == 32 else 3  # vectors


def fewest(needed):
    """A tuple of 2 to MOST members, as many vectors a row; whichever are fewer in all, of needed(vectors) rows."""
    return min(((0,) * count for count in range(MOST, 1, -1)), key=lambda like: len(like) * needed(len(like)))


def window_rows(geometry, dtype):
    """A window in such rows: the tuple, where their vectors start, and which tap each number is (`lowering.chunks`)."""
    lanes = lanes_of(dtype)
    like = fewest(lambda vectors: len(lowering.chunks(geometry, lanes, vectors)[0]))
    return like, *lowering.chunks(geometry, lanes, len(like))


def _add_outer(rows, others, at, step, positions, groups, like, out, to):
    """out[to + (4g + i) · width :] += Σ others[at + p · step + 4g + i] · rows[p · width :], for each g and i"""
    width = len(rows) // STRETCH
    for g in range(groups):
        a, b = row(out, to, like), row(out, to + width, like)
        c, d = row(out, to + 2 * width, like), row(out, to + 3 * width, like)
        k = at + 4 * g
        for p in range(positions):
            x = row(rows, p * width, like)
            a, b = fma(splat(element(others, k)), x, a), fma(splat(element(others, k + 1)), x, b)
            c, d = fma(splat(element(others, k + 2)), x, c), fma(splat(element(others, k + 3)), x, d)
            k += step
        store(out, to, a)
        store(out, to + width, b)
        store(out, to + 2 * width, c)
        store(out, to + 3 * width, d)
        to += 4 * width


add_outer = compiled(_add_outer)
