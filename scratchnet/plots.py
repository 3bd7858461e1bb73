"""Pictures of a run: training curves, confusion matrix, first-layer kernels. Colours that the colour-blind can tell."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

TRAIN, VALID, BEST = "#0072B2", "#D55E00", "#009E73"  # Okabe & Ito's palette
MAP = "cividis"
MAX_KERNELS = 80
SMALL = {"font.size": 9, "axes.titlesize": 9, "axes.spines.top": False, "axes.spines.right": False}


def new_figure(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Any, Any]:
    """Figure and axes (rows, columns); without pyplot, so that no screen is needed and none is touched."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(SMALL):  # type: ignore[arg-type]
        figure = Figure(size, layout="constrained")
        return figure, figure.subplots(rows, columns, squeeze=False, **options)


def save_figure(figure: Any, path: Path) -> None:
    """Write the figure; the file's ending says as what (PNG, PDF, SVG)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a box stands there then, which says it too
        figure.savefig(path, dpi=150)


def legend_below(figure: Any, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """A legend under all axes, in as many columns as the longest label leaves room for."""
    (width, height), letter, rest = figure.get_size_inches(), 0.063, 0.6  # inches; rest: of a line and its gaps
    labels = [textwrap.fill(label, int((width - rest) / letter)) for label in labels]
    lines = [line for label in labels for line in label.split("\n")]
    columns = min(len(labels), 4, max(1, int(width / (max(map(len, lines)) * letter + rest))))
    figure.set_size_inches(width, height + 0.17 * max(0, math.ceil(len(lines) / columns) - 3))  # not at the axes' cost
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)


def plain(text: str) -> str:
    """A name as it is: between two dollar signs Matplotlib would read mathematics."""
    return text.replace("$", r"\$")


def class_labels(data: str, classes: Sequence[str], codes: Sequence[str]) -> Sequence[str]:
    """What pictures call the classes: by the paper's two-letter codes (appendix A) where they are the paper's; a long
    name without its middle."""
    if data in ("urbansound8k", "synthetic"):
        return codes
    return [plain(name if len(name) <= 26 else f"{name[:12]}…{name[-13:]}") for name in classes]


def save_curves(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Accuracies and loss over the epochs, phase after phase, from the rows of a metrics.jsonl."""
    figure, axes = new_figure(2, 1, (8, 5.5), sharex=True)
    accuracy, loss = axes[:, 0]
    style: dict[str, Any] = {"marker": "o", "markersize": 3 if len(rows) < 60 else 0, "linewidth": 1.4}
    forced = any(row["train_accuracy"] is None for row in rows)
    first = 0.5
    for phase in dict.fromkeys(row["phase"] for row in rows):
        x, mine = zip(*((number, row) for number, row in enumerate(rows, 1) if row["phase"] == phase))
        if mine[0]["train_accuracy"] is not None:
            valid = [row["valid_balanced_accuracy"] for row in mine]
            accuracy.plot(x, [row["train_accuracy"] for row in mine], color=TRAIN, **style)
            accuracy.plot(x, valid, color=VALID, linestyle="--", **style)
            best = max(range(len(mine)), key=lambda n: (valid[n], -_number(mine[n]["valid_loss"])))
            accuracy.plot(x[best], valid[best], "*", color=BEST, markersize=11, zorder=3)
        loss.plot(x, [row["train_loss"] for row in mine], color=TRAIN, **style)
        loss.plot(x, [row["valid_loss"] for row in mine], color=VALID, linestyle="--", **style)
        last = x[-1] + 0.5
        title = f"Phase {phase}" if isinstance(phase, int) else str(phase)
        place = {"transform": accuracy.get_xaxis_transform(), "ha": "center", "va": "bottom"}
        accuracy.text((first + last) / 2, 1.02, title, **place)
        for axis in (accuracy, loss):
            axis.axvline(last, color="0.8", linewidth=0.8, zorder=0)
        first = last
    accuracy.set(ylabel="accuracy", ylim=(0, 1.04), xlim=(0.5, len(rows) + 0.5))
    loss.set(ylabel="loss (forcing: mean square error)" if forced else "loss (cross-entropy)", xlabel="epoch")
    if forced:  # square errors are far smaller than cross-entropies
        loss.set_yscale("log")
        loss.yaxis.set_major_formatter("{x:g}")
        loss.yaxis.set_minor_formatter(lambda y, _: f"{y:g}" if f"{y:e}"[0] in "25" else "")
    else:
        top = max(_number(row[which], 0) for row in rows for which in ("train_loss", "valid_loss"))
        loss.set_ylim(0, 1.04 * top or 1)
    loss.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    names = ("training", "validation (accuracy: balanced)", "best of its phase")
    looks = ({"color": TRAIN}, {"color": VALID, "linestyle": "--"}, {"color": BEST, "marker": "*", "linestyle": ""})
    handles = [accuracy.plot([], [], label=name, **look)[0] for name, look in zip(names, looks)]  # type: ignore[arg-type]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    for axis in (accuracy, loss):
        axis.grid(axis="y", color="0.92")
    save_figure(figure, path)


