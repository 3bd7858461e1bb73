"""What is measured: networks with weights and inputs in two states, a step of training, and how many operations it is.

The states differ in how many zeros ReLU, dropout and max-pool leave: random weights on noise, and weights after some
training on the sounds of a data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scratchnet import nets
from scratchnet.clipping import clip_by_norm
from scratchnet.errors import InputError
from scratchnet.layers import Conv1D, Conv2D, Dense
from scratchnet.losses import SoftmaxCrossEntropy
from scratchnet.model import load
from scratchnet.network import Network
from scratchnet.optimizers import NesterovSGD

SPECTROGRAMS = ("piczaknet", *nets.RIVALS)  # what takes them
CLIP = {"mstnet": 3.0}  # §2.3.3
LR = {"mstnet": 5e-3}  # while warming up; the others 2e-3
STILL = 1e-6  # the learning rate of a measured step: it costs the same, and the state stays what it is called
NOISE, TRAINED = "noise, random", "sounds, trained"


class Step:
    """A step of training as our user writes it: forward, loss, backward, clipping (MSTNet), Nesterov."""

    def __init__(self, net: Network, name: str, x: np.ndarray, target: np.ndarray, lr: float = STILL) -> None:
        self.net, self.x, self.target = net, x, target
        self.clip = CLIP.get(name)
        self.loss, self.optimizer = SoftmaxCrossEntropy(), NesterovSGD(lr)

    def __call__(self) -> float:
        value = self.loss.forward(self.net.forward(self.x, training=True), self.target)
        self.net.backward(self.loss.backward())
        grads = self.net.grads
        if self.clip:
            clip_by_norm(grads, self.clip)
        self.optimizer.step(self.net.params, grads)
        return value


@dataclass(frozen=True)
class Sounds:
    """Segments of a data set, in an order drawn once, as each network takes them."""

    segments: Any
    order: np.ndarray
    norms: dict[str, tuple[float, float]]  # network → offset and scale of its spectrograms

    def batch(self, name: str, size: int, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """x and target of `size` segments; where there are fewer, they come again."""
        indices = np.resize(np.roll(self.order, -first), size)
        if name not in SPECTROGRAMS:
            return self.segments.waveforms(indices), self.segments.label[indices]
        offset, scale = self.norms[name]
        return self.segments.logmels(indices, mean=offset, std=scale), self.segments.label[indices]


def open_sounds(data: str | Path | None) -> Sounds:
    """The data set in a folder (None: the synthetic one), prepared in the usual cache."""
    from scratchnet.data import open_source, prepare

    segments = prepare(open_source(data))
    found = segments.statistics(np.arange(len(segments)))
    order = np.random.default_rng(0).permutation(len(segments))
    return Sounds(segments, order, dict.fromkeys(SPECTROGRAMS, (found["mean"], found["std"] or 1.0)))


def noise(name: str, size: int, n_classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """x (standard normal) and target of the shape that the network takes."""
    rng = np.random.default_rng(1)
    shape = (1, 60, 41) if name in SPECTROGRAMS else (1, 20992)
    return rng.standard_normal((size, *shape), dtype=np.float32), rng.integers(0, n_classes, size)


def fresh(name: str, n_classes: int = 10) -> Network:
    """The network with random weights, the same each time."""
    return nets.build(name, n_classes, rng=np.random.default_rng(2))


def warmed(name: str, sounds: Sounds, steps: int, size: int = 100) -> Network:
    """The network after `steps` steps of training on mini-batches of the data set."""
    net = fresh(name, len(sounds.segments.classes))
    step = Step(net, name, *sounds.batch(name, size), lr=LR.get(name, 2e-3))
    for i in range(steps):
        net.reseed(3, i)
        step.x, step.target = sounds.batch(name, size, first=i * size)
        step()
    return net


def trained(runs: Sequence[str], sounds: Sounds | None) -> dict[str, Network]:
    """The networks of these run folders by name; `sounds` then come as each was trained on them.

    Raises InputError where a network is not of the paper's form, which its twin in PyTorch has.
    """
    found = {}
    for run in runs:
        model = load(run)
        net, name = model.network, model.network.spec["name"]
        usual = fresh(name, net.spec["n_classes"]).params
        if {key: a.shape for key, a in net.params.items()} != {key: a.shape for key, a in usual.items()}:
            raise InputError(f"--trained {run}: its {name} is not of the paper's form, so PyTorch has no twin of it")
        found[name] = net
        if sounds is not None:
            sounds.norms[name] = model.norm.offset, model.norm.scale
    return found


def states(name: str, sounds: Sounds | None, networks: dict[str, Network], warm: int) -> dict[str, Network]:
    """The network by state: random weights, and, where there are sounds, those of a run or of `warm` steps."""
    if sounds is None:
        return {NOISE: fresh(name)}
    learned = networks.get(name) or warmed(name, sounds, warm)
    return {NOISE: fresh(name, learned.spec["n_classes"]), TRAINED: learned}


def batch_for(name: str, size: int, state: str, sounds: Sounds | None, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """x and target of that state; a run's classes may be others than the data set's, which times do not mind."""
    if state == NOISE or sounds is None:
        return noise(name, size, n_classes)
    x, target = sounds.batch(name, size)
    return x, target % n_classes


def caption(result: dict[str, Any]) -> str:
    """What "trained" means in a table."""
    if result["data"] is None:
        return ""
    runs = f"; {', '.join(result['trained'])}: from a run folder" if result["trained"] else ""
    return (
        f"\n\n*Trained*: after {result['warm']} steps at batch 100 on the sounds of {result['data']}{runs}. "
        "*Noise, random*: standard normal input, weights as they are before training."
    )


def flops(net: Network, x: np.ndarray) -> dict[str, dict[str, int]]:
    """Multiplications and additions of each layer's products for one segment, forward and backward, zeros counted too.

    Backward is twice forward: the gradients of the weights and of the input, which the first layer does not need.
    """
    counts: dict[str, dict[str, int]] = {}
    y = x[:1]
    for name, layer in net.layers.items():
        y = layer.forward(y)
        if isinstance(layer, (Conv1D, Conv2D, Dense)):
            positions = 1 if isinstance(layer, Dense) else int(np.prod(y.shape[2:]))
            forward = 2 * layer.params["weight"].size * positions
            counts[name] = {"forward": forward, "backward": forward * (2 if counts else 1)}
    return counts


def density(net: Network, x: np.ndarray, layer: str = "piczak.dense2") -> float | None:
    """The share of numbers that are not zero in what that layer, if any, takes in training, over 32 segments."""
    y = x[:32]
    for name, each in net.layers.items():
        if name == layer:
            return float(np.count_nonzero(y) / y.size)
        y = each.forward(y, True)
    return None
