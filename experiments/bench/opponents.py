"""PyTorch at its best on the same cores: the twins that the tests hold our networks against, set up for speed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from experiments.bench.twins import TWINS
from experiments.bench.workloads import STILL
from scratchnet.network import Network

EAGER, LAST, COMPILED = "eager", "channels-last", "torch.compile"
VARIANTS = (EAGER, LAST, COMPILED)


def network(name: str, variant: str, n_classes: int) -> torch.nn.Module:
    """The twin in float32, with dropout as PyTorch does it."""
    net = TWINS[name](n_classes).float()
    net.drop = lambda i, x: F.dropout(x, 0.5, net.training)
    return net if variant == EAGER else net.to(memory_format=torch.channels_last)


def load(twin: torch.nn.Module, net: Network) -> None:
    """Give the twin our network's weights, and the constants that standardise its front end's output."""
    for name in ("mean", "std"):
        if name in net.spec:
            setattr(twin, name, net.spec[name])
    twin.load_state_dict({name: torch.from_numpy(value) for name, value in net.state_dict().items()})


def tensor(x: np.ndarray, variant: str) -> torch.Tensor:
    """x in the variant's own memory layout; only images have one."""
    t = torch.from_numpy(x)
    return t.contiguous(memory_format=torch.channels_last) if variant != EAGER and t.ndim == 4 else t


class Step:
    """A step of training as PyTorch's user writes it, with the fused SGD; clipping per array."""

    def __init__(self, name: str, variant: str, n_classes: int, clip: float | None) -> None:
        self.variant, self.clip = variant, clip
        self.net = network(name, variant, n_classes).train()
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=STILL, momentum=0.9, nesterov=True, fused=True)
        self.loss: Callable[..., torch.Tensor] = lambda x, target: F.cross_entropy(self.net(x), target)
        if variant == COMPILED:
            self.loss = torch.compile(self.loss, dynamic=False)

    def feed(self, net: Network, x: np.ndarray, target: np.ndarray) -> Step:
        """Take these weights and this batch."""
        load(self.net, net)
        self.x, self.target = tensor(x, self.variant), torch.from_numpy(target.astype(np.int64))
        return self

    def __call__(self) -> float:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.x, self.target)
        loss.backward()
        if self.clip:
            for parameter in self.net.parameters():
                torch.nn.utils.clip_grad_norm_(parameter, self.clip)
        self.optimizer.step()
        return loss.item()


class Forward:
    """A prediction: logits in `inference_mode`."""

    def __init__(self, name: str, variant: str, n_classes: int) -> None:
        self.variant = variant
        self.net = network(name, variant, n_classes).eval()
        self.call = torch.compile(self.net, dynamic=False) if variant == COMPILED else self.net

    def feed(self, net: Network, x: np.ndarray) -> Forward:
        """Take these weights and this batch."""
        load(self.net, net)
        self.x = tensor(x, self.variant)
        return self

    def __call__(self) -> np.ndarray:
        with torch.inference_mode():
            return self.call(self.x).numpy()


def steps(name: str, n_classes: int, clip: float | None, threads: int) -> dict[str, Step]:
    """Every variant of a training step, on so many threads."""
    _start(threads)
    return {variant: Step(name, variant, n_classes, clip) for variant in VARIANTS}


def forwards(name: str, n_classes: int, threads: int) -> dict[str, Forward]:
    """Every variant of a prediction, on so many threads."""
    _start(threads)
    return {variant: Forward(name, variant, n_classes) for variant in VARIANTS}


def _start(threads: int) -> None:
    torch.set_num_threads(threads)
    torch._dynamo.reset()  # forget what was compiled before: each shape gets code of its own


def working(candidates: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Those that survive a first call, and why the others do not (`torch.compile` needs a C++ compiler)."""
    alive, failed = {}, {}
    for name, call in candidates.items():
        try:
            call()
            alive[name] = call
        except Exception as error:  # whatever it is, it goes into the table
            failed[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"[:120]
    return alive, failed


def same_logits(net: Network, twin: torch.nn.Module, x: np.ndarray) -> float:
    """The largest difference of the two networks' logits on x, over the largest logit.

    Raises AssertionError where rounding does not explain it: two networks would be compared.
    """
    ours = net.forward(x)
    twin.eval()
    with torch.inference_mode():
        theirs = twin(torch.from_numpy(x)).numpy()
    twin.train()
    apart = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    assert apart < 1e-3, f"the logits differ by {apart:.1e} of the largest: these are two networks"
    return apart
