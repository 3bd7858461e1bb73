"""Mixup (Zhang et al. 2018; for sounds, "between-class learning", Tokozume et al. 2018): mixtures of two segments.

Of two sounds the network is to say how much of each it hears. A mini-batch is mixed with itself in another order, in
shares λ and 1 − λ, with one λ ~ Beta(α, α) for all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scratchnet import backend
from scratchnet.losses import SoftmaxCrossEntropy


@dataclass(frozen=True)
class Mixture:
    """The classes (N,) of a mixed mini-batch: `share` of `first`, the rest of `second`; `share` is at least a half."""

    first: Any
    second: Any
    share: float

    def __len__(self) -> int:
        return len(self.first)


def mix(x: Any, label: Any, alpha: float, rng: np.random.Generator) -> tuple[Any, Mixture]:
    """A mini-batch x (N, …) and its classes (N,) mixed with itself; x stays as it is."""
    share = rng.beta(alpha, alpha)
    share = float(max(share, 1 - share))
    other = backend.asarray(rng.permutation(len(x)))
    return x * x.dtype.type(share) + x[other] * x.dtype.type(1 - share), Mixture(label, label[other], share)


class MixtureCrossEntropy:
    """loss = share · L(prediction, first) + (1 − share) · L(prediction, second), L the softmax cross-entropy."""

    def __init__(self) -> None:
        self._parts = SoftmaxCrossEntropy(), SoftmaxCrossEntropy()

    def forward(self, prediction: Any, target: Mixture) -> Any:
        """The loss, a mean over the batch. prediction: logits (N, K)."""
        self._share = target.share
        first, second = (part.forward(prediction, t) for part, t in zip(self._parts, (target.first, target.second)))
        return first * self._share + second * (1 - self._share)

    def backward(self) -> Any:
        """The gradient with respect to the last forward's logits, (N, K)."""
        first, second = (part.backward() for part in self._parts)
        return first * self._share + second * (1 - self._share)
