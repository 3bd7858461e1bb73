"""Pieces of work on threads: each done once, whatever goes wrong; and rooms for what they compute."""

import os
import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from scratchnet import blas
from scratchnet.kernels.cpu import memory, parallel

LINE = 64  # bytes of a cache line


@pytest.fixture(params=[1, 2, 5])
def threads(request):
    before = parallel.threads()
    assert parallel.threads(request.param) == request.param == parallel.threads()
    yield request.param
    parallel.threads(before)


@pytest.mark.parametrize("pieces", [0, 1, 2, 7, 40])
def test_each_piece_once(threads, pieces):
    done = []
    parallel.run(done.append, pieces)
    assert sorted(done) == list(range(pieces))


def test_all_threads_work_at_once(threads):
    """As many pieces as threads wait for one another, which fewer threads would do for ever."""
    meeting = threading.Barrier(threads, timeout=5)
    parallel.run(lambda piece: meeting.wait(), threads)
    seen = set()
    meeting = threading.Barrier(threads, timeout=5)
    parallel.run(lambda piece: (meeting.wait(), seen.add(threading.current_thread().name)), threads)
    assert len(seen) == threads


def test_no_more_threads_than_asked_for(threads):
    seen = set()
    parallel.run(lambda piece: (time.sleep(0.001), seen.add(threading.current_thread().name)), 40)
    assert len(seen) <= threads


def test_another_thread_may_set_their_number_meanwhile(threads, monkeypatch):
    """Between the moment at which a call counts its threads and that at which it takes them; or while it has them."""
    pool, numbers = parallel._executor(), iter([4, 1])
    parallel.threads(threads + 1)
    assert pool.submit(lambda: 3).result() == 3
    monkeypatch.setattr(parallel, "threads", lambda: next(numbers))
    done = []
    parallel.run(done.append, 9)
    assert sorted(done) == list(range(9))
    parallel._pool = None  # of one thread


def test_all_threads_work_for_a_new_thread(threads):
    """At its first work already."""
    failed = []

    def first():
        try:
            test_all_threads_work_at_once(threads)
        except BaseException as error:
            failed.append(error)

    one = threading.Thread(target=first)
    one.start()
    one.join()
    assert not failed


def test_an_exception_comes_out_wherever_it_was_raised(threads):
    for wrong in range(5):
        meeting = threading.Barrier(min(threads, 5), timeout=5)

        def task(piece, wrong=wrong, meeting=meeting):
            if meeting.parties == 5:  # so that each thread takes one piece
                meeting.wait()
            if piece == wrong:
                raise KeyError(piece)

        with pytest.raises(KeyError, match=str(wrong)):
            parallel.run(task, 5)
    test_each_piece_once(threads, 7)


def test_work_within_work_stays_on_its_thread(threads):
    found = []

    def inner(piece):
        found.append((threading.current_thread(), piece))

    def outer(piece):
        mine = threading.current_thread()
        before = len(found)
        parallel.run(inner, 3)
        assert [one for one in found[before:] if one[0] is mine][:3] == [(mine, 0), (mine, 1), (mine, 2)]

    parallel.run(outer, 4)
    assert sorted(piece for _, piece in found) == sorted([0, 1, 2] * 4)
    test_all_threads_work_at_once(threads)  # nobody takes himself for inside any more


def blas_threads():
    return [one["num_threads"] for one in blas._blas().info() if one["user_api"] == "blas"]


