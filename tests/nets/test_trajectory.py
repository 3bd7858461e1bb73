"""The losses of ten training steps of each network, frozen: they tell at once when anything about training changed.

After a change that is meant to change them: `python -m tests.nets.test_trajectory` writes them anew.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from scratchnet import backend as backends
from scratchnet import nets
from scratchnet.clipping import clip_by_norm
from scratchnet.losses import SoftmaxCrossEntropy
from scratchnet.optimizers import Adam, NesterovSGD

STORED = Path(__file__).with_name("trajectories.json")
SHAPE = {"piczaknet": (1, 60, 41), "heurinet": (1, 20992), "mstnet": (1, 20992), "melnet": (1, 20992)}
N, CLASSES, STEPS = 2, 3, 10


def trajectory(name):
    """Ten losses in float64: dropout on, weight decay, MSTNet clipped and with Adam, MelNet's front end frozen."""
    rng = np.random.default_rng(20992)
    net = nets.build(name, CLASSES, dtype="float64", rng=rng)
    net.to(backends.current())
    optimizer = Adam(3e-4) if name == "mstnet" else NesterovSGD(2e-3, weight_decay=1e-3)
    if name == "melnet":
        net.freeze("deepfourier")
    loss, losses = SoftmaxCrossEntropy(), []
    for step in range(STEPS):
        x, target = 0.3 * rng.standard_normal((N, *SHAPE[name])), rng.integers(0, CLASSES, N)
        net.reseed(1, step)
        logits = net.forward(backends.asarray(x), training=True)
        losses.append(float(loss.forward(logits, backends.asarray(target))))
        net.backward(loss.backward())
        if name == "mstnet":
            clip_by_norm(net.grads, 0.05)
        optimizer.step(net.params, net.grads)
    return losses


@pytest.mark.parametrize("backend", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)], indirect=True)
@pytest.mark.parametrize("name", nets.NETS)
def test_the_ten_losses(name, backend):
    """To 1e-9: float64's rounding, through ten layers of sums of up to 5000 terms and ten steps, stays under 5e-11."""
    assert trajectory(name) == pytest.approx(json.loads(STORED.read_text())[name], rel=1e-9, abs=0)


if __name__ == "__main__":
    STORED.write_text(json.dumps({name: trajectory(name) for name in nets.NETS}, indent=1) + "\n")
