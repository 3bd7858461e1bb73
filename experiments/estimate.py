"""How long runs will take and how much room: a few mini-batches of each network, timed here and now."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np

from scratchnet import backend
from scratchnet.losses import SoftmaxCrossEntropy
from scratchnet.network import Network
from scratchnet.training.config import Config
from scratchnet.training.icebreaker import build, feature_of
from scratchnet.training.inputs import Normalisation
from scratchnet.training.phases import Phase, phases_for
from scratchnet.training.updates import Updates

BATCH = 100  # at most: the estimate may not take more memory than the runs
STEPS = 4


class Cost(NamedTuple):
    """Seconds of training one segment, and bytes of the weights."""

    seconds: float
    size: int


class Estimate:
    """Costs of runs on data of so many segments, folds and classes; a network is timed once."""

    def __init__(self, segments: int, folds: int, classes: int) -> None:
        self.segments, self.folds, self.classes = segments, folds, classes
        self._costs: dict[tuple[str, str], Cost] = {}

    def seconds(self, config: Config, *, begun: bool = False) -> float:
        """Training time of a run; `begun`: without its Phase 0. Frozen layers are counted as trained ones, a validation
        as a third of a training."""
        fold = self.segments / self.folds
        each = fold * (self.folds - 2 + 1 / 3)
        left = [phase for phase in phases_for(config) if not (begun and phase.name == 0)]
        phases = [(self._cost(config, phase).seconds, config.epochs_of(phase.name)) for phase in left]
        return self.models(config) * each * sum(seconds * epochs for seconds, epochs in phases)

    def bytes(self, config: Config, keep: bool) -> int:
        """Room for a run's models; `keep`: and for what the earlier phases trained."""
        phases = phases_for(config)
        sizes = [self._cost(config, phase).size for phase in phases]
        return self.models(config) * (sizes[-1] + (sizes[0] if keep and len(phases) > 1 else 0))

    def models(self, config: Config) -> int:
        """How many a run trains: one for each split."""
        return self.folds if config.cv else 1

    def _cost(self, config: Config, phase: Phase) -> Cost:
        name = phase.net or config.net
        key = name, _shape(config)
        if key not in self._costs:
            self._costs[key] = measure(build(config, name, self.classes, Normalisation()), config, phase)
        return self._costs[key]


def _shape(config: Config) -> str:
    """The settings that a network's speed hangs on."""
    names = ("conv1_channels", "conv1_kernel", "mel_power", "mst_batch_norm", "deltas", "back_end", "batch_size")
    return repr([getattr(config, name) for name in names])


def measure(net: Network, config: Config, phase: Phase) -> Cost:
    """Time mini-batches of random numbers; the quickest counts: the first compiles, others may be disturbed."""
    count = min(BATCH, config.batch_size)
    rng = np.random.default_rng(0)
    size = (count, 1, 20992) if feature_of(net) == "waveform" else (count, 2 if config.deltas else 1, 60, 41)
    x = backend.asarray(rng.uniform(-1, 1, size).astype(np.float32))
    label = backend.asarray(np.zeros(count, np.int64))
    loss, updates = SoftmaxCrossEntropy(), Updates(config, phase.name, STEPS)

    def step(number: int) -> float:
        started = time.perf_counter()
        net.reseed(0, number)
        value: Any = loss.forward(net.forward(x, training=True), label)
        net.backward(loss.backward())
        updates.step(net.params, net.grads, number)
        float(value + next(iter(net.params.values())).ravel()[0])  # waits for the GPU
        return time.perf_counter() - started

    seconds = min(step(number) for number in range(STEPS)) / count
    return Cost(seconds, sum(array.nbytes for array in net.params.values()))
