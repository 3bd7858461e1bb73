"""Mini-batches on the device: gathered from a data set that lies there, or uploaded while the last one computes."""

from __future__ import annotations

import numpy as np

from scratchnet.kernels.cuda import device
from scratchnet.kernels.cuda.arrays import BLOCK, int64

PIECE = 2048  # samples that a block copies; the same in batches.cu
UPLOAD = 1 << 24  # numbers that travel at once
SHARE = 0.5  # of the free memory, which a data set may take: the rest is the network's


def gather_segments(samples, start, indices, length):
    """batch[b] = samples[start[indices[b]] :][:length] → (B, length) float32: a mini-batch of a data set that lies on
    the device. samples (n,) float32, start and indices int64, all on the device."""
    gpu = device.current()
    batch = gpu.empty((len(indices), length), np.float32)
    if batch.size:
        pieces = -(-length // PIECE)
        args = samples, start, indices, batch, int64(pieces), int64(length)
        gpu.launch("batches.cu", "gather_segments", len(indices) * pieces, BLOCK, args, {"REAL": "float"})
    return batch


def fits(numbers):
    """Whether so many float32 numbers may lie on the device for as long as a network trains there."""
    return 4 * numbers <= SHARE * device.current().free_memory


def upload(parts, numbers):
    """The float32 arrays `parts`, of so many numbers together, as one (numbers,) on the device, piece by piece."""
    gpu = device.current()
    whole, first = gpu.empty((numbers,), np.float32), 0
    for part in parts:
        flat = part.reshape(-1)
        for i in range(0, flat.size, UPLOAD):
            piece = flat[i : i + UPLOAD]
            whole[first : first + piece.size] = gpu.upload(np.ascontiguousarray(piece))
            first += piece.size
    if first != numbers:
        raise ValueError(f"{first} numbers were given, not {numbers}")
    return whole


def upload_ahead(batches):
    """(x, label) of the host → (x, label) on the device, each x copied while the device computes on the one before.

    x must lie in pinned memory (`CupyDevice.empty_pinned`), C-contiguous, the first one being the largest; it may
    change when the next is asked for. The x that is handed out holds its values until the next is asked for.
    """
    gpu = device.current()
    copying, computing = gpu.new_stream(), gpu.stream()
    rooms, free = [], []  # two x's on the device take turns; when the work on each is done
    ahead = None
    try:
        for number, (x, label) in enumerate(batches):
            turn = number % 2
            if len(rooms) == turn:
                rooms.append(gpu.empty(x.shape, x.dtype))
                free.append(computing.record())
            copying.wait_event(free[turn])
            rooms[turn][: len(x)].set(x, stream=copying)
            there = copying.record()
            if ahead is not None:
                yield from _hand_out(ahead, computing, free)
            ahead = rooms[turn][: len(x)], gpu.upload(label), turn
            there.synchronize()  # x may now change here, and is whole there; the device computes meanwhile
        if ahead is not None:
            yield from _hand_out(ahead, computing, free)
    finally:
        copying.synchronize()


def _hand_out(ahead, computing, free):
    x, label, turn = ahead
    yield x, label
    free[turn] = computing.record()  # all work on x is queued by now