def _number(value: float | None, otherwise: float = math.inf) -> float:
    """`otherwise` for what JSON has no number for: it was none, or infinite."""
    return otherwise if value is None else value


def save_confusions(path: Path, matrices: Mapping[str, np.ndarray], names: Sequence[str]) -> None:
    """Confusion matrices (K, K) of counts, rows true, by title, side by side; shades are shares of the row."""
    count = len(names)
    long = max(map(len, names)) > 3
    every = 1 + count // 60  # of so many classes one is named
    side = min(9.0, max(2.3, 0.3 + 0.31 * count))  # of a matrix, in inches; its title needs some
    room = max(0.5, 0.06 * max(map(len, names))) * long  # inches for names
    titles = [textwrap.wrap(plain(title), max(24, int(11 * side))) for title in matrices]
    height = side + 0.9 + max(0.8 * long, room) + 0.15 * (max(map(len, titles)) - 1)
    figure, axes = new_figure(1, len(matrices), (side * len(matrices) + 1.7 + room, height), sharey=True)
    for axis, title, confusion in zip(axes[0], titles, matrices.values()):
        image = _draw_confusion(axis, confusion)
        axis.set_xticks(
            range(0, count, every), names[::every], rotation=45 if long else 0, ha="right" if long else "center"
        )
        axis.set(xlabel="predicted class", title="\n".join(title))
    axes[0, 0].set_yticks(range(0, count, every), names[::every])
    axes[0, 0].set_ylabel("true class")
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
    save_figure(figure, path)


def _draw_confusion(axis: Any, confusion: np.ndarray) -> Any:
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    image = axis.imshow(share, cmap=MAP, vmin=0, vmax=1)
    if len(confusion) <= 20:
        for (row, column), value in np.ndenumerate(confusion):
            if value:
                color = "black" if share[row, column] > 0.55 else "white"
                axis.text(column, row, int(value), ha="center", va="center", color=color, fontsize=7)
    return image


def save_kernels(path: Path, weights: Mapping[str, np.ndarray], sound: Mapping[str, Any]) -> None:
    """The first layer's kernels: over time where it hears waveforms, over Mel bins and time where it sees spectrograms.

    `weights` by name as in a network's `state_dict`; `sound`: the sound settings.
    """
    if "deepfourier.conv1.weight" in weights:
        _time_kernels(path, weights["deepfourier.conv1.weight"][:, 0], sound["sample_rate"])
    else:
        first = next(name for name in weights if name.endswith(".conv1.weight"))
        _image_kernels(path, weights[first][:, 0], sound)


def _time_kernels(path: Path, kernels: np.ndarray, sample_rate: int) -> None:
    """(K, width): evenly picked ones, in the network's order."""
    shown = kernels[np.linspace(0, len(kernels) - 1, min(len(kernels), MAX_KERNELS)).astype(int)]
    picked = "" if len(shown) == len(kernels) else f" (of {len(kernels)})"
    title = f"{len(shown)} kernels{picked} of the first layer, each scaled to its peak"
    save_time_kernels(path, shown, sample_rate, title)


