"""BLAS's number of threads, while threads of our own use it."""

import os
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from scratchnet import blas
from scratchnet.sound import melspectrogram


def test_two_callers_leave_blas_as_it_was():
    """The first to come may be the first to go: BLAS gets its threads back when the last one has gone."""
    with threadpool_limits(2, user_api="blas"):
        first, second = blas.one_blas_thread(), blas.one_blas_thread()
        before = [library["num_threads"] for library in blas._blas().info()]
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert all(library["num_threads"] == 1 for library in blas._blas().info() if library["user_api"] == "blas")
        second.__exit__(None, None, None)
        assert [library["num_threads"] for library in blas._blas().info()] == before


def test_spectrograms_made_at_once_leave_blas_as_it_was():
    """The one that begins last may end last: it must not take the other's setting for the caller's."""
    x = np.random.default_rng(0).normal(size=(64, 20992)).astype(np.float32)
    with threadpool_limits(2, user_api="blas"):
        before = [library["num_threads"] for library in blas._blas().info()]
        for _ in range(3):
            both = [
                threading.Thread(target=melspectrogram, args=(x[:rows],), kwargs={"workers": 2}) for rows in (24, 64)
            ]
            for thread in both:
                thread.start()
            for thread in both:
                thread.join()
            assert [library["num_threads"] for library in blas._blas().info()] == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_child_that_is_forked_inside_limits_and_restores_as_its_parent():
    with threadpool_limits(2, user_api="blas"):
        before = [library["num_threads"] for library in blas._blas().info()]
        read, write = os.pipe()
        with blas.one_blas_thread():
            child = os.fork()
            if child == 0:  # leaves the block, too
                pass
        if child == 0:
            found = [[library["num_threads"] for library in blas._blas().info()]]
            with blas.one_blas_thread():
                found.append([library["num_threads"] for library in blas._blas().info()])
            found.append([library["num_threads"] for library in blas._blas().info()])
            os.write(write, repr(found).encode())
            os._exit(0)
        os.waitpid(child, 0)
        assert eval(os.read(read, 1000)) == [before, [1] * len(before), before]
