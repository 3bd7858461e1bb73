"""Fig. 7, first-layer kernels over time:   python -m experiments.figures.kernels RUN [--count N] [--phase K] --out FILE.png

Evenly picked ones, from the lowest dominant frequency (which stands at each) to the highest. The pictures of all of
them, in the network's order, are in the run folder.
"""  # noqa: E501

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence

import numpy as np

from experiments.figures import command, style
from experiments.figures.runs import one
from experiments.figures.spectra import by_frequency, dominant
from scratchnet import plots
from scratchnet.errors import InputError


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    options = command.parser("kernels", __doc__, runs=1)
    options.add_argument("--count", type=int, default=16, help="how many (default 16)")
    options.add_argument("--phase", metavar="K", help="best weights of this phase (default: the last)")
    return command.run(options, argv, _draw)


def picked(kernels: np.ndarray, count: int, sample_rate: float) -> tuple[np.ndarray, np.ndarray]:
    """`count` of the kernels (K, width), evenly among them by dominant frequency, and these frequencies in hertz."""
    order = by_frequency(kernels)
    order = order[np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)]
    return kernels[order], dominant(kernels[order], sample_rate)


def _draw(arguments: Namespace) -> None:
    if arguments.count < 1:
        raise InputError(f"--count {arguments.count}: must be above 0")
    run = one(arguments.runs[0])
    kernels, rate = run.kernels(arguments.phase), run.config.sample_rate
    shown, hertz = picked(kernels, arguments.count, rate)
    phase = f", Phase {arguments.phase}" if arguments.phase else ""
    title = f"{style.title(run.config.net)}{phase}: {len(shown)} of the first layer's {len(kernels)} kernels"
    labels = [f"{value:.0f} Hz" for value in hertz]
    plots.save_time_kernels(arguments.out, shown, rate, title, labels=labels, columns=4, width=style.PAGE)


if __name__ == "__main__":
    sys.exit(main())
