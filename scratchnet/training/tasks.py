"""What a phase learns: mini-batches in, a loss, and scores on the validation fold that say when it was at its best."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from scratchnet.losses import MeanSquaredError, SoftmaxCrossEntropy
from scratchnet.training import metrics
from scratchnet.training.evaluation import BATCH, cross_entropy, probabilities
from scratchnet.training.feed import mini_batches
from scratchnet.training.inputs import Normalisation
from scratchnet.training.mixup import Mixture, MixtureCrossEntropy, mix
from scratchnet.training.sums import Sums

Score = tuple[float, ...]
DRAW, MIX = 1, 2  # random numbers of an epoch's variants and mixtures; those of its order have no such word


class Task(Protocol):
    """What the loop asks of a task."""

    loss: Any
    steps: int  # mini-batches an epoch
    waited: float  # seconds the last epoch's consumer waited for data

    def batches(self, epoch: int, skip: int) -> Iterator[tuple[Any, Any]]:
        """Mini-batches (x, target) of an epoch (from 1), the first `skip` left out."""

    def correct(self, prediction: Any, target: Any) -> Any | None:
        """How many of a mini-batch were classified rightly, where there are classes: a number where the network is."""

    def validate(self, net: Any, checkpoint: Callable[[], None]) -> dict[str, float | None]:
        """Scores on the validation fold."""

    def score(self, valid: dict[str, Any]) -> Score:
        """The larger, the better the weights."""


def training_epochs(segments: Any, train: np.ndarray, seed: tuple[int, ...], draw: bool) -> Callable[[int], np.ndarray]:
    """Epoch (from 1) -> indices of its training segments: `train`, or with `draw` one variant of each of its clips.

    The draw depends on (seed, epoch) alone, so that a resumed run draws the same.
    """
    if not draw:
        return lambda epoch: train
    from scratchnet.data import Variants

    variants = Variants(segments, train)
    return lambda epoch: variants.draw(np.random.default_rng((*seed, epoch, DRAW)))


class Classification:
    """Segments to classes; the best weights have the highest balanced validation accuracy, then the lowest loss."""

    def __init__(
        self,
        segments: Any,
        train: np.ndarray,
        valid: np.ndarray,
        feature: str,
        norm: Normalisation,
        *,
        batch_size: int,
        seed: tuple[int, ...],
        balanced: bool = False,
        dropout_seed: int = 0,
        draw: bool = False,
        mixup: float | None = None,
    ) -> None:
        self.loss = MixtureCrossEntropy() if mixup else SoftmaxCrossEntropy()
        self.mixup = mixup
        self.segments, self.valid = segments, valid
        self.train = training_epochs(segments, train, seed, draw)
        self.feature, self.norm = feature, norm
        self.batch_size, self.seed, self.balanced = batch_size, seed, balanced
        self.dropout_seed = dropout_seed
        self.waited = 0.0
        self.steps = len(self._batches(1))

    def _batches(self, epoch: int) -> Any:
        from scratchnet.data import Batches

        return Batches(
            self.segments,
            self.train(epoch),
            self.batch_size,
            feature=self.feature,
            rng=np.random.default_rng((*self.seed, epoch)),
            mean=self.norm.offset,
            std=self.norm.scale,
            balanced=self.balanced,
        )

    def batches(self, epoch: int, skip: int) -> Iterator[tuple[Any, Any]]:
        """See `Task`."""
        batches = self._batches(epoch)
        for number, (x, label) in enumerate(mini_batches(batches, skip), skip):
            self.waited = batches.waited
            if self.mixup:
                yield mix(x, label, self.mixup, np.random.default_rng((*self.seed, epoch, MIX, number)))
            else:
                yield x, label

    def correct(self, prediction: Any, target: Any) -> Any:
        """See `Task`; of a mixture, the class that has the larger share."""
        label = target.first if isinstance(target, Mixture) else target
        return (prediction.argmax(axis=1) == label).sum()

    def validate(self, net: Any, checkpoint: Callable[[], None]) -> dict[str, float | None]:
        """See `Task`."""
        label = np.asarray(self.segments.label[self.valid])
        probs = probabilities(
            net,
            self.segments,
            self.valid,
            self.feature,
            self.norm,
            dropout_seed=self.dropout_seed,
            checkpoint=checkpoint,
        )
        confusion = metrics.confusion_matrix(label, probs.argmax(axis=1), probs.shape[1])
        return {
            "valid_loss": cross_entropy(probs, label),
            "valid_accuracy": metrics.accuracy(confusion),
            "valid_balanced_accuracy": metrics.balanced_accuracy(confusion),
        }

    def score(self, valid: dict[str, Any]) -> Score:
        """See `Task`."""
        return valid["valid_balanced_accuracy"], -valid["valid_loss"]


class Forcing:
    """Spectrogram forcing (section 2.3.2): MSTNet's front end alone learns the normalised log-Mel-spectrogram.

    The cost is the mean square error; the best weights have the lowest on the validation fold.
    """

    def __init__(
        self,
        segments: Any,
        train: np.ndarray,
        valid: np.ndarray,
        norm: Normalisation,
        *,
        batch_size: int,
        seed: tuple[int, ...],
        draw: bool = False,
    ) -> None:
        self.loss = MeanSquaredError()
        self.segments, self.valid, self.norm = segments, valid, norm
        self.train = training_epochs(segments, train, seed, draw)
        self.batch_size, self.seed = batch_size, seed
        self.waited = 0.0
        self.steps = -(-len(self.train(1)) // batch_size)

    def _pairs(
        self, indices: np.ndarray, batch_size: int, seed: tuple[int, ...] | None, skip: int = 0
    ) -> Iterator[tuple[Any, Any]]:
        """(waveforms (b, 1, 20992), targets (b, 60, 41)): two readers that draw the same order."""
        from scratchnet.data import Batches

        orders = [None if seed is None else np.random.default_rng(seed) for _ in range(2)]
        waves = Batches(self.segments, indices, batch_size, feature="waveform", rng=orders[0])
        targets = Batches(
            self.segments,
            indices,
            batch_size,
            feature="logmel",
            rng=orders[1],
            mean=self.norm.offset,
            std=self.norm.scale,
        )
        for (x, _), (target, _) in zip(mini_batches(waves, skip), mini_batches(targets, skip), strict=True):
            self.waited = waves.waited + targets.waited
            yield x, target[:, 0]

    def batches(self, epoch: int, skip: int) -> Iterator[tuple[Any, Any]]:
        """See `Task`."""
        return self._pairs(self.train(epoch), self.batch_size, (*self.seed, epoch), skip)

    def correct(self, prediction: Any, target: Any) -> None:
        """See `Task`."""
        return None

    def validate(self, net: Any, checkpoint: Callable[[], None]) -> dict[str, float | None]:
        """See `Task`."""
        error = self.error(net, self.valid, checkpoint)
        return {"valid_loss": error, "valid_accuracy": None, "valid_balanced_accuracy": None}

    def error(self, net: Any, indices: np.ndarray, checkpoint: Callable[[], None]) -> float:
        """The mean square error of the front end `net` on these segments, in the target's units."""
        sums = Sums(0.0, 0, {}, {})
        for x, target in self._pairs(indices, BATCH, None):
            sums.add(self.loss.forward(net.forward(x), target), len(x), None)
            checkpoint()
        total, *_ = sums.read()
        return total / len(indices)

    def score(self, valid: dict[str, Any]) -> Score:
        """See `Task`."""
        return (-valid["valid_loss"],)
