"""Scores: accuracy, class-balanced accuracy, confusion matrix, and votes of segments over clips."""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchnet.errors import InputError


def confusion_matrix(true: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Counts (n_classes, n_classes), rows true, columns predicted, from class indices (n,)."""
    counts = np.zeros((n_classes, n_classes), np.int64)
    np.add.at(counts, (true, predicted), 1)
    return counts


def accuracy(confusion: np.ndarray) -> float:
    """Share on the diagonal; nan for no observation."""
    total = confusion.sum()
    return float(np.trace(confusion) / total) if total else float("nan")


def balanced_accuracy(confusion: np.ndarray) -> float:
    """Recall averaged over the classes that are present (paper, section 2.3.4); nan for no observation."""
    per_class = confusion.sum(axis=1)
    present = per_class > 0
    return float(np.mean(np.diag(confusion)[present] / per_class[present])) if present.any() else float("nan")


def vote_majority(probabilities: np.ndarray, clip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Clips' classes by most segments; a tie goes to the higher summed probability, then to the lower class.

    `probabilities` (n, n_classes) of segments, `clip` (n,) the clip of each.
    Returns the clips in order and their classes.
    """
    clips, position = np.unique(clip, return_inverse=True)
    n_classes = probabilities.shape[1]
    votes = np.zeros((len(clips), n_classes))
    np.add.at(votes, (position, probabilities.argmax(axis=1)), 1.0)
    summed = _sum_per_clip(probabilities, position, len(clips))
    summed[votes < votes.max(axis=1, keepdims=True)] = -1.0
    return clips, summed.argmax(axis=1)


def vote_probability(probabilities: np.ndarray, clip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Clips' classes by the highest mean probability over their segments; arguments and result as `vote_majority`."""
    clips, position = np.unique(clip, return_inverse=True)
    return clips, _sum_per_clip(probabilities, position, len(clips)).argmax(axis=1)


def _sum_per_clip(probabilities: np.ndarray, position: np.ndarray, n_clips: int) -> np.ndarray:
    summed = np.zeros((n_clips, probabilities.shape[1]))
    np.add.at(summed, position, probabilities.astype(np.float64))
    return summed


def scores(probabilities: np.ndarray, label: np.ndarray, clip: np.ndarray, classes: tuple[str, ...]) -> dict[str, Any]:
    """All test scores of a run folder's `result.json`.

    `probabilities` (n, n_classes), `label` and `clip` (n,) of the segments; every segment of a clip has its label.
    """
    n = len(classes)
    label = np.asarray(label)
    segments = confusion_matrix(label, probabilities.argmax(axis=1), n)
    majority_clips, by_majority = vote_majority(probabilities, clip)
    _, by_probability = vote_probability(probabilities, clip)
    _, first = np.unique(clip, return_index=True)
    true = label[first]
    clip_confusion = confusion_matrix(true, by_probability, n)
    return {
        "segment_accuracy": accuracy(segments),
        "segment_balanced_accuracy": balanced_accuracy(segments),
        "clip_accuracy_majority": float(np.mean(by_majority == true)),
        "clip_accuracy_probability": float(np.mean(by_probability == true)),
        "clip_balanced_accuracy_probability": balanced_accuracy(clip_confusion),
        "segments": int(len(label)),
        "clips": int(len(majority_clips)),
        "confusion": segments.tolist(),
        "confusion_clips": clip_confusion.tolist(),
        "classes": list(classes),
    }


def clip_rows(
    probabilities: np.ndarray, label: np.ndarray, clip: np.ndarray, classes: tuple[str, ...], names: list[str]
) -> list[list[str]]:
    """What a network says of each clip: (name, true class, class by majority, by mean probability, the probabilities).

    Arguments as `scores`; `names`: those of all clips, which `clip` indexes.
    """
    clips, by_majority = vote_majority(probabilities, clip)
    _, by_probability = vote_probability(probabilities, clip)
    _, first, position = np.unique(clip, return_index=True, return_inverse=True)
    mean = _sum_per_clip(probabilities, position, len(clips)) / np.bincount(position)[:, None]
    true = np.asarray(label)[first]
    words = zip(clips, true, by_majority, by_probability, mean)
    return [[names[c], classes[t], classes[m], classes[p], *(f"{x:.6g}" for x in row)] for c, t, m, p, row in words]


SCORES = (
    "segment_accuracy",
    "segment_balanced_accuracy",
    "clip_accuracy_majority",
    "clip_accuracy_probability",
    "clip_balanced_accuracy_probability",
)


def gather(folds: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Cross-validation: `scores` by test fold -> mean, sample deviation, values per fold, pooled confusions.

    Raises `InputError` where there is no fold.
    """
    if not folds:
        raise InputError("no finished fold to gather")
    order = sorted(folds)
    table = {score: [folds[k][score] for k in order] for score in SCORES}
    return {
        **{score: float(np.mean(values)) for score, values in table.items()},
        "std": {score: float(np.std(v, ddof=1)) if len(v) > 1 else 0.0 for score, v in table.items()},
        "per_fold": {score: dict(zip(map(str, order), values, strict=True)) for score, values in table.items()},
        "segments": sum(folds[k]["segments"] for k in order),
        "clips": sum(folds[k]["clips"] for k in order),
        "confusion": np.sum([folds[k]["confusion"] for k in order], axis=0).tolist(),
        "confusion_clips": np.sum([folds[k]["confusion_clips"] for k in order], axis=0).tolist(),
        "classes": folds[order[0]]["classes"],
    }
