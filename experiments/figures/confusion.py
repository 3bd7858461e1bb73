"""Fig. 2, confusion matrices of segments:   python -m experiments.figures.confusion RUN… [--clips] --out FILE.png

One matrix for each system in each RUN; its folds and seeds there are summed up. Rows are the true classes, shades are
shares of the row.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence

import numpy as np

from experiments.figures import command
from experiments.figures.runs import Run, by_system, find
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
    groups = [(path, *system) for path in arguments.runs for system in by_system(find([path])).items()]
    first = groups[0][2][0]
    matrices = {}
    for path, name, runs in groups:
        pooled([first, runs[0]], arguments.clips)  # the same classes everywhere
        title = f"{name}, {len(runs)} runs" if len(runs) > 1 else name
        matrices[f"{title}\n{path}" if title in matrices else title] = pooled(runs, arguments.clips)
    plots.save_confusions(arguments.out, matrices, first.labels())


if __name__ == "__main__":
    sys.exit(main())
