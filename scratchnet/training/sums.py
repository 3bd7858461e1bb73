"""An epoch's scores, added up where the network is."""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchnet import backend


class Sums:
    """Running sums of loss, right predictions and gradient norms, and the largest norms, in float64; they begin at
    these numbers.

    Adding waits for no GPU; `read` does. How often it is called changes no sum.
    """

    def __init__(self, loss: float, correct: int, norms: dict[str, float], largest: dict[str, float]) -> None:
        self._loss: Any = loss
        self._correct: Any = correct
        self._norms: Any = backend.asarray(list(norms.values()), "float64") if norms else 0.0
        self._largest: Any = backend.asarray(list(largest.values()), "float64") if largest else 0.0
        self._names = list(norms)

    def add(self, loss: Any, count: int, correct: Any | None) -> None:
        """A mini-batch of `count` segments: its mean loss, and how many it got right, where there are classes."""
        self._loss = self._loss + loss.astype(np.float64) * count
        if correct is not None:
            self._correct = self._correct + correct

    def add_norms(self, grads: dict[str, Any]) -> None:
        """The L2 norm of each gradient."""
        self._names = list(grads)
        arrays = list(grads.values())
        norms = backend.kernels_of(arrays[0]).squared_norms([[g] for g in arrays]) ** 0.5
        self._norms = self._norms + norms
        self._largest = np.maximum(self._largest, norms)

    def read(self) -> tuple[float, int, dict[str, float], dict[str, float]]:
        """The sums as numbers: loss, right predictions, norms by name, and the largest of them."""
        norms, largest = (np.atleast_1d(backend.to_numpy(those)).tolist() for those in (self._norms, self._largest))
        return (
            float(backend.to_numpy(self._loss)),
            int(backend.to_numpy(self._correct)),
            dict(zip(self._names, norms)),
            dict(zip(self._names, largest)),
        )
