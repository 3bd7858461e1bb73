"""Fig. 3, training and balanced validation accuracy over the phases:   python -m experiments.figures.phases RUN… --out FILE.png

One colour for each system; several runs of one (folds, seeds) become their mean and, shaded, their standard
deviation. Phases of different length stand side by side, each as wide as its longest.
"""  # noqa: E501

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence

import numpy as np

from experiments.figures import command, style
from experiments.figures.runs import Run, by_system, find
from scratchnet import plots
from scratchnet.errors import InputError

TRAINING, VALIDATION = "train_accuracy", "valid_balanced_accuracy"


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    options = command.parser("phases", __doc__)
    phases = ("0", "1", "2", "3", "random")
    options.add_argument("--phases", nargs="+", choices=phases, default=["1", "2", "3"], help="default 1 2 3")
    return command.run(options, argv, _draw)


def accuracies(runs: Sequence[Run], phase: str, measure: str) -> np.ndarray:
    """(runs, epochs) of one phase; NaN after the end of a run that stopped early, (runs, 0) without the phase."""
    rows = [[row[measure] for row in run.folder.metrics() if str(row["phase"]) == phase] for run in runs]
    table = np.full((len(runs), max(map(len, rows))), np.nan)
    for line, values in zip(table, rows):
        line[: len(values)] = values
    return table


def mean_and_spread(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sample deviation over the runs, as far as all of them go: beyond that, a mean would be of others."""
    whole = table[:, np.isfinite(table).all(axis=0)]
    return whole.mean(axis=0), whole.std(axis=0, ddof=1) if len(whole) > 1 else np.zeros(whole.shape[1])


def _draw(arguments: Namespace) -> None:
    systems = by_system(find(arguments.runs))
    lengths = [max(accuracies(runs, k, TRAINING).shape[1] for runs in systems.values()) for k in arguments.phases]
    if not any(lengths):
        raise InputError(f"{arguments.runs[0]}: no epoch of phase {' or '.join(arguments.phases)} in its metrics.jsonl")
    figure, axes = plots.new_figure(1, 1, (style.PAGE, 3.2))
    axis = axes[0, 0]
    colours = style.colours({system: runs[0].config.net for system, runs in systems.items()})
    for system, runs in systems.items():
        colour = colours[system]
        _draw_system(axis, runs, arguments.phases, lengths, colour)
        axis.plot([], [], color=colour, linewidth=3, label=system)
    for measure, line in (("training", "-"), ("validation, balanced", "--")):
        axis.plot([], [], line, color="0.3", label=measure)
    ends = np.cumsum(lengths) + 0.5
    for phase, end, length in zip(arguments.phases, ends, lengths):
        axis.axvline(end, color="0.8", linewidth=0.8, zorder=0)
        word = f"Phase {phase}" if phase.isdecimal() else "random init"
        axis.text(end - length / 2, 1.02, word, transform=axis.get_xaxis_transform(), ha="center", va="bottom")
    axis.set(xlim=(0.5, ends[-1]), ylim=(0, 1), xlabel="epoch", ylabel="accuracy")
    axis.grid(axis="y", color="0.92")
    axis.xaxis.get_major_locator().set_params(integer=True)
    plots.legend_below(figure, *axis.get_legend_handles_labels())
    plots.save_figure(figure, arguments.out)


def _draw_system(axis, runs: Sequence[Run], phases: Sequence[str], lengths: Sequence[int], colour: str) -> None:
    """The system's two curves; the two measures differ in dashes and weight, not in colour."""
    start = 1
    for phase, length in zip(phases, lengths):
        for measure, line in ((TRAINING, "-"), (VALIDATION, "--")):
            table = accuracies(runs, phase, measure)
            if table.shape[1]:
                mean, spread = mean_and_spread(table)
                x = start + np.arange(len(mean))
                marker = "." if max(lengths) < 15 else ""
                axis.plot(x, mean, line, color=colour, linewidth=1.1 if line == "-" else 1.8, marker=marker)
                if len(runs) > 1:
                    axis.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
        start += length


if __name__ == "__main__":
    sys.exit(main())
