"""What came of models in noise: tables over the ratio, every system against the first, and a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.figures.style import PALETTE
from experiments.noise_mix import SNRS
from experiments.paired import p_value, paired_t, points
from experiments.table import Row, percent, write_csv
from scratchnet import plots
from scratchnet.training.files import write_text
from scratchnet.training.markdown import markdown

SCORES = ("segment_balanced_accuracy", "clip_accuracy_probability")
Cells = dict[tuple[str, str], dict[Any, str]]  # (system, noise) -> ratio -> text


class Heard(NamedTuple):
    """One trained model in noise: its system's name, test fold and seed, a row for each noise and ratio, and a digest
    of the clips that it heard."""

    system: str
    fold: int
    seed: int
    rows: list[Row]
    clips: str = ""


def gather(models: Iterable[Heard]) -> list[Row]:
    """Models of the same system: mean and sample deviation per noise and ratio of those that have figures there."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for model in models:
        for row in model.rows:
            groups.setdefault((model.system, row["noise"], row["snr"]), []).append(row)
    made = []
    for key, rows in groups.items():
        heard = [r for r in rows if r[SCORES[0]] is not None]
        row = dict(zip(("system", "noise", "snr"), key)) | {"models": len(heard)}
        for score in SCORES:
            values = [r[score] for r in heard]
            row[score] = float(np.mean(values)) if values else None
            row[f"{score}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
        made.append(row)
    return made


def against_first(models: Sequence[Heard]) -> list[Row]:
    """Every system minus the first, per noise, ratio and score: the mean difference over the test folds that both have
    (of the seeds that both have there, their means), its sample deviation, and the p-value of the paired t-test. Models
    that heard other clips are no pair."""
    found: dict[tuple[Any, ...], dict[tuple[int, int, str], float]] = {}
    for model in models:
        for row in model.rows:
            for score in SCORES:
                mine = found.setdefault((model.system, row["noise"], row["snr"], score), {})
                if row[score] is not None:
                    mine[model.fold, model.seed, model.clips] = row[score]
    first, made = models[0].system, []
    for (system, *rest), mine in found.items():
        other = found[first, *rest]
        pairs = [key for key in mine if key in other]
        both = sorted({fold for fold, *_ in pairs})
        if system == first or not both:
            continue
        a, b = (
            np.array([np.mean([those[key] for key in pairs if key[0] == fold]) for fold in both])
            for those in (mine, other)
        )
        sd = float(np.std(a - b, ddof=1)) if len(both) > 1 else None
        row = dict(zip(("system", "against", "noise", "snr", "score"), (system, first, *rest)))
        row |= {"folds": len(both), "difference": float(np.mean(a - b)), "difference_sd": sd, "p_t": paired_t(a, b)}
        made.append(row)
    return made


def unpaired(models: Sequence[Heard]) -> list[str]:
    """The systems that cannot be compared with the first on some fold, since they heard other clips there."""
    first = {(m.fold, m.seed): m.clips for m in models if m.system == models[0].system}
    return list(dict.fromkeys(m.system for m in models if first.get((m.fold, m.seed), m.clips) != m.clips))


def against_markdown(rows: Sequence[Row], score: str = SCORES[1]) -> str:
    """A line per system and noise, a column per ratio: points of clip accuracy by mean probability, and p."""
    cells: Cells = {}
    for row in rows:
        if row["score"] == score:
            p = "" if row["p_t"] is None else f" ({p_value(row['p_t'])})"
            cells.setdefault((row["system"], row["noise"]), {})[row["snr"]] = points(row["difference"]) + p
    return _by_ratio(f"minus {rows[0]['against']}, points (p, paired t)", "", cells)


def noise_markdown(rows: Sequence[Row], score: str = SCORES[1]) -> str:
    """A line per system and noise, a column per ratio: clip accuracy by mean probability; where not all models have
    it, of how many it is."""
    cells: Cells = {}
    all_of = {row["system"]: row["models"] for row in rows if row["noise"] == "none"}
    for row in rows:
        text = "" if row[score] is None else percent(row[score], row[f"{score}_sd"])
        if 0 < row["models"] < all_of[row["system"]]:
            text += f" ({row['models']} of {all_of[row['system']]})"
        cells.setdefault((row["system"], row["noise"]), {})[row["snr"]] = text
    return _by_ratio("system", " (%)", cells)


def _by_ratio(title: str, unit: str, cells: Cells) -> str:
    lines = [
        [name, kind, cells[name, "none"][None], *(mine[snr] for snr in SNRS)]
        for (name, kind), mine in cells.items()
        if kind != "none"
    ]
    return markdown([title, "noise", f"clean{unit}", *(f"{snr} dB{unit}" for snr in SNRS)], lines)


def report(models: Sequence[Heard]) -> str:
    """The tables as Markdown: every system, then against the first."""
    tests, parts = against_first(models), [noise_markdown(gather(models))]
    if tests:
        parts.append(against_markdown(tests))
    if others := unpaired(models):
        parts.append(f"Tested on other clips than {models[0].system}, so not compared with it: {', '.join(others)}.")
    return "\n\n".join(parts)


def write(out: Path, models: Sequence[Heard], classes: int) -> None:
    """noise.csv, noise.md, noise.png; with several systems, noise_paired.csv."""
    rows, tests = gather(models), against_first(models)
    write_csv(out / "noise.csv", rows)
    if tests:
        write_csv(out / "noise_paired.csv", tests)
    else:
        (out / "noise_paired.csv").unlink(missing_ok=True)  # of other systems
    write_text(out / "noise.md", report(models) + "\n")
    draw(out / "noise.png", rows, classes)


# As many as there are colours: lines can be told apart in grey, too. More systems are in the tables alone.
MARKERS, DASHES = "osD^vPX*", ("-", "-", "-", "--", "--", ":", ":", ":")
PANELS = {"white": "white noise", "pink": "pink noise", "background": "another clip as background"}


def draw(path: Path, rows: Sequence[Row], classes: int, score: str = SCORES[1]) -> None:
    """Clip accuracy over the ratio, a panel a noise, a line for each of the first eight systems; bars reach a sample
    deviation up and down."""
    figure, axes = plots.new_figure(1, len(PANELS), (9, 4), sharey=True)
    places = {None: 0, **{snr: i for i, snr in enumerate(SNRS, 1)}}
    every = list(dict.fromkeys(row["system"] for row in rows))
    systems = every[: len(MARKERS)]
    if len(every) > len(systems):
        figure.suptitle(f"the first {len(systems)} of {len(every)} systems", fontsize=9)
    for axis, (kind, title) in zip(axes[0], PANELS.items()):
        for number, system in enumerate(systems):
            mine = [r for r in rows if r["system"] == system and r["noise"] in ("none", kind) and r[score] is not None]
            x = [places[r["snr"]] + 0.05 * (number - (len(systems) - 1) / 2) for r in mine]
            style = {"color": PALETTE[number], "marker": MARKERS[number], "linestyle": DASHES[number]}
            spread = [r[f"{score}_sd"] or 0 for r in mine]
            axis.errorbar(
                x, [r[score] for r in mine], spread, label=system, markersize=4, linewidth=1.2, elinewidth=0.6, **style
            )
        axis.axhline(1 / classes, color="0.4", linewidth=0.8, linestyle=":")
        axis.set_title(title, fontsize=9)
        axis.set_xticks(range(len(places)), ["clean", *map(str, SNRS)])
        axis.set(xlabel="signal-to-noise ratio in dB", ylim=(0, 1.02))
        axis.grid(axis="y", color="0.92")
    axes[0, 0].set_ylabel("accuracy of clips, by mean probability")
    axes[0, 0].text(0, 1 / classes + 0.01, "chance", fontsize=8, color="0.3")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    plots.legend_below(figure, handles, labels)
    plots.save_figure(figure, path)
