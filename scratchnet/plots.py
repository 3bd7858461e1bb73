"""Pictures of a run: training curves, confusion matrix, first-layer kernels. Colours that the colour-blind can tell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

TRAIN, VALID, BEST = "#0072B2", "#D55E00", "#009E73"  # Okabe & Ito's palette
MAP = "cividis"
MAX_KERNELS = 80
SMALL = {"font.size": 9, "axes.titlesize": 9, "axes.spines.top": False, "axes.spines.right": False}


def _figure(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Any, Any]:
    """Figure and axes (rows, columns); needs no screen."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with pyplot.rc_context(SMALL):  # type: ignore[arg-type]
        return pyplot.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained", **options)


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot

    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def save_curves(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Accuracies and loss over the epochs, phase after phase, from the rows of a metrics.jsonl."""
    figure, axes = _figure(2, 1, (8, 5.5), sharex=True)
    accuracy, loss = axes[:, 0]
    phases = list(dict.fromkeys(row["phase"] for row in rows))
    first = 0.5
    best = None
    x = {id(row): number for number, row in enumerate(rows, 1)}
    for phase in phases:
        mine = [row for row in rows if row["phase"] == phase]
        at = [x[id(row)] for row in mine]
        label = {"train": "training", "valid": "validation, balanced"} if phase == phases[0] else {}
        style = {"marker": "o", "markersize": 3 if len(rows) < 60 else 0, "linewidth": 1.4}
        if mine[0]["train_accuracy"] is not None:
            labels = {"train": "training", "valid": "validation, balanced"} if best is None else {}
            accuracy.plot(at, [r["train_accuracy"] for r in mine], color=TRAIN, label=labels.get("train"), **style)
            valid = [r["valid_balanced_accuracy"] for r in mine]
            accuracy.plot(at, valid, color=VALID, linestyle="--", label=labels.get("valid"), **style)
            top = int(np.argmax(valid))
            best = accuracy.plot(at[top], valid[top], "*", color=BEST, markersize=11, zorder=3)[0]
            if labels:
                best.set_label("best of its phase")
        loss.plot(at, [r["train_loss"] for r in mine], color=TRAIN, label=label.get("train"), **style)
        loss.plot(at, [r["valid_loss"] for r in mine], color=VALID, linestyle="--", label=label.get("valid"), **style)
        last = at[-1] + 0.5
        title = f"Phase {phase}" if isinstance(phase, int) else str(phase)
        accuracy.text(
            (first + last) / 2, 1.02, title, ha="center", va="bottom", transform=accuracy.get_xaxis_transform()
        )
        for axis in (accuracy, loss):
            axis.axvline(last, color="0.8", linewidth=0.8, zorder=0)
        first = last
    accuracy.set(ylabel="accuracy", ylim=(0, 1.0), xlim=(0.5, len(rows) + 0.5))
    loss.set(ylabel="loss", xlabel="epoch", yscale="log")
    loss.xaxis.get_major_locator().set_params(integer=True)
    accuracy.legend(loc="lower right", fontsize=8)
    accuracy.grid(axis="y", color="0.92")
    loss.grid(axis="y", color="0.92")
    _save(figure, path)


def save_confusion(path: Path, confusion: np.ndarray, names: Sequence[str], title: str = "") -> None:
    """The confusion matrix (K, K) of counts, rows true: shades are shares of the row, numbers the counts."""
    count = len(names)
    size = min(12.0, 2.6 + 0.42 * count)
    figure, axes = _figure(1, 1, (size + 0.6, size))
    axis = axes[0, 0]
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    image = axis.imshow(share, cmap=MAP, vmin=0, vmax=1)
    if count <= 20:
        for (row, column), value in np.ndenumerate(confusion):
            if value:
                color = "black" if share[row, column] > 0.55 else "white"
                axis.text(column, row, int(value), ha="center", va="center", color=color, fontsize=8)
    long = max(map(len, names)) > 3
    axis.set_xticks(range(count), names, rotation=45 if long else 0, ha="right" if long else "center")
    axis.set_yticks(range(count), names)
    axis.set(xlabel="predicted class", ylabel="true class", title=title or "segments of the test set")
    figure.colorbar(image, ax=axis, shrink=0.8, label="share of the true class")
    _save(figure, path)


def save_kernels(path: Path, weights: Mapping[str, np.ndarray], sound: Mapping[str, Any]) -> None:
    """The first layer's kernels: over time where it hears waveforms, over Mel bins and time where it sees spectrograms.

    `weights` by name as in a network's `state_dict`; `sound`: the sound settings.
    """
    if "deepfourier.conv1.weight" in weights:
        _time_kernels(path, weights["deepfourier.conv1.weight"][:, 0], sound["sample_rate"])
    else:
        _image_kernels(path, weights["piczak.conv1.weight"][:, 0], sound)


def _time_kernels(path: Path, kernels: np.ndarray, sample_rate: int) -> None:
    """(K, width): evenly picked ones, each to its own scale."""
    shown = kernels[np.linspace(0, len(kernels) - 1, min(len(kernels), MAX_KERNELS)).astype(int)]
    columns = 8
    rows = math.ceil(len(shown) / columns)
    figure, axes = _figure(rows, columns, (10, 0.75 * rows + 0.9), sharex=True)
    time = np.arange(shown.shape[1]) / sample_rate * 1000
    for axis, kernel in zip(axes.flat, shown):
        peak = np.abs(kernel).max() or 1.0
        axis.plot(time, kernel / peak, color=TRAIN, linewidth=0.7)
        axis.set(ylim=(-1.1, 1.1), yticks=[], xlim=(0, time[-1]))
    for axis in list(axes.flat)[len(shown) :]:
        axis.set_visible(False)
    picked = "" if len(shown) == len(kernels) else f" (of {len(kernels)})"
    figure.suptitle(f"{len(shown)} kernels{picked} of the first layer, each scaled to its peak", fontsize=10)
    figure.supxlabel("time in ms", fontsize=9)
    _save(figure, path)


def _image_kernels(path: Path, kernels: np.ndarray, sound: Mapping[str, Any]) -> None:
    """(K, Mel bins, frames): all to one scale."""
    columns = 20
    rows = math.ceil(len(kernels) / columns)
    figure, axes = _figure(rows, columns, (10, 1.6 * rows + 0.9), sharex=True, sharey=True)
    bound = float(np.abs(kernels).max()) or 1.0
    milliseconds = 1000 * sound["hop_length"] / sound["sample_rate"] * kernels.shape[2]
    extent = (0, milliseconds, 0, kernels.shape[1])
    for axis, kernel in zip(axes.flat, kernels):
        image = axis.imshow(
            kernel, cmap="PuOr_r", vmin=-bound, vmax=bound, origin="lower", aspect="auto", extent=extent
        )
    for axis in list(axes.flat)[len(kernels) :]:
        axis.set_visible(False)
    figure.colorbar(image, ax=axes, shrink=0.7, label="weight", fraction=0.02)
    figure.suptitle(f"{len(kernels)} kernels of PiczakNet's first layer", fontsize=10)
    figure.supxlabel("time in ms", fontsize=9)
    figure.supylabel("Mel bins of the kernel", fontsize=9)
    _save(figure, path)
