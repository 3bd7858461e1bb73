"""Fig. 2, confusion matrices of segments:   python -m experiments.figures.confusion RUN… [--clips] --out FILE.png

One matrix for each RUN; the folds of a cross-validation, or all runs in a folder, are summed up. Rows are the true
classes, shades are shares of the row.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence

import numpy as np

from experiments.figures import command
from experiments.figures.runs import Run, find
from scratchnet import plots
from scratchnet.errors import InputError


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    options = command.parser("confusion", __doc__)
    options.add_argument("--clips", action="store_true", help="count clips (by mean probability), not segments")
    return command.run(options, argv, _draw)


def pooled(runs: Sequence[Run], clips: bool = False) -> np.ndarray:
    """Confusion matrix (K, K) summed over runs, rows true. Raises `InputError` where their classes differ."""
    tests = [run.result()["test"] for run in runs]
    for run, test in zip(runs, tests):
        if test["classes"] != tests[0]["classes"]:
            raise InputError(f"{run.path}: has other classes than {runs[0].path}; a matrix needs the same")
    return np.sum([test["confusion_clips" if clips else "confusion"] for test in tests], axis=0)


def _draw(arguments: Namespace) -> None:
    groups = [find([path]) for path in arguments.runs]
    first = groups[0][0]
    matrices = {}
    for path, runs in zip(arguments.runs, groups):
        pooled([first, runs[0]], arguments.clips)  # the same classes everywhere
        count = f", {len(runs)} runs" if len(runs) > 1 else ""
        title = " and ".join(dict.fromkeys(run.system for run in runs)) + count
        matrices[f"{title}\n{path}" if title in matrices else title] = pooled(runs, arguments.clips)
    plots.save_confusions(arguments.out, matrices, first.labels())


if __name__ == "__main__":
    sys.exit(main())
