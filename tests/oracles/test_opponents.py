"""What the benchmarks compare with is the same network."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is the opponent")

from experiments.bench import opponents
from scratchnet import nets


@pytest.mark.parametrize("name", ["mstnet", "melnet"])
@pytest.mark.parametrize("variant", opponents.VARIANTS[:2])
def test_the_twin_standardises_as_our_network_does(name, variant):
    net = nets.build(name, mean=-20.0, std=15.0, rng=0)
    x = np.random.default_rng(0).uniform(-1, 1, (2, 1, 20992)).astype("float32")
    twin = opponents.network(name, variant, 10)
    with pytest.raises(AssertionError, match="these are two networks"):
        opponents.same_logits(net, twin, x)
    opponents.load(twin, net)
    assert opponents.same_logits(net, twin, x) < 1e-4
