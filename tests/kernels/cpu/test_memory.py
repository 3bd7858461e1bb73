"""Memory that is given out again never changes a result that somebody still holds."""

import numpy as np

from scratchnet.kernels.cpu import parallel

SHAPE = (1024, 512)  # 2 MB: large enough to be recycled


def test_memory_in_use_is_not_given_out_again():
    held = parallel.empty(SHAPE, np.float32)
    held[...] = 1
    view = held.T[3:]
    del held
    other = parallel.empty(SHAPE, np.float32)
    other[...] = 2
    assert (view == 1).all() and not np.shares_memory(view, other)


def test_memory_left_behind_is_used_again(monkeypatch):
    monkeypatch.setattr(parallel, "_rooms", [])  # none that another test has left
    first = parallel.empty(SHAPE, np.float64)
    place = first.ctypes.data
    del first
    assert parallel.empty(SHAPE, np.float64).ctypes.data == place


def test_two_predictions_do_not_share_memory():
    from scratchnet.nets import heurinet

    net = heurinet(rng=np.random.default_rng(0)).front()
    x = np.random.default_rng(1).standard_normal((120, 1, 20992), np.float32)  # 1.2 MB of output
    one = net.forward(x)
    before = one.copy()
    two = net.forward(-x)
    np.testing.assert_array_equal(one, before)
    assert not np.shares_memory(one, two)
