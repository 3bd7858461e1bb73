"""How a convolution's input lies in memory while it is worked on: channels last, padded, a few samples at a time.

In a row (H, W, C) the window of an output position is `runs` stretches of `run_length` numbers, `row_step` apart, the
first at `offsets[position]`. A stretch of time with channels (height 1) is one run.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from scratchnet.compiled import compiled
from scratchnet.kernels.cpu import memory, parallel
from scratchnet.kernels.cpu.memory import scratch

SLACK = 128  # numbers after the last sample: a row of vectors may read, and write, up to 79 past a window's end
PIECE_BYTES = 384 * 1024  # of input per piece: fits the second-level cache beside the weights


@dataclass(frozen=True, eq=False)
class Lowering:
    """The geometry of one convolution of images (C, H, W)."""

    channels: int
    height: int  # with padding
    width: int
    top: int
    left: int
    rows: int  # of the output map
    columns: int
    runs: int
    run_length: int
    offsets: np.ndarray  # (positions,) int64

    @property
    def positions(self) -> int:
        return self.rows * self.columns

    @property
    def row_step(self) -> int:
        return self.width * self.channels

    @property
    def sample_size(self) -> int:
        return self.height * self.row_step

    @property
    def span(self) -> int:
        """From the first to the last number of a window, those in between included."""
        return (self.runs - 1) * self.row_step + self.run_length

    def piece(self, n: int) -> int:
        """How many samples make a piece."""
        return max(1, min(n, PIECE_BYTES // (4 * max(self.sample_size, self.positions * 64))))

    def pieces(self, n: int, times: int = 1) -> list[slice]:
        """n samples in pieces of about that size or `times` as large, as many for each thread.

        Each of the last ones is cut in two: a thread that is behind is not waited for long. None is larger than the
        first.
        """
        threads = parallel.threads()
        rounds = n / (times * self.piece(n) * threads)
        count, last = max(1, min(n, max(1, round(rounds)) * threads)), 2 * threads
        whole = count - last if 2 * last <= count <= n // 2 else count
        halves = np.r_[0 : 2 * whole : 2, 2 * whole : 2 * count + 1]
        edges = -(-halves * n // (2 * count))
        return [slice(begin, end) for begin, end in zip(edges, edges[1:])]

    def offsets_of(self, samples: int) -> np.ndarray:
        """The offsets of several samples, one after the other, the last one repeated up to a multiple of 4."""
        return _offsets(self, samples)

    def buffer(self, samples: int, dtype, name: str = "rows") -> np.ndarray:
        """Room for `samples` samples, this thread's own, not cleared."""
        return scratch(name, (samples * self.sample_size + SLACK,), dtype)

    def fill(self, buffer: np.ndarray, x: np.ndarray) -> None:
        """Copy x (S, C, H, W), of any strides, into the buffer, zeros around it."""
        (height, width), full = x.shape[2:], self._whole(buffer, len(x))
        full[:, : self.top] = full[:, self.top + height :] = 0
        full[:, :, : self.left] = full[:, :, self.left + width :] = 0
        self.image(buffer, len(x), x.shape[2:])[...] = x

    def image(self, buffer: np.ndarray, samples: int, size) -> np.ndarray:
        """The unpadded inside of the buffer, seen as (S, C, H, W)."""
        inside = self._whole(buffer, samples)[:, self.top : self.top + size[0], self.left : self.left + size[1]]
        return inside.transpose(0, 3, 1, 2)

    def _whole(self, buffer: np.ndarray, samples: int) -> np.ndarray:
        return buffer[: samples * self.sample_size].reshape(samples, self.height, self.width, self.channels)


@lru_cache(maxsize=64)
def lower(channels, size, kernel_size, stride, padding) -> Lowering:
    """The geometry for images (channels, *size)."""
    (top, bottom), (left, right) = padding
    height, width = size[0] + top + bottom, size[1] + left + right
    rows, columns = (height - kernel_size[0]) // stride[0] + 1, (width - kernel_size[1]) // stride[1] + 1
    i, j = np.divmod(np.arange(rows * columns), columns)
    offsets = (i * stride[0] * width + j * stride[1]) * channels
    return Lowering(
        channels, height, width, top, left, rows, columns, kernel_size[0], kernel_size[1] * channels, offsets
    )


@lru_cache(maxsize=32)
def _offsets(geometry, samples):
    offsets = (np.arange(samples)[:, None] * geometry.sample_size + geometry.offsets).reshape(-1)
    return np.pad(offsets, (0, -len(offsets) % 4), mode="edge")


@lru_cache(maxsize=256)
def chunks(geometry, lanes, together):
    """A window cut into vectors, `together` of them a chunk: where each starts (chunks, together), and which tap each
    number is (−1: none). No two vectors overlap."""
    step, length = geometry.row_step, geometry.run_length
    reach = -(-length // lanes) * lanes  # what the vectors of a run cover
    # The gaps between runs cost less than their edges, or there are none.
    if reach > step or geometry.span <= 1.3 * geometry.runs * length:
        stretches = [(0, geometry.span)]
    else:
        stretches = [(run * step, run * step + length) for run in range(geometry.runs)]
    starts = [start for first, end in stretches for start in range(first, end, lanes)]
    ends = [end for first, end in stretches for _ in range(first, end, lanes)]
    more = -len(starts) % together
    starts += [starts[-1] + (1 + i) * lanes for i in range(more)]
    places = np.add.outer(starts, np.arange(lanes))
    run, k = np.divmod(places, step)
    inside = (places < np.array(ends + more * [0])[:, None]) & (k < length)
    return np.reshape(starts, (-1, together)), np.where(inside, run * length + k, -1).reshape(-1)


def rows_of(weight: np.ndarray) -> np.ndarray:
    """Weights (O, C, kh, kw) in the order of a window: (O, kh · kw · C)."""
    return np.ascontiguousarray(weight.transpose(0, 2, 3, 1)).reshape(len(weight), -1)


def gradient_rows(dy: np.ndarray, y: np.ndarray | None) -> np.ndarray:
    """dy (S, O, H', W') as a matrix (S · positions, O); with y, 0 where that is not positive."""
    rows = np.ascontiguousarray(dy.transpose(0, 2, 3, 1)).reshape(-1, dy.shape[1])
    return rows if y is None else np.where(y.transpose(0, 2, 3, 1).reshape(rows.shape) <= 0, 0, rows)


def weight_gradient(parts: np.ndarray, taps: np.ndarray, shape) -> np.ndarray:
    """The sum of partial gradients (parts, O, chunks, width), cut as `taps` says, as weights (O, C, kh, kw)."""
    channels, kh, kw = shape[1:]
    order = np.arange(channels * kh * kw).reshape(channels, kh, kw).transpose(1, 2, 0).reshape(-1)  # tap → place
    places = np.where(taps < 0, -1, order[taps])
    dweight = memory.empty((shape[0], len(order)), parts.dtype)
    parallel.run(lambda i: _sum(parts, places, dweight, *parallel.part(i, shape[0])), parallel.PARTS)
    return dweight.reshape(shape)


def _sum(parts, places, dweight, begin, end):
    """dweight[o, place] = Σ parts, in the order of the parts, for the channels from `begin` to `end`."""
    chunks, width = parts.shape[2:]
    totals = np.empty(width, parts.dtype)
    for o in range(begin, end):
        for chunk in range(chunks):
            totals[:] = parts[0, o, chunk]
            for part in range(1, len(parts)):
                totals += parts[part, o, chunk]
            for k in range(width):
                place = places[chunk * width + k]
                if place >= 0:
                    dweight[o, place] = totals[k]


_sum = compiled(_sum)
