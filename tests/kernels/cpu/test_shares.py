"""Where there are several threads for each sample, each computes some of the channels: the same numbers."""

import numpy as np
import pytest
from hypothesis import given, settings

from scratchnet.kernels import cpu
from scratchnet.kernels.cpu import conv_forward, kept, lowering, parallel, winograd
from tests.kernels.cpu.test_equal_the_reference import NAMES, OURS, blocks, both_types, compare
from tests.support import seeds


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """As if every layer were large enough for it."""
    monkeypatch.setattr(conv_forward, "SHARE", 1)
    monkeypatch.setattr(winograd, "NARROW", 1)
    monkeypatch.setattr(winograd, "POSITIONS", 1)


@pytest.fixture(autouse=True, params=[2, 7])
def threads(request):
    before = parallel.threads()
    yield parallel.threads(request.param)
    parallel.threads(before)


@pytest.fixture
def shares(monkeypatch):
    """What each call was cut into."""
    found, cut = [], conv_forward._shares
    monkeypatch.setattr(conv_forward, "_shares", lambda *given: found.append(cut(*given)) or found[-1])
    return found


@both_types
@settings(max_examples=20)
@given(block=blocks(), seed=seeds)
def test_few_samples_equal_the_reference(dtype, block, seed):
    (n, *sample), *others = block
    compare(dtype, ((min(n, 3), *sample), *others), True, seed)


@pytest.mark.parametrize("block", [b for b, name in zip(OURS, NAMES) if name != "long"])
@pytest.mark.parametrize("with_bias", [True, False])
def test_one_sample_is_the_same_bit_for_bit_on_one_thread(block, with_bias, threads, shares):
    rng = np.random.default_rng(0)
    shape, out_channels, kernel, stride, padding, _, pool = block
    x = rng.standard_normal((1, *shape[1:]), np.float32)
    weight = rng.standard_normal((out_channels, shape[1], *kernel), np.float32)
    bias = rng.standard_normal(out_channels, np.float32) if with_bias else None
    for relu in ("relu", "none"):
        y, saved = cpu.conv_block_forward(x, weight, bias, stride, padding, relu, pool)
        parallel.threads(1)
        one, saved_one = cpu.conv_block_forward(x, weight, bias, stride, padding, relu, pool)
        parallel.threads(threads)
        assert np.array_equal(y, one) and y.strides == one.strides
        assert (saved is None) == (saved_one is None) and (saved is None or np.array_equal(saved, saved_one))
    several, alone = shares[0], shares[1]
    assert len(alone) == 1 and (len(several) > 1 or out_channels < 32)


def test_channels_are_shared_by_whole_vectors(threads, monkeypatch):
    geometry = lowering.lower(3, (1, 50), (1, 5), (1, 1), ((0, 0), (0, 0)))
    lanes = conv_forward.lanes_of(np.dtype(np.float32))
    for out_channels in (1, lanes, 2 * lanes, 5 * lanes + 3, 20 * lanes):
        weight = np.ones((out_channels, 3, 1, 5), np.float32)
        for n in (0, 1, 2, 3, 7, 100):
            shares = conv_forward._shares(n, geometry, weight)
            assert [c for share in shares for c in range(share.start, share.stop)] == list(range(out_channels))
            assert all(share.start % lanes == 0 and share.start < share.stop for share in shares)
            assert n == 0 or len(shares) == max(1, min(threads // n, -(-out_channels // (2 * lanes))))
    for n in (1, 3):
        work = 46 * weight.size * n
        parallel.threads(2 * n)
        for share, count in ((work, 1), (work // 2, 2), (work // 2 + 1, 1)):
            monkeypatch.setattr(conv_forward, "SHARE", share)
            assert len(conv_forward._shares(n, geometry, weight)) == count


def test_what_is_kept_of_one_cut_is_not_taken_for_another(threads, monkeypatch):
    monkeypatch.setattr(kept, "_made", {})
    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(shape, np.float32) for shape in ((8, 8, 1, 9), (40, 8, 1, 3)))
    bias, how = np.zeros(40, np.float32), ((1, 1), ((0, 0), (1, 1)), "none", None)
    for _ in range(2):
        whole = cpu.conv_block_forward(x, weight, bias, *how)[0]
        parts = [cpu.conv_block_forward(x[i : i + 1], weight, bias, *how)[0] for i in range(len(x))]
        assert np.array_equal(whole, np.concatenate(parts))
        weight *= -0.5  # trained in place
    assert len(kept._made) == 2
