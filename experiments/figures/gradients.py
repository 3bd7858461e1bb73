"""Gradient norms of every layer over the epochs:   python -m experiments.figures.gradients RUN --out FILE.png

The L2 norms, before clipping, are means over an epoch's mini-batches, recorded in runs trained with --grad-norms.
Solid: weights; dotted: biases.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.figures import command, style
from experiments.figures.runs import one
from scratchnet import plots
from scratchnet.errors import InputError


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return command.run(command.parser("gradients", __doc__, runs=1), argv, _draw)


def norms(rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """(epochs,) of each parameter, from the lines of a metrics.jsonl; NaN where it was frozen, or not finite."""
    names = dict.fromkeys(name for row in rows for name in row.get("grad_norms", ()))
    return {name: np.array([row.get("grad_norms", {}).get(name) for row in rows], float) for name in names}


def layers_of(names: Iterable[str]) -> list[str]:
    """The layers in the network's order: the front end's before the back end's, which Phase 0 trains first."""
    layers = dict.fromkeys(name.rpartition(".")[0] for name in names)
    return sorted(layers, key=lambda name: not name.startswith("deepfourier."))


def _draw(arguments: Namespace) -> None:
    run = one(arguments.runs[0])
    rows = run.folder.metrics()
    recorded = norms(rows)
    if not recorded:
        raise InputError(f"{run.path}: has recorded no gradient norms; train with --grad-norms")
    figure, axes = plots.new_figure(1, 1, (style.PAGE, 3.4))
    axis = axes[0, 0]
    marker = "." if len(rows) < 60 else ""
    for number, layer in enumerate(layers_of(recorded)):
        colour = style.PALETTE[number % len(style.PALETTE)]
        for kind, line in (("weight", "-"), ("bias", ":")):
            if (values := recorded.get(f"{layer}.{kind}")) is not None:
                for part in phase_parts(rows):
                    x = np.arange(part.start, part.stop) + 1
                    shown = np.where(values[part] > 0, values[part], np.nan)  # 0 has no logarithm
                    axis.plot(x, shown, line, color=colour, marker=marker, lw=1.2)
        axis.plot([], [], color=colour, label=layer)
    for kind, line in (("weights", "-"), ("bias", ":")):
        axis.plot([], [], line, color="0.3", label=kind)
    if run.config.clip_norm is not None:
        axis.axhline(
            run.config.clip_norm,
            color="black",
            linewidth=0.8,
            linestyle="--",
            label=f"clipped to {run.config.clip_norm:g}",
        )
    _mark_phases(axis, rows)
    axis.set(yscale="log", xlabel="epoch", ylabel="L2 norm of the gradient", xlim=(0.5, len(rows) + 0.5))
    axis.set_title(run.system, pad=18)
    axis.grid(axis="y", color="0.92")
    axis.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(loc="outside right center", frameon=False, fontsize=8)
    plots.save_figure(figure, arguments.out)


def phase_parts(rows: Sequence[Mapping[str, Any]]) -> list[slice]:
    """Where each phase lies among the rows."""
    phases = [row["phase"] for row in rows]
    return [slice(phases.index(k), phases.index(k) + phases.count(k)) for k in dict.fromkeys(phases)]


def _mark_phases(axis, rows: Sequence[Mapping[str, Any]]) -> None:
    for part in phase_parts(rows):
        axis.axvline(part.stop + 0.5, color="0.8", linewidth=0.8, zorder=0)
        phase, middle = rows[part.start]["phase"], (part.start + part.stop + 1) / 2
        word = f"Phase {phase}" if isinstance(phase, int) else str(phase)
        axis.text(middle, 1.01, word, transform=axis.get_xaxis_transform(), ha="center", va="bottom", fontsize=8)


if __name__ == "__main__":
    sys.exit(main())
