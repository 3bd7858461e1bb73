"""Clipping and the optimizers' updates, run on the CPU, against the definition."""

import numpy as np
import pytest

from scratchnet.kernels import cuda, reference
from tests.kernels.cuda.drawing import REALS, UNIT, draw
from tests.support import assert_within

SIZES = ((1,), (3, 4), (8192,), (9000,), (2, 5, 7))


@REALS
def test_clipping(host, dtype):
    sums = 2 * 18_000 * 2.0**-53  # float64 sums of up to 18,000 squares, on either side
    arrays = [draw(shape, dtype, seed) for seed, shape in enumerate(SIZES)]
    for groups in ([[a] for a in arrays], [arrays[:1], arrays[1:3], arrays[3:]]):
        groups = [[a.copy() for a in group] for group in groups]
        expected = [[a.copy() for a in group] for group in groups]
        exact = reference.squared_norms(expected)
        assert_within(cuda.squared_norms(groups), exact, sums * np.asarray(exact))
        norms = cuda.clip_by_norms(groups, 2.0)
        exact = reference.clip_by_norms(expected, 2.0)
        assert (exact < 2).any() and (exact > 2).any()
        assert_within(norms, exact, sums * exact)
        for a, b in zip(sum(groups, []), sum(expected, [])):
            assert_within(a, b, (4 * UNIT[dtype] + sums) * np.abs(b))  # a factor and a product, rounded, on either side
    many = [draw(2, dtype, seed) for seed in range(300)]  # more chunks than a block has threads
    exact = reference.squared_norms([many])
    assert_within(cuda.squared_norms([many]), exact, sums * np.asarray(exact))
    assert_within(cuda.clip_by_norms([[np.zeros(5, dtype)]], 1.0), np.zeros(1), 0.0)


@REALS
def test_optimizers(host, dtype):
    def state():
        return [[draw(shape, dtype, 10 * i + j) for j, shape in enumerate(SIZES)] for i in range(4)]

    params, grads, velocities, _ = state()
    expected = state()
    cuda.nesterov_steps(params, grads, velocities, 0.1, 0.9, 0.01)
    for *actual, param, grad, velocity in zip(params, velocities, *expected[:3]):
        before = np.abs(param) + np.abs(grad) + np.abs(velocity)
        reference.nesterov_step(param, grad, velocity, 0.1, 0.9, 0.01)
        for a, b in zip(actual, (param, velocity)):
            assert_within(
                a, b, 12 * UNIT[dtype] * before
            )  # about six roundings a side (fewer where multiply-adds fuse)
    params, grads, ms, vs = state()
    vs = [np.abs(v) for v in vs]
    expected = state()
    cuda.adam_steps(params, grads, ms, vs, 3, 0.1, 0.9, 0.999, 1e-8, 0.01)
    for a, m, v, param, grad, m2, v2 in zip(params, ms, vs, *expected):
        v2 = np.abs(v2)
        start = param.copy()
        reference.adam_step(param, grad, m2, v2, 3, 0.1, 0.9, 0.999, 1e-8, 0.01)
        assert_within(m, m2, 12 * UNIT[dtype] * (np.abs(m2) + np.abs(grad) + np.abs(start)))
        assert_within(v, v2, 12 * UNIT[dtype] * (v2 + (np.abs(grad) + np.abs(start)) ** 2))
        step = np.abs(param - start) + 0.4 * 12 * (np.abs(grad) + np.abs(start)) / (np.sqrt(v2 / 0.003) + 1e-8)
        assert_within(a, param, 24 * UNIT[dtype] * (np.abs(start) + step))


def test_lists_of_other_lengths_are_refused(host):
    with pytest.raises(ValueError, match="shorter|longer"):
        cuda.nesterov_steps([draw(3), draw(4)], [draw(3)], [draw(3), draw(4)], 0.1, 0.9, 0.0)


def test_one_step_of_one_array(host):
    param, grad, velocity = draw(50), draw(50, seed=1), draw(50, seed=2)
    copies = [a.copy() for a in (param, grad, velocity)]
    cuda.nesterov_steps([param], [grad], [velocity], 0.1, 0.9, 0.0)
    reference.nesterov_step(*copies, 0.1, 0.9, 0.0)
    assert_within(param, copies[0], 12 * 2.0**-24 * (1 + np.abs(copies[0])) * 5)
    assert not np.array_equal(param, draw(50))
    param, grad, m, v = draw(50), draw(50, seed=1), draw(50, seed=2), np.abs(draw(50, seed=3))
    copies = [a.copy() for a in (param, grad, m, v)]
    cuda.adam_steps([param], [grad], [m], [v], 2, 0.1, 0.9, 0.999, 1e-8, 0.0)
    reference.adam_step(*copies, 2, 0.1, 0.9, 0.999, 1e-8, 0.0)
    assert_within(m, copies[2], 12 * 2.0**-24 * 8)
    assert not np.array_equal(param, draw(50))
    with pytest.raises(ValueError, match="one type"):
        cuda.nesterov_steps([param], [grad.astype(np.float64)], [velocity], 0.1, 0.9, 0.0)


def test_arrays_with_gaps_and_in_any_order_change_in_place(host):
    """Parameters and what stands beside them need not lie in memory alike."""
    large, grad, velocity = draw((4, 6)), draw((4, 3), seed=1), draw((3, 4), seed=2).T
    copies = large[:, 1:4].copy(), grad.copy(), velocity.copy()
    cuda.nesterov_steps([large[:, 1:4]], [grad], [velocity], 0.1, 0.9, 0.0)
    reference.nesterov_step(*copies, 0.1, 0.9, 0.0)
    assert_within(large[:, 1:4], copies[0], 12 * 2.0**-24 * 5)
    assert_within(velocity, copies[2], 12 * 2.0**-24 * 5)
    np.testing.assert_array_equal(large[:, [0, 4, 5]], draw((4, 6))[:, [0, 4, 5]])
    part = large[:, ::2]
    expected = part.copy()
    cuda.clip_by_norms([[part]], 1.0)
    reference.clip_by_norm(expected, 1.0)
    assert_within(part, expected, 2 * 2.0**-24)
