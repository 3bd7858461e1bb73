"""Memory that is given out again never changes a result that somebody still holds, nor does the number of threads."""

import numpy as np

from scratchnet.kernels.cpu import conv_weight, dense, lowering, memory, parallel, winograd, winograd_weight
from scratchnet.layers import Conv1D, Dense, Dropout, Flatten, MaxPool1D, ReLU
from scratchnet.network import Network

SHAPE = (1024, 512)  # 2 MB: large enough to be recycled


def test_memory_in_use_is_not_given_out_again():
    held = memory.empty(SHAPE, np.float32)
    held[...] = 1
    view = held.T[3:]
    del held
    other = memory.empty(SHAPE, np.float32)
    other[...] = 2
    assert (view == 1).all() and not np.shares_memory(view, other)


def test_memory_left_behind_is_used_again(monkeypatch):
    monkeypatch.setattr(memory, "_rooms", [])  # none that another test has left
    first = memory.empty(SHAPE, np.float64)
    place = first.ctypes.data
    del first
    assert memory.empty(SHAPE, np.float64).ctypes.data == place


def test_two_predictions_do_not_share_memory():
    from scratchnet.nets import heurinet

    net = heurinet(rng=np.random.default_rng(0)).front()
    x = np.random.default_rng(1).standard_normal((120, 1, 20992), np.float32)  # 1.2 MB of output
    one = net.forward(x)
    before = one.copy()
    two = net.forward(-x)
    np.testing.assert_array_equal(one, before)
    assert not np.shares_memory(one, two)


def test_memory_that_nobody_uses_is_given_back(monkeypatch):
    monkeypatch.setattr(memory, "_rooms", [])
    monkeypatch.setattr(memory, "SPARE", 5 << 20)
    held = [memory.empty((k << 18,), np.float64) for k in (1, 2, 1, 1)]  # 2, 4, 2 and 2 MB
    kept = held.pop()
    kept[...] = 7
    held.clear()
    memory.empty((3 << 19,), np.float64)  # 12 MB: none fits
    sizes = [room.nbytes >> 20 for room in memory._rooms]
    assert sizes == [2, 2, 12] and (kept == 7).all()  # the oldest two went


def step(threads):
    """What a step gives, of layers that take every way: sparse and dense convolutions, products that skip zeros."""
    before = parallel.threads()
    parallel.threads(threads)
    try:
        rng = np.random.default_rng(0)
        layers = [
            Conv1D(2, 64, 1, rng=rng), ReLU(), Conv1D(64, 20, 7, stride=2, rng=rng), ReLU(), MaxPool1D(3),
            Conv1D(20, 33, 3, padding=1, rng=rng), ReLU(), Conv1D(33, 33, 5, padding=2, rng=rng),
            Flatten(), Dropout(0.5), Dense(33 * 16, 600, rng=rng), ReLU(), Dropout(0.5), Dense(600, 5, rng=rng),
        ]  # fmt: skip
        net = Network([("all", [(str(i), layer) for i, layer in enumerate(layers)])])
        net.reseed(1, 2)
        logits = net.forward(rng.standard_normal((70, 2, 101), np.float32), training=True)
        dx = net.backward(rng.standard_normal(logits.shape, np.float32), need_dx=True)
        return [logits.copy(), dx.copy(), *(grad.copy() for grad in net.grads.values())]
    finally:
        parallel.threads(before)


def test_any_number_of_threads_gives_the_same_bits(monkeypatch):
    skipped, layouts = [], set()
    product, layout = dense.sparse_product, conv_weight._layout
    monkeypatch.setattr(dense, "sparse_product", lambda *matrices: (skipped.append(1), product(*matrices)))
    monkeypatch.setattr(dense, "LEAST", 1000)
    monkeypatch.setattr(dense, "SIDES", (1, 1, 1))
    monkeypatch.setattr(lowering, "PIECE_BYTES", 8192)
    monkeypatch.setattr(winograd, "NARROW", 1)
    monkeypatch.setattr(winograd, "POSITIONS", 1)

    def chosen(*arguments):
        layouts.add(type(found := layout(*arguments)))
        return found

    monkeypatch.setattr(conv_weight, "_layout", chosen)
    one, *others = [step(threads) for threads in (1, 2, 3)]
    assert len(skipped) >= 3 and len(one) == 14
    assert layouts == {conv_weight.Windows, conv_weight.Channels, winograd_weight.GradientPairs}
    assert all(np.array_equal(a, b) for other in others for a, b in zip(one, other, strict=True))