def save_time_kernels(
    path: Path,
    kernels: np.ndarray,
    sample_rate: int,
    title: str,
    *,
    labels: Sequence[str] = (),
    columns: int = 8,
    width: float = 10.0,
) -> None:
    """Kernels (K, width) over time, each to its own scale, on a grid in one pair of axes (80 pairs would be slow).

    `labels`: a word at the head of each; `width` of the picture in inches.
    """
    rows = math.ceil(len(kernels) / columns)
    figure, axes = new_figure(1, 1, (width, 0.75 * rows + 0.9))
    axis = axes[0, 0]
    time = np.arange(kernels.shape[1]) / sample_rate * 1000
    duration = time[-1] or 1000 / sample_rate  # of a single sample
    cell, pitch = 1.15 * duration, 2.9 if labels else 2.2
    for number, kernel in enumerate(kernels):
        row, column = divmod(number, columns)
        level = np.full(len(time), -pitch * row)
        axis.plot(time + column * cell, level, color="0.85", linewidth=0.6)
        height = kernel / (np.abs(kernel).max() or 1.0)
        dot = "." if len(time) == 1 else None  # a line of one point is none
        axis.plot(time + column * cell, level + height, color=TRAIN, linewidth=0.7, marker=dot)
        if labels:
            axis.text(column * cell, level[0] + 1.05, labels[number], va="bottom", fontsize=7)
    steps = (20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
    tick = next((step for step in steps if step < 0.8 * duration), duration)
    places = [column * cell + t for column in range(columns) for t in (0, tick)]
    axis.set_xticks(places, ["0", f"{tick:g}"] * columns)
    top = 2.0 if labels else 1.3
    axis.set(yticks=[], ylim=(-pitch * (rows - 1) - 1.3, top), xlim=(-0.02 * cell, columns * cell), xlabel="time in ms")
    axis.spines["left"].set_visible(False)
    axis.set_title(title)
    save_figure(figure, path)


def mel_bins(hertz: Any, sound: Mapping[str, Any]) -> np.ndarray:
    """Where frequencies lie among the Mel bins (the first is 0); `sound`: sample_rate and n_mels."""
    from scratchnet.sound.mel import hz_to_mel

    top = hz_to_mel(sound["sample_rate"] / 2)
    return hz_to_mel(hertz) / top * (sound["n_mels"] + 1) - 1  # at whole numbers the triangles have their centres


def _image_kernels(path: Path, kernels: np.ndarray, sound: Mapping[str, Any]) -> None:
    """(K, Mel bins, frames): all to one scale, on a grid in one image."""
    count, height, width = kernels.shape
    columns = 20
    rows = math.ceil(count / columns)
    mosaic = np.full((rows, height + 4, columns, width + 2), np.nan)
    for number, kernel in enumerate(kernels):
        row, column = divmod(number, columns)
        mosaic[rows - 1 - row, :height, column, :width] = kernel
    bound = float(np.abs(kernels).max()) or 1.0
    figure, axes = new_figure(1, 1, (10, 1.6 * rows + 0.9))
    axis = axes[0, 0]
    flat = mosaic.reshape(rows * (height + 4), columns * (width + 2))
    image = axis.imshow(flat, cmap="PuOr_r", vmin=-bound, vmax=bound, origin="lower", aspect="auto")
    hertz = np.array([300, 1000, 3000, 9000])
    bins = mel_bins(hertz, sound)
    low = np.flatnonzero((bins >= 0) & (bins < height))
    axis.set_yticks(
        [row * (height + 4) + bins[n] for row in range(rows) for n in low], [f"{hertz[n]}" for n in low] * rows
    )
    seconds = sound["hop_length"] / sound["sample_rate"] * width
    axis.set_xticks([-0.5, width - 0.5], ["0", f"{seconds:.2f}"])
    axis.set(
        xlabel="time in seconds, of each kernel", ylabel="frequency in hertz (kernels at the lowest of their places)"
    )
    axis.set_title(f"{count} kernels of the first layer")
    for side in ("left", "bottom"):
        axis.spines[side].set_visible(False)
    figure.colorbar(image, ax=axis, shrink=0.7, label="weight", fraction=0.02)
    save_figure(figure, path)
