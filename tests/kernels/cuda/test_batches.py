"""Mini-batches on the device: what is gathered there, and that uploads overtake nothing."""

import numpy as np
import pytest

from scratchnet.kernels import cuda
from scratchnet.kernels.cuda import batches, device


@pytest.mark.parametrize("length", [1, 10, 2048, 5000])  # a block copies 2048
def test_gather_segments(host, length):
    samples = np.random.default_rng(0).standard_normal(9000).astype(np.float32)
    start, indices = np.array([0, 100, 9000 - length, 500]), np.array([2, 0, 2, 1])
    batch = cuda.gather_segments(samples, start, indices, length)
    np.testing.assert_array_equal(batch, [samples[i : i + length] for i in start[indices]])
    assert cuda.gather_segments(samples, start, indices[:0], length).shape == (0, length)


def test_as_they_are_not_a_bit_changes(host):
    samples = np.array([0.1, -0.0, 1e-40, 3e38, np.inf], np.float32)  # 1e-40 has no leading 1
    batch = cuda.gather_segments(samples, np.array([0]), np.array([0]), 5)
    assert batch.tobytes() == samples.tobytes()


def test_a_data_set_goes_up_piece_by_piece(host, monkeypatch):
    monkeypatch.setattr(batches, "UPLOAD", 7)
    parts = [np.arange(20.0, dtype="f4").reshape(4, 5), np.arange(3.0, dtype="f4")]
    np.testing.assert_array_equal(batches.upload(parts, 23), np.concatenate([part.ravel() for part in parts]))
    with pytest.raises(ValueError, match="23 numbers were given, not 24"):
        batches.upload(parts, 24)


def test_a_data_set_leaves_room_for_the_network(host, monkeypatch):
    monkeypatch.setattr(host, "free_memory", 8000, raising=False)
    assert batches.fits(1000) and not batches.fits(1001)


# -- uploads beside the work, on a device that does nothing before it must


class Stream:
    """Work in its order; `until` does the first so many pieces."""

    def __init__(self):
        self.work, self.done = [], 0

    def add(self, piece):
        self.work.append(piece)

    def until(self, count):
        while self.done < count:
            self.done += 1
            self.work[self.done - 1]()

    def record(self):
        return Event(self, len(self.work))

    def wait_event(self, event):
        self.add(event.synchronize)

    def synchronize(self):
        self.until(len(self.work))


class Event:
    def __init__(self, stream, count):
        self.stream, self.count = stream, count

    def synchronize(self):
        self.stream.until(self.count)


class Array(np.ndarray):
    def set(self, x, stream):
        stream.add(lambda: np.copyto(self, x))


class LazyDevice:
    """Two streams; a piece of work is done as late as their order and the events allow."""

    xp = np

    def __init__(self):
        self.computing, self.copying = Stream(), Stream()

    def empty(self, shape, dtype):
        return np.full(shape, np.nan, dtype).view(Array)

    def upload(self, a):
        return np.array(a)

    def empty_pinned(self, shape, dtype):
        return np.empty(shape, dtype)

    def stream(self):
        return self.computing

    def new_stream(self):
        return self.copying


def host_batches(sizes):
    """Every batch in the same memory."""
    buffer = np.empty((max(sizes, default=0), 3), np.float32)
    for number, size in enumerate(sizes):
        buffer[:] = number
        yield buffer[:size], np.full(size, number)
    buffer[:] = -1


@pytest.mark.parametrize("eager", [False, True], ids=["late", "at once"])
@pytest.mark.parametrize("sizes", [[], [4], [4, 2], [4, 4, 4, 4, 1]])
def test_uploads_overtake_nothing(sizes, eager):
    """What the computing stream sees of each batch, whether the streams run as late as they may or at once."""
    seen = []
    with device.using(LazyDevice()) as gpu:
        for x, label in batches.upload_ahead(host_batches(sizes)):
            gpu.computing.add(lambda x=x, label=label: seen.append((x.copy(), label)))
            if eager:
                gpu.copying.synchronize()
        gpu.computing.synchronize()
    assert [(len(x), len(label)) for x, label in seen] == [(size, size) for size in sizes]
    assert all((x == number).all() and (label == number).all() for number, (x, label) in enumerate(seen))


def test_the_next_batch_is_under_way_while_the_last_one_computes():
    with device.using(LazyDevice()) as gpu:
        for number, _ in enumerate(batches.upload_ahead(host_batches([4] * 5))):
            ahead = [piece for piece in gpu.copying.work if getattr(piece, "__name__", "") == "<lambda>"]
            assert len(ahead) == min(number + 2, 5)
            gpu.computing.add(lambda: None)


def test_an_epoch_that_is_left_early_leaves_no_copy_behind():
    with device.using(LazyDevice()) as gpu:
        feed = batches.upload_ahead(host_batches([4] * 5))
        next(feed)
        feed.close()
        assert gpu.copying.done == len(gpu.copying.work)
