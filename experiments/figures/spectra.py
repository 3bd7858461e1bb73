"""Fig. 8, spectra of the first layer's kernels:   python -m experiments.figures.spectra RUN… [--phase K] --out FILE.png

|FFT| of every kernel, one panel for each RUN, sorted by dominant frequency after training: training itself orders
nothing. Every kernel is scaled to its own peak; with --absolute, all of a network to its largest.
"""

from __future__ import annotations

import sys
import textwrap
from argparse import Namespace
from collections.abc import Sequence

import numpy as np

from experiments.figures import command, style
from experiments.figures.runs import find
from scratchnet import plots

MAX_ROWS = 130
ACROSS = 5  # panels side by side


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    options = command.parser("spectra", __doc__)
    options.add_argument("--absolute", action="store_true", help="one scale for all kernels of a network")
    options.add_argument("--phase", metavar="K", help="best weights of this phase (default: the last)")
    return command.run(options, argv, _draw)


def magnitudes(kernels: np.ndarray) -> np.ndarray:
    """|FFT| (K, 1 + width // 2) of kernels (K, width), from 0 Hz to half the sampling rate."""
    return np.abs(np.fft.rfft(kernels.astype(np.float64), axis=1))


def dominant(kernels: np.ndarray, sample_rate: float) -> np.ndarray:
    """(K,) the frequency in hertz at which each kernel's spectrum is largest."""
    return magnitudes(kernels).argmax(axis=1) * sample_rate / kernels.shape[1]


def by_frequency(kernels: np.ndarray) -> np.ndarray:
    """(K,) the kernels' indices from the lowest dominant frequency to the highest."""
    return np.argsort(dominant(kernels, 1.0), kind="stable")


def image(kernels: np.ndarray, absolute: bool = False) -> np.ndarray:
    """(frequencies, K): the spectra as columns in order of dominant frequency; the largest value of each is 1.

    `absolute`: the largest value of all is 1.
    """
    spectra = magnitudes(kernels[by_frequency(kernels)])
    peak = spectra.max() if absolute else spectra.max(axis=1, keepdims=True)
    return (spectra / np.where(peak > 0, peak, 1.0)).T


def coarse(shades: np.ndarray) -> np.ndarray:
    """At most MAX_ROWS rows, each the largest of its neighbours: a printed page has no room for 513."""
    step = -(-len(shades) // MAX_ROWS)
    return np.maximum.reduceat(shades, range(0, len(shades), step), axis=0)


def _draw(arguments: Namespace) -> None:
    runs = find(arguments.runs)
    all_kernels = [run.kernels(arguments.phase) for run in runs]
    columns = min(len(runs), ACROSS)
    lines = -(-len(runs) // columns)
    size = max(style.COLUMN, 2.6 * columns + 1.2), 3.0 * lines
    figure, axes = plots.new_figure(lines, columns, size, sharey=True)
    titles = [f"{style.title(run.config.net)} ({len(kernels)} kernels)" for run, kernels in zip(runs, all_kernels)]
    names = [f"{run.path.parent.name}/{run.path.name}" for run in runs]
    for axis in axes.flat[len(runs) :]:
        axis.set_visible(False)
    for axis, run, kernels, title, name in zip(axes.flat, runs, all_kernels, titles, names):
        shades = image(kernels, arguments.absolute)
        rows = coarse(shades)
        pitch = run.config.sample_rate / kernels.shape[1] * -(-len(shades) // len(rows))
        half_bin = run.config.sample_rate / kernels.shape[1] / 2
        extent = (0.5, len(kernels) + 0.5, -half_bin, -half_bin + pitch * len(rows))
        look = {"cmap": style.MAP, "vmin": 0, "vmax": 1, "interpolation": "nearest"}
        drawn = axis.imshow(rows, origin="lower", aspect="auto", extent=extent, **look)
        which = "\n" + "\n".join(textwrap.wrap(name, 34)) if titles.count(title) > 1 else ""
        axis.set(ylim=(0, run.config.sample_rate / 2))
        axis.set_title(title + which, fontsize=9 if not which else 8)
        axis.set_xlabel("kernel, sorted by dominant frequency", fontsize=8)
    for axis in axes[:, 0]:
        style.hertz_axis(axis)
    figure.colorbar(drawn, ax=axes, label=f"magnitude / largest of the {'network' if arguments.absolute else 'kernel'}")
    plots.save_figure(figure, arguments.out)


if __name__ == "__main__":
    sys.exit(main())
