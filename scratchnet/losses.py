"""The two losses of the paper."""

from __future__ import annotations

import numpy as np

from scratchnet.backend import kernels_of
from scratchnet.layers.layer import Array, as_float


class SoftmaxCrossEntropy:
    """loss = −(1/N) Σ_n log softmax(prediction)[n, target[n]]

    prediction: logits (N, K); target: class indices (N,), integers in 0 … K−1, to be left as it is until backward.
    Raises ValueError for other shapes, no samples, a target that is no array of integers, or one that is no class
    (checked on the CPU).
    """

    def forward(self, prediction: Array, target: Array) -> Array:
        """The loss, a mean over the batch, a scalar; the probabilities stay in `probabilities` (N, K)."""
        dtype = getattr(target, "dtype", None)
        if dtype is None or dtype.kind not in "iu":
            raise ValueError(f"targets must be an array of integers, not {target if dtype is None else dtype}")
        if prediction.ndim != 2 or target.shape != prediction.shape[:1]:
            raise ValueError(f"takes logits (N, K) and targets (N,), not {prediction.shape} and {target.shape}")
        classes = prediction.shape[1]
        if isinstance(target, np.ndarray) and len(target) and not 0 <= target.min() <= target.max() < classes:
            raise ValueError(f"targets must be classes 0 … {classes - 1}")
        if not len(target):
            raise ValueError("a loss of no samples: give it one at least")
        prediction = as_float(prediction)
        loss, self.probabilities = kernels_of(prediction).softmax_cross_entropy_forward(prediction, target)
        self._target = target
        return loss

    def backward(self) -> Array:
        """The gradient with respect to the last forward's logits, (N, K)."""
        return kernels_of(self.probabilities).softmax_cross_entropy_backward(self.probabilities, self._target)


class MeanSquaredError:
    """loss = mean of (prediction − target)² over all elements: what spectrogram forcing minimises (§2.3.2).

    Both arrays are to be left as they are until backward.
    Raises ValueError where the two have different shapes, or no elements.
    """

    def forward(self, prediction: Array, target: Array) -> Array:
        """The loss, a mean over all elements, a scalar."""
        if prediction.shape != target.shape:
            raise ValueError(f"prediction and target have different shapes: {prediction.shape} and {target.shape}")
        if not prediction.size:
            raise ValueError("a loss of no elements: give it one at least")
        self._prediction, self._target = prediction, target = as_float(prediction), as_float(target)
        return kernels_of(prediction).mean_squared_error_forward(prediction, target)

    def backward(self) -> Array:
        """The gradient with respect to the last forward's prediction, of its shape."""
        return kernels_of(self._prediction).mean_squared_error_backward(self._prediction, self._target)
