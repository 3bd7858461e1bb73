"""Mini-batches, made ready in a background thread while the network trains on the one before."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue

import numpy as np

from scratchnet.data.segments import Segments

FEATURES = ("waveform", "logmel")
Batch = tuple[np.ndarray, np.ndarray]


class Batches:
    """An iterable of (x, y): x (b, 1, segment_length) or (b, channels, n_mels, n_frames) float32, y (b,) int64.

    One pass is one epoch; the last batch may be smaller. With `rng` every epoch has a new order, without it the order
    of `indices`. `balanced` draws segments of the smaller classes again until every class is as large as the largest.
    "logmel" is standardised: (logmel - mean) / std.

    x is a buffer that is used again: it holds its values until the next batch is asked for. `prefetch` batches wait
    ready; `waited` is how many seconds the last epoch's consumer stood waiting for one. `empty(shape, dtype)` makes the
    buffers.

    Raises ValueError for an unknown feature, a size or prefetch under 1, or a std that is not above 0.
    """

    def __init__(
        self,
        segments: Segments,
        indices: np.ndarray | Sequence[int],
        batch_size: int,
        *,
        feature: str = "waveform",
        rng: np.random.Generator | None = None,
        mean: float = 0.0,
        std: float = 1.0,
        balanced: bool = False,
        prefetch: int = 2,
        empty: Callable[..., np.ndarray] = np.empty,
    ) -> None:
        if feature not in FEATURES:
            raise ValueError(f"feature must be one of {FEATURES}, not {feature!r}")
        if batch_size < 1 or prefetch < 1:
            raise ValueError(f"batch_size {batch_size} and prefetch {prefetch} must be at least 1")
        if not std > 0:
            raise ValueError(f"std must be above 0, not {std}")
        self.segments, self.batch_size, self.prefetch = segments, batch_size, prefetch
        indices = np.asarray(indices)
        self.indices = np.flatnonzero(indices) if indices.dtype == bool else indices.astype(np.int64)
        self.feature, self.mean, self.std = feature, float(mean), float(std)
        self.rng, self.balanced = rng, balanced
        self.empty = empty
        self.waited = 0.0
        self._spare: list[np.ndarray] = []  # buffers of past epochs
        self._count = int(sum(self._copies().values())) if balanced else len(self.indices)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-self._count // self.batch_size)

    def _copies(self) -> dict[int, int]:
        labels, counts = np.unique(self.segments.label[self.indices], return_counts=True)
        return {int(label): int(counts.max()) for label in labels}

    def order(self) -> np.ndarray:
        """The segments of one epoch in their order."""
        order = self.indices
        if self.balanced:
            labels = self.segments.label[order]
            parts = []
            for label, copies in self._copies().items():
                members = order[labels == label]
                if self.rng is not None:
                    members = self.rng.permutation(members)
                parts.append(np.resize(members, copies))  # over and over again
            order = np.concatenate([order[:0], *parts])
        return order if self.rng is None else self.rng.permutation(order)

    def _fill(self, indices: np.ndarray, buffer: np.ndarray) -> Batch:
        x = buffer[: len(indices)]
        if self.feature == "waveform":
            self.segments.waveforms(indices, out=x)
        else:
            self.segments.logmels(indices, out=x, mean=self.mean, std=self.std)
        return x, self.segments.label[indices]

    def _buffer(self) -> np.ndarray:
        settings, count = self.segments.settings, min(self.batch_size, self._count)
        if self.feature == "waveform":
            return self.empty((count, 1, settings.segment_length), np.float32)
        return self.empty((count, settings.channels, settings.n_mels, settings.n_frames), np.float32)

    def __iter__(self) -> Iterator[Batch]:
        """One epoch. An exception of the background thread comes out here; leaving early ends the thread."""
        order = self.order()
        self.waited = 0.0
        # Buffers go round: free -> filled by the thread -> ready -> with the consumer -> free. None says stop.
        free: SimpleQueue[np.ndarray | None] = SimpleQueue()
        ready: SimpleQueue[tuple[np.ndarray, Batch] | BaseException | None] = SimpleQueue()
        stop = threading.Event()
        buffers = [
            self._spare.pop() if self._spare else self._buffer() for _ in range(min(self.prefetch + 1, len(self)))
        ]
        for buffer in buffers:
            free.put(buffer)

        def produce() -> None:
            try:
                for first in range(0, len(order), self.batch_size):
                    buffer = free.get()
                    if buffer is None or stop.is_set():
                        return
                    ready.put((buffer, self._fill(order[first : first + self.batch_size], buffer)))
                ready.put(None)
            except BaseException as error:  # handed to the consumer, whatever it is
                ready.put(error)

        thread = threading.Thread(target=produce, name="scratchnet-batches", daemon=True)
        thread.start()
        try:
            while True:
                start = time.perf_counter()
                item = ready.get()
                self.waited += time.perf_counter() - start
                if item is None:
                    return
                if isinstance(item, BaseException):
                    raise item
                buffer, batch = item
                yield batch
                free.put(buffer)
        finally:
            stop.set()
            free.put(None)
            thread.join()
            self._spare.extend(buffers)