def test_blas_has_one_thread_within(threads):
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        for pieces in (1, 3):
            within = []
            parallel.run(lambda piece, within=within: within.append(blas_threads()), pieces)
            assert within == [[1] * len(before)] * pieces and blas_threads() == before == [2] * len(before)
        with pytest.raises(ZeroDivisionError):
            parallel.run(lambda piece: 1 // 0, 3)
        assert blas_threads() == before


def test_blas_gets_its_threads_back_from_the_last_caller():
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with blas.one_blas_thread():
            with blas.one_blas_thread():
                pass
            assert blas_threads() == [1] * len(before)
        assert blas_threads() == before


def test_blas_gets_its_threads_back_whichever_thread_comes_and_goes_first():
    """Two threads at a time, one after the other; and nobody is left the only one that may set BLAS's number."""
    within = []

    def second(step):
        with blas.one_blas_thread():
            within.append(blas_threads())
            step.wait()  # the first has come,
            step.wait()  # and gone

    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        for _ in range(2):
            step = threading.Barrier(2, timeout=5)
            other = threading.Thread(target=second, args=(step,))
            with blas.one_blas_thread():
                other.start()
                step.wait()
            step.wait()
            other.join()
            assert blas_threads() == before and within[-1] == [1] * len(before)
        found = []
        other = threading.Thread(target=lambda: parallel.run(lambda piece: found.append(blas_threads()), 1))
        other.start()
        other.join()
        assert found == [[1] * len(before)] and blas_threads() == before


def test_blas_obeys_and_is_let_go_whoever_else_sets_its_threads():
    """A thread of the caller's program has set them and lives on; and after us others can set them, too."""
    step, within = threading.Barrier(2, timeout=5), []

    def another():
        for library in blas._blas().lib_controllers:
            library.set_num_threads(2)
        step.wait()
        step.wait()

    def later():
        with threadpool_limits(1, user_api="blas"):
            within.append(blas_threads())

    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
    others = [threading.Thread(target=target) for target in (another, later)]
    others[0].start()
    step.wait()
    parallel.run(lambda piece: within.append(blas_threads()), 1)
    step.wait()
    others[0].join()
    others[1].start()
    others[1].join()
    assert within == [[1] * len(before)] * 2


def test_a_wrong_number_of_threads():
    with pytest.raises(ValueError, match="at least 1, not 0"):
        parallel.threads(0)


@pytest.mark.parametrize("given", [0, 1, 3])
def test_the_number_of_threads_is_given(monkeypatch, given):
    monkeypatch.setattr(parallel, "_count", None)
    monkeypatch.setenv("SCRATCHNET_THREADS", str(given))
    assert parallel.threads() == max(given, 1)


def test_the_number_of_threads_is_what_the_machine_lends(monkeypatch):
    monkeypatch.delenv("SCRATCHNET_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 2, 4, 5, 6} if pid == 0 else {1}, raising=False)
    monkeypatch.setattr(parallel, "_count", None)
    assert parallel.threads() == 5
    monkeypatch.delattr(os, "sched_getaffinity")
    for cores, expected in ((7, 7), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        monkeypatch.setattr(parallel, "_count", None)
        assert parallel.threads() == expected


def test_parts_cover_a_range():
    for length in (0, 1, 7, 8, 100):
        for parts in (1, 3, 8):
            ends = [parallel.part(i, length, parts) for i in range(parts)]
            assert [i for first, end in ends for i in range(first, end)] == list(range(length))
            sizes = [end - first for first, end in ends]
            assert max(sizes) - min(sizes) <= 1
    assert parallel.part(7, 80) == (70, 80)


def address(a):
    return a.__array_interface__["data"][0]


def test_scratch_is_the_same_memory_and_each_threads_own(threads):
    here = f"here {threads}"
    first = memory.scratch(here, (5, 3), np.float64)
    assert first.shape == (5, 3) and first.dtype == np.float64 and address(first) % LINE == 0
    assert address(memory.scratch(here, (15,), np.float64)) == address(first)
    assert address(memory.scratch(here, (2,), np.float32)) == address(first)
    assert not np.shares_memory(memory.scratch("there", (5, 3), np.float64), first)
    larger = memory.scratch(here, (16,), np.float64)
    assert larger.shape == (16,) and not np.shares_memory(larger, first)
    meeting, rooms = threading.Barrier(threads, timeout=5), []
    parallel.run(lambda piece: (meeting.wait(), rooms.append(memory.scratch(here, (4,), np.int32))), threads)
    assert len({address(room) for room in rooms}) == threads


@pytest.mark.parametrize("make", [memory.empty, memory.zeros])
@pytest.mark.parametrize("shape", [(), (3, 5), (1 << 17,), (1 << 9, 1 << 10)])
def test_new_arrays(make, shape):
    a = make(shape, np.float64)
    assert a.shape == shape and a.dtype == np.float64 and a.flags.c_contiguous and a.flags.writeable
    assert make is memory.empty or not a.any()
    if make is memory.zeros or a.nbytes >= memory.RECYCLED:
        assert address(a) % LINE == 0


def test_which_room_is_taken_again(monkeypatch):
    """The smallest that is large enough, unless it is more than twice too large."""
    monkeypatch.setattr(memory, "_rooms", [])
    held = [memory.empty((mb << 20,), np.uint8) for mb in (8, 3, 4, 2)]
    place = {a.nbytes >> 20: address(a) for a in held}
    a = b = c = None
    held.clear()
    a = memory.empty((3 << 20,), np.uint8)
    b = memory.empty((3 << 20,), np.uint8)
    assert [address(a), address(b)] == [place[3], place[4]]
    c = memory.empty((3 << 20,), np.uint8)  # 8 MB would be too large
    assert address(c) not in place.values()
    assert [room.nbytes >> 20 for room in memory._rooms] == [8, 2, 3, 4, 3]  # the most recently used last


def test_so_many_rooms_are_remembered(monkeypatch):
    monkeypatch.setattr(memory, "_rooms", [])
    monkeypatch.setattr(memory, "ROOMS", 3)
    held = [memory.empty((1 << 20,), np.uint8) for _ in range(5)]
    assert len(memory._rooms) == 3 and address(memory._rooms[-1]) <= address(held[-1])
    assert all(np.shares_memory(room, a) for room, a in zip(memory._rooms, held[2:]))


def test_as_much_as_is_spared_is_kept(monkeypatch):
    rooms = [np.empty(size, np.uint8) for size in (3, 5, 4)]
    for spare, kept in ((12, [3, 5, 4]), (11, [5, 4]), (9, [5, 4]), (8, [4]), (0, [])):
        monkeypatch.setattr(memory, "_rooms", list(rooms))
        monkeypatch.setattr(memory, "SPARE", spare)
        memory._give_back(rooms)
        assert [room.nbytes for room in memory._rooms] == kept


def test_only_rooms_that_nobody_uses_are_given_back(monkeypatch):
    monkeypatch.setattr(memory, "_rooms", [])
    monkeypatch.setattr(memory, "SPARE", 0)
    held, left = memory.empty((1 << 20,), np.uint8), memory.empty((3 << 20,), np.uint8)
    del left
    new = memory.empty((16 << 20,), np.uint8)
    assert [room.nbytes >> 20 for room in memory._rooms] == [1, 16]
    assert all(np.shares_memory(room, a) for room, a in zip(memory._rooms, (held, new)))


def test_small_arrays_are_not_remembered(monkeypatch):
    monkeypatch.setattr(memory, "_rooms", [])
    memory.empty((memory.RECYCLED - 1,), np.uint8)
    assert not memory._rooms
    memory.empty((memory.RECYCLED,), np.uint8)
    assert len(memory._rooms) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system with fork")
def test_a_forked_child_has_threads_of_its_own(threads):
    parallel.run(lambda piece: None, 8)  # the parent has its threads by now
    child = os.fork()
    if not child:
        done, within = [], []
        parallel.run(done.append, 8)
        with threadpool_limits(2, user_api="blas"):
            parallel.run(lambda piece: within.extend(blas_threads()), 1)
        os._exit(0 if sorted(done) == list(range(8)) and set(within) <= {1} else 1)  # none where no BLAS is known
    assert os.waitpid(child, 0)[1] == 0
