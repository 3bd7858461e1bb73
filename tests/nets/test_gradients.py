"""The paper's networks at full size: gradients against central differences, and fused against plain."""

import numpy as np
import pytest

from scratchnet import backend as backends
from scratchnet import nets
from scratchnet.gradcheck import gradcheck
from tests.support import assert_within

EVERY = [*nets.NETS, *nets.RIVALS]
SHAPE = {"heurinet": (1, 20992), "mstnet": (1, 20992), "melnet": (1, 20992)}
SHAPE |= dict.fromkeys(("piczaknet", *nets.RIVALS), (1, 60, 41))
# On the CPU tests/test_gradcheck.py checks more of each network, but these two with their PiczakNet frozen.
WHERE = [("mstnet", "cpu"), ("melnet", "cpu"), *(pytest.param(name, "cuda", marks=pytest.mark.gpu) for name in EVERY)]


@pytest.mark.parametrize("name, backend", WHERE, indirect=["backend"])
def test_central_differences(name, backend):
    """One coordinate and one direction of every array."""
    rng = np.random.default_rng(3)
    net = nets.build(name, 5, dtype="float64", rng=rng)
    net.to(backend)
    n = 2 if name in nets.RIVALS else 1  # a normalisation wants more than one
    result = gradcheck(net, rng.standard_normal((n, *SHAPE[name])), training=True, samples=1)
    assert result.ok, str(result)
    assert {report.name for report in result.arrays} == {"input", *net.params}
    # Kinks are dense in a network of this size, but most arrays do have a direction that crosses none.
    assert sum(bool(report.direction) for report in result.arrays) > len(result.arrays) // 2, str(result)


@pytest.mark.parametrize("name", nets.NETS)
def test_fused_equals_plain(name, backend):
    rng = np.random.default_rng(4)
    net = nets.build(name, 5, dtype="float64", rng=rng)
    net.to(backend)
    x = backends.asarray(rng.standard_normal((3, *SHAPE[name])))
    dy = backends.asarray(rng.standard_normal((3, 5)))
    found = {}
    for fused in (True, False):
        net.fused = fused
        net.reseed(1, 1)
        logits = net.forward(x, training=True)
        dx = net.backward(dy, need_dx=True)
        arrays = {"logits": logits, "dx": dx, **net.grads}
        found[fused] = {key: np.array(backends.to_numpy(value)) for key, value in arrays.items()}
    for key, value in found[False].items():
        # Two orders of summation through ten layers: at worst 10 · 5000 terms' roundings relative to the largest value,
        # on average their root; this is the worst case.
        assert_within(found[True][key], value, 10 * 5000 * 2.0**-53 * np.abs(value).max())
