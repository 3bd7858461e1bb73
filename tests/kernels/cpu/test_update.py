"""All arrays at once are the same bits as one after the other, however they are cut into pieces."""

import numpy as np
import pytest

from scratchnet.kernels import cpu, reference
from scratchnet.kernels.cpu import update

SHAPES = ((3,), (2, 9), (1,), (0,), (4, 6))


@pytest.fixture(params=[None, 4], ids=["large pieces", "small pieces"], autouse=True)
def pieces(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(update, "PIECE", request.param)


def lists(count, dtype):
    """`count` lists of arrays of these shapes; the second and the last array of each are views with gaps."""
    rng = np.random.default_rng(count)
    made = [[rng.uniform(0.5, 2, shape).astype(dtype) for shape in SHAPES] for _ in range(count)]
    return [[a[:, ::2] if a.ndim == 2 else a for a in arrays] for arrays in made]


def copies(made):
    return [[a.copy() for a in arrays] for arrays in made]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "name, count, settings", [("nesterov", 3, (0.1, 0.9, 0.01)), ("adam", 4, (3, 0.1, 0.9, 0.99, 1e-3, 0.01))]
)
def test_steps(name, count, settings, dtype):
    together = lists(count, dtype)
    for gradient in together[1]:
        gradient.flags.writeable = False
    apart, before = copies(together), copies(together)
    getattr(cpu, f"{name}_steps")(*together, *settings)
    for arrays in zip(*apart):
        getattr(cpu, f"{name}_steps")(*([a] for a in arrays), *settings)
    if name == "nesterov":  # Adam's are held against the definition in test_equal_the_reference.py
        for param, grad, velocity, moved in zip(*copies(before), apart[0]):
            size = np.abs(param) + np.abs(grad) + np.abs(velocity)
            reference.nesterov_step(param, grad, velocity, *settings)
            assert (np.abs(moved - param) <= 12 * np.finfo(dtype).eps * size).all()  # about six roundings a side
    for kind, (all_at_once, one_by_one) in enumerate(zip(together, apart)):
        for a, b, start in zip(all_at_once, one_by_one, before[kind]):
            np.testing.assert_array_equal(a, b)
            assert (kind == 1) == np.array_equal(a, start) or a.size == 0  # gradients alone are left as they are


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_groups_share_a_norm(dtype):
    (arrays,) = lists(1, dtype)
    groups, before = [arrays[:2], arrays[2:4], arrays[4:]], copies([arrays])[0]
    squares = cpu.squared_norms(groups)
    norms = cpu.clip_by_norms(groups, 2.5)
    np.testing.assert_array_equal(norms, [square**0.5 for square in squares.tolist()])
    assert (norms > 2.5).tolist() == [True, False, True]
    for group, norm, first in zip(groups, norms, (0, 2, 4)):
        for a, start in zip(group, before[first:]):
            factor = a.dtype.type(2.5 / norm) if norm > 2.5 else 1
            np.testing.assert_array_equal(a, start * factor)


@pytest.mark.parametrize("gaps", [False, True])
def test_a_read_only_parameter_is_refused(gaps):
    """Never left as it is in silence."""
    arrays = [np.ones((4, 6), np.float32)[:, :: 2 if gaps else 1] for _ in range(3)]
    arrays[0].flags.writeable = False
    with pytest.raises(Exception, match="read-only|readonly"):
        cpu.nesterov_steps(*([a] for a in arrays), 0.1, 0.9, 0.0)
