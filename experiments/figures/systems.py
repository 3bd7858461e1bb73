"""Fig. 4, balanced test accuracy of the systems:   python -m experiments.figures.systems RUN… --out FILE.png

One bar for each system; with several runs of one (folds, seeds) the bar is their mean, the whisker their standard
deviation, the dots are the runs. Where no run is of PiczakNet alone, Phase 0 of HeuriNet's IceBreaker stands for it.
"""

from __future__ import annotations

import sys
import textwrap
from argparse import Namespace
from collections.abc import Sequence

import numpy as np

from experiments.figures import command, style
from experiments.figures.runs import Run, by_system, find
from scratchnet import plots
from scratchnet.errors import InputError
from scratchnet.training.metrics import SCORES

MEASURES = {
    "segment_accuracy": "accuracy of segments",
    "segment_balanced_accuracy": "balanced accuracy of segments",
    "clip_accuracy_majority": "accuracy of clips, by majority",
    "clip_accuracy_probability": "accuracy of clips, by probability",
    "clip_balanced_accuracy_probability": "balanced accuracy of clips",
}
HEURI = ("heurinet", "piczak")  # whose Phase 0 is PiczakNet alone
ORDER = ("piczaknet", "heurinet", "mstnet", "melnet")


class Bar:
    """A system's test scores (one a run), its name and its network."""

    def __init__(self, name: str, net: str, scores: Sequence[float]) -> None:
        self.name, self.net, self.scores = name, net, list(scores)

    @property
    def mean(self) -> float:
        """Mean over runs."""
        return float(np.mean(self.scores))

    @property
    def deviation(self) -> float:
        """Sample standard deviation over runs, 0 for one."""
        return float(np.std(self.scores, ddof=1)) if len(self.scores) > 1 else 0.0


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    options = command.parser("systems", __doc__)
    default = "segment_balanced_accuracy"
    options.add_argument("--measure", choices=SCORES, default=default, help=f"one of {', '.join(SCORES)}")
    return command.run(options, argv, _draw)


def bars(runs: Sequence[Run], measure: str) -> list[Bar]:
    """The systems in the paper's order, each with the scores of its runs."""
    found = [
        Bar(name, mine[0].config.net, [run.result()["test"][measure] for run in mine])
        for name, mine in by_system(runs).items()
    ]
    if not any(bar.net == "piczaknet" for bar in found):
        heuri = [run.result() for run in runs if (run.config.net, run.config.back_end) == HEURI]
        # Variants of HeuriNet may share the Phase 0 of a seed and fold.
        phases = [(made["seed"], made["test_fold"], made["phases"].get("0")) for made in heuri]
        scores = dict.fromkeys((seed, fold, figures[measure]) for seed, fold, figures in phases if figures)
        if scores:
            found.append(Bar("PiczakNet, Phase 0", "piczaknet", [score for _, _, score in scores]))
    place = {net: number for number, net in enumerate(ORDER)}
    return sorted(found, key=lambda bar: (place.get(bar.net, len(ORDER)), bar.net, "random" in bar.name))


def _draw(arguments: Namespace) -> None:
    runs = find(arguments.runs)
    drawn = bars(runs, arguments.measure)
    counts = {len(run.result()["test"]["classes"]): run for run in runs}
    if len(counts) > 1:
        first, second, *_ = (f"{run.path} has {count} classes" for count, run in counts.items())
        raise InputError(f"{first}, {second}: bars side by side need as many, for chance is another")
    (classes,) = counts
    figure, axes = plots.new_figure(1, 1, (max(style.COLUMN, 1.15 * len(drawn) + 0.7), 3.0))
    axis = axes[0, 0]
    colours = style.colours({bar.name: bar.net for bar in drawn})
    for x, bar in enumerate(drawn):
        hatch = "//" if "random" in bar.name else ""
        colour = colours[bar.name]
        axis.bar(x, bar.mean, 0.62, color=colour, alpha=0.35, edgecolor=colour, hatch=hatch)
        if len(bar.scores) > 1:
            axis.errorbar(x, bar.mean, bar.deviation, color="black", capsize=4, linewidth=1)
            spread = np.linspace(-0.18, 0.18, len(bar.scores))
            axis.plot(x + spread, bar.scores, "o", color=colour, markersize=3.5)
        top = max([bar.mean + bar.deviation, *bar.scores]) if len(bar.scores) > 1 else bar.mean
        axis.text(x, top + 0.015, f"{100 * bar.mean:.1f} %", ha="center", va="bottom", fontsize=9)
    axis.axhline(1 / classes, color="0.4", linewidth=0.8, linestyle=":")
    axis.text(len(drawn) - 0.48, 1 / classes, "chance", va="center", fontsize=8, color="0.3")
    axis.set_xticks(range(len(drawn)), [_lines(bar.name) for bar in drawn])
    axis.set(ylim=(0, 1), xlim=(-0.5, len(drawn) - 0.5), ylabel=MEASURES[arguments.measure])
    axis.grid(axis="y", color="0.92")
    axis.set_axisbelow(True)
    plots.save_figure(figure, arguments.out)


def _lines(name: str) -> str:
    """A system's name, narrow enough for a bar."""
    for word in (", ", " with", " before", " ("):
        name = name.replace(word, f"\n{word.lstrip(', ')}")
    lines = [part for line in name.split("\n") for part in textwrap.wrap(line, 17, break_long_words=False)]
    return "\n".join(line if len(line) <= 17 else line.replace("=", "=\n") for line in lines)


if __name__ == "__main__":
    sys.exit(main())
