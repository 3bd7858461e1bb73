"""Mini-batches: every segment once, in the order of the seed, out of buffers that are not overwritten too soon."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchnet.data import Batches
from tests.support import rounding


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "scratchnet-batches"]


@given(st.integers(1, 60), st.integers(1, 70), st.integers(1, 3))
def test_an_epoch_has_every_segment_once(segments, count, batch_size, prefetch):
    indices = np.arange(len(segments))[:count]
    batches = Batches(segments, indices, batch_size, feature="logmel", prefetch=prefetch)
    xs, ys = zip(*[(x.copy(), y) for x, y in batches])
    assert len(xs) == len(batches) and all(len(x) == batch_size for x in xs[:-1])
    np.testing.assert_array_equal(np.concatenate(xs)[:, 0], segments.logmel[indices])
    np.testing.assert_array_equal(np.concatenate(ys), segments.label[indices])
    assert not threads()


def test_a_batch_stays_as_it_is_until_the_next_is_asked_for(segments):
    indices = np.arange(len(segments))
    for start, (x, _) in zip(range(0, len(indices), 4), Batches(segments, indices, 4)):
        before = x.copy()
        time.sleep(0.005)  # the thread fills whatever it may meanwhile
        np.testing.assert_array_equal(x, before)
        np.testing.assert_array_equal(x, segments.waveforms(indices[start : start + 4]))


def test_buffers_are_used_again(segments):
    batches = Batches(segments, np.arange(len(segments)), 4, prefetch=2)
    places = {x.ctypes.data for _ in range(3) for x, _ in batches}
    assert len(batches) > 3 and len(places) <= 3


def test_the_seed_tells_the_order(segments):
    def orders(seed):
        batches = Batches(segments, np.arange(len(segments)), 5, feature="logmel", rng=np.random.default_rng(seed))
        return [np.concatenate([x[:, 0, :, 0].copy() for x, _ in batches]) for _ in range(2)]

    first, again, other = orders(1), orders(1), orders(2)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1]) and not np.array_equal(first[0], other[0])
    np.testing.assert_array_equal(np.sort(first[0], axis=0), np.sort(first[1], axis=0))


def test_standardisation(segments):
    ((x, _),) = Batches(segments, [0, 1], 2, feature="logmel", mean=-40.0, std=20.0)
    # Of float32: ours is a product with 1/20, rounded as the product is, the test's a quotient: 3 roundings.
    np.testing.assert_allclose(x, (segments.logmel[:2, None] + 40) / 20, rtol=rounding("float32", 3))


@pytest.mark.parametrize("seed", [None, 0])
def test_balanced(segments, seed):
    by_label = [np.flatnonzero(segments.label == label)[: 2 + 4 * label] for label in range(3)]
    indices = np.concatenate(by_label)
    rng = None if seed is None else np.random.default_rng(seed)
    batches = Batches(segments, indices, 4, feature="logmel", rng=rng, balanced=True)
    y = np.concatenate([y for _, y in batches])
    assert np.bincount(y).tolist() == [10, 10, 10] and len(batches) == 8
    x = np.concatenate([x[:, 0].copy() for x, _ in batches])
    for members in by_label:  # nobody is left out for another's second turn
        for index in members:
            assert (x == segments.logmel[index]).all(axis=(1, 2)).any()


def test_an_exception_in_the_thread_reaches_the_consumer(segments, monkeypatch):
    batches = Batches(segments, [0, 1, 10**6], 2)
    with pytest.raises(IndexError):
        list(batches)
    assert not threads()


@pytest.mark.parametrize("interrupt", [RuntimeError, KeyboardInterrupt])
def test_leaving_early_leaves_no_thread(segments, interrupt):
    batches = Batches(segments, np.arange(len(segments)), 2)
    for _ in batches:
        break
    assert not threads()
    with pytest.raises(interrupt):
        for _ in batches:
            raise interrupt
    assert not [thread for thread in threads() if not _ends(thread)]
    assert len(list(batches)) == len(batches)  # and it can be used again


def _ends(thread):
    thread.join(5)  # the exception still holds the generator; it is closed with it
    return not thread.is_alive()


def test_two_epochs_at_once_do_not_share_buffers(segments):
    batches = Batches(segments, np.arange(len(segments)), 3, feature="logmel")
    for (a, _), (b, _) in zip(batches, batches):
        assert a.ctypes.data != b.ctypes.data
        np.testing.assert_array_equal(a, b)


def test_waiting_is_measured(segments):
    batches = Batches(segments, np.arange(len(segments)), 8)
    assert batches.waited == 0
    start = time.perf_counter()
    list(batches)
    assert 0 < batches.waited <= time.perf_counter() - start
    fill, batches._fill = batches._fill, lambda *a: time.sleep(0.02) or fill(*a)
    list(batches)
    assert batches.waited > 0.02


def test_no_segments_no_batches(segments):
    assert list(Batches(segments, [], 4)) == [] and len(Batches(segments, [], 4)) == 0


def test_bad_arguments(segments):
    for bad in ({"feature": "mfcc"}, {"prefetch": 0}, {"std": 0.0}):
        with pytest.raises(ValueError):
            Batches(segments, [0], 1, **bad)
    with pytest.raises(ValueError):
        Batches(segments, [0], 0)


def test_buffers_are_no_larger_than_an_epoch(segments):
    made = []

    def empty(shape, dtype):
        made.append(shape)
        return np.empty(shape, dtype)

    for feature in ("waveform", "logmel"):
        assert [len(y) for _, y in Batches(segments, [3, 1, 2], 10**12, feature=feature, empty=empty)] == [3]
    assert [shape[0] for shape in made] == [3, 3]


def test_a_mask_chooses_what_it_marks(segments):
    mask = segments.label == 1
    assert np.array_equal(Batches(segments, mask, 7).order(), np.flatnonzero(mask))


def test_no_segments_are_balanced(segments):
    assert list(Batches(segments, [], 7, balanced=True)) == []
