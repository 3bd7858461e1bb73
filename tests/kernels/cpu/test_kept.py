"""What is kept of a layer's weights: nothing that has changed is ever taken for what it was."""

import numpy as np
import pytest
from numba import config

from scratchnet import nets
from scratchnet.kernels import cpu, reference
from scratchnet.kernels.cpu import conv_forward, kept, winograd
from scratchnet.kernels.cpu.panels import Panels


@pytest.fixture(autouse=True)
def empty(monkeypatch):
    monkeypatch.setattr(kept, "_made", {})


def test_made_once_and_again_after_any_change():
    weight, bias, made = np.ones((3, 5), np.float32), np.zeros(3, np.float32), []

    def make():
        made.append(weight.copy())
        return len(made)

    def ask(*what):
        return kept.of([weight, bias], what, make)

    assert [ask("a"), ask("a"), ask("b"), ask("a"), ask("b")] == [1, 1, 2, 1, 2]
    weight[2, 4] = 2
    assert [ask("a"), ask("a")] == [3, 3]
    bias[1] = -0.0  # equal to what it was, and yet another number
    assert [ask("a"), ask("a")] == [4, 4]
    weight[0, 0] = np.nan
    assert [ask("a"), ask("a")] == [5, 5]
    assert kept.of([weight, None], ("a",), make) == 6


def test_strided_weights_and_no_more_than_so_many_bytes(monkeypatch):
    whole = np.arange(24, dtype=np.float64).reshape(4, 6)
    monkeypatch.setattr(kept, "MOST", 5 * whole[:, ::2].nbytes)
    for k in range(8):
        assert kept.of([whole[:, ::2]], (k,), lambda k=k: k) == k
    assert len(kept._made) == 5
    assert kept.of([whole[:, ::2]], (3,), lambda: "anew") == 3
    assert kept.of([whole[:, ::2]], (2,), lambda: "anew") == "anew"
    monkeypatch.setattr(kept, "MOST", kept.MOST - 1)  # one byte too many
    assert kept.of([whole[:, ::2]], (2,), lambda: "not made") == "anew" and len(kept._made) == 4
    assert kept.of([np.zeros(61)], (), lambda: "too large to be kept") == "too large to be kept" and not kept._made


@pytest.mark.parametrize("length", [1, 2, kept.BLOCK - 1, kept.BLOCK, kept.BLOCK + 1, 3 * kept.BLOCK + 5])
def test_one_bit_anywhere_is_a_difference(length):
    numbers = np.random.default_rng(0).integers(0, 1 << 32, length, np.uint32)
    assert kept._same(numbers, numbers.copy())
    for place in {0, length // 2, length - 1}:
        for bit in (0, 31):
            other = numbers.copy()
            other[place] ^= np.uint32(1 << bit)
            assert not kept._same(numbers, other)


@pytest.mark.skipif(config.DISABLE_JIT, reason="takes minutes without the compiler")
@pytest.mark.parametrize("name", [*nets.NETS, *nets.RIVALS])
@pytest.mark.parametrize("n", [1, 3])
def test_a_second_prediction_arranges_no_weights(name, n, monkeypatch):
    made = []
    for module in (conv_forward, winograd):
        monkeypatch.setattr(module, "Panels", lambda *given: made.append(1) or Panels(*given))
    net = nets.build(name, 3, rng=np.random.default_rng(0))
    shape = (20992,) if name in ("heurinet", "mstnet", "melnet") else (60, 41)
    x = np.random.default_rng(1).standard_normal((n, 1, *shape), np.float32)
    first = net.forward(x)
    assert made
    made.clear()
    assert np.array_equal(net.forward(x), first) and not made
    next(iter(net.params.values()))[...] *= 2
    assert not np.array_equal(net.forward(x), first) and made


def test_layers_of_one_shape_do_not_disturb_each_other():
    layers, made = [np.full(9, k, np.float32) for k in range(2)], []
    for _ in range(2):
        for weight in layers:
            kept.of([weight], (), lambda: made.append(1))
    assert len(made) == 2


def test_a_layer_whose_weights_are_trained_in_place():
    """MSTNet's second layer, whose products are Winograd's."""
    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(shape).astype(np.float32) for shape in ((60, 64, 1, 40), (48, 64, 1, 3)))
    bias, how = np.zeros(48, np.float32), ((1, 1), ((0, 0), (1, 1)), "relu", None)
    for _ in range(3):
        for _ in range(2):
            y, _ = cpu.conv_block_forward(x, weight, bias, *how)
            np.testing.assert_allclose(y, reference.conv_block_forward(x, weight, bias, *how)[0], atol=1e-3)
        dy, size, padding = np.ones_like(y), (1, 40), ((0, 0), (1, 1))
        cpu.conv2d_backward_input(dy, weight, size, (1, 1), padding)  # of weights in another order, made for this call
        weight *= -0.5
    assert len(kept._made) == 1
