"""A trained network's probabilities and losses on segments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from scratchnet import backend
from scratchnet.training.feed import mini_batches
from scratchnet.training.inputs import Normalisation

BATCH = 250  # fixed, so that an evaluation gives the same bits whatever the run's batch size was
MASKS = 1 << 40  # the masks of a network that drops in evaluation too come after those of any training step


def softmax(logits: np.ndarray) -> np.ndarray:
    """(n, K) probabilities in float64 of logits (n, K)."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def probabilities(
    net: Any,
    segments: Any,
    indices: np.ndarray,
    feature: str,
    norm: Normalisation,
    *,
    dropout_seed: int = 0,
    checkpoint: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """(n, K) class probabilities of the segments `indices`.

    `feature`: "waveform" or "logmel"; `dropout_seed`: of the masks of a network that drops in evaluation too;
    `checkpoint` is called after every batch, a moment at which stopping is harmless.
    """
    from scratchnet.data import Batches

    parts = []
    batches = Batches(segments, indices, BATCH, feature=feature, mean=norm.offset, std=norm.scale)
    for number, (x, _) in enumerate(mini_batches(batches)):
        net.reseed(dropout_seed, MASKS + number)
        parts.append(net.forward(x))  # read at the end: reading waits for a GPU
        checkpoint()
    return np.concatenate([softmax(backend.to_numpy(logits)) for logits in parts])


def cross_entropy(probs: np.ndarray, label: np.ndarray) -> float:
    """Mean of -log p of the true classes; a probability that underflowed counts as the smallest number."""
    true = probs[np.arange(len(label)), label]
    return float(-np.log(np.maximum(true, np.finfo(np.float64).tiny)).mean())
