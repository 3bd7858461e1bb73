"""What came out of `experiments.reproduce`: results.md, CSV tables and figures, from its finished runs alone.

results.md          every study: its question, a table of its systems, the paired tests; how the runs read the paper
systems.csv         the same tables; paired.csv the same tests
runs.csv            one trained model a row, with its weights' hash and the commit that made it
noise.csv, .md, .png  the systems on noisy test sets
figures/            the paper's figures, of the runs with seed 0
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from experiments import noise, noise_report
from experiments.figures import tables
from experiments.paired import Runs, compare, comparison_markdown, predictions
from experiments.studies import (
    FIVE,
    HEURINET,
    MELNET,
    MELNET_MODULUS,
    MSTNET,
    PICZAKNET,
    SCALES,
    Study,
    System,
    job,
)
from experiments.table import HEADS, Row, figures_of, find, row_of, summary, write_csv
from scratchnet.errors import InputError
from scratchnet.training.files import write_text
from scratchnet.training.markdown import markdown
from scratchnet.training.readings import readings_markdown
from scratchnet.training.runfolder import RunFolder

if TYPE_CHECKING:
    from experiments.reproduce import Reproduction


def write(work: Reproduction) -> dict[str, str]:
    """Write all of it; returns what could not be made, and why."""
    done = Finished(work)
    failed = done.failed
    if not done.rows:
        return failed
    write_csv(work.out / "runs.csv", [row for rows in done.rows.values() for row in rows])
    systems, pairs, sections = [], [], []
    for name, study in work.studies.items():
        mine, text = study_section(name, study, done)
        systems += mine
        tests, test_text = paired_section(name, study, done, failed)
        pairs += tests
        sections.append(text + test_text)
    for table, rows in (("systems.csv", systems), ("paired.csv", pairs)):
        if rows:
            write_csv(work.out / table, rows)
    heard = noise_section(done, failed) if work.noise else ""
    drawn = figures_section(done, failed)
    read = readings_section(done)
    write_text(work.out / "results.md", "\n".join([heading(work, done), *sections, heard, drawn, read]))
    return failed


class Finished:
    """The finished runs of a reproduction, by system and seed; `failed`: those with damaged files, and which."""

    def __init__(self, work: Reproduction) -> None:
        self.work = work
        self.rows: dict[str, list[Row]] = {}
        self.failed: dict[str, str] = {}
        for planned in work.plan:
            try:
                if work.finished(planned):
                    self.rows[planned.name] = [self._row(folder) for folder in find([work.path(planned)])]
            except InputError as error:
                self.failed[planned.name] = str(error)

    def _row(self, folder: Path) -> Row:
        """The row of one trained model, all of whose files are whole: tables and figures read them again."""
        predictions(folder)
        RunFolder(folder).metrics()
        return {**row_of(folder), "run": str(folder.relative_to(self.work.out))}

    def name(self, system: System, seed: int) -> str:
        """The run's folder name."""
        return job(system, self.work.scale, seed, self.work.changes).name

    def paths(self, system: System, seeds: range) -> list[Path]:
        """The folders of a system's finished runs."""
        names = (self.name(system, seed) for seed in seeds)
        return [self.work.out / "runs" / name for name in names if name in self.rows]

    def of(self, system: System, seeds: range) -> list[Row]:
        """The rows of a system's finished runs."""
        return [row for path in self.paths(system, seeds) for row in self.rows[path.name]]


def heading(work: Reproduction, done: Finished) -> str:
    """What was run, on what, by what."""
    from experiments.bench.machine import describe
    from scratchnet import backend

    machine = describe(backend.threads() if work.used == "cpu" else 1)
    rows = [row for rows in done.rows.values() for row in rows]
    commits = ", ".join(sorted({row["commit"] or f"version {row['version']}" for row in rows}))
    folds = work.source.folds
    lost = [f"fold {fold} altogether" for fold in work.source.absent_folds]
    absent = f"Not used: {len(work.source.unusable)} files" if work.source.unusable else ""
    absent += f", {', '.join(lost)}" if lost else ""
    asked = work.command.partition(f"--scale {work.scale}")[2]
    return f"""# Results on {work.data}

Scale `{work.scale}`: {SCALES[work.scale].about}{f"; here with `{asked.strip()}`" if asked else ""}.
Split: {"every fold in turn" if work.about["split"] == "cv" else f"fold {folds[-1]} alone"}; numbers are means ± \
sample standard deviations over folds and seeds. What the columns and the tests mean: "Reading the tables" of \
docs/reproduce.md. Of one fold there is no test between folds: its cells are empty.{f" {absent}." if absent else ""}
Made by `{work.command}` at {commits},
{len(rows)} trained models on {work.used}; these tables were written on {machine["processor"]}, \
{machine["cores"]} cores.
"""


def readings_section(done: Finished) -> str:
    """How the finished runs read what the paper leaves open."""
    configs = [planned.config for planned in done.work.plan if planned.name in done.rows]
    title = "\n## readings\n\nOf what the paper leaves open, or says otherwise than its code:\n\n"
    return title + readings_markdown(configs)


# -- tables


def study_section(name: str, study: Study, done: Finished) -> tuple[list[Row], str]:
    """A study's systems, gathered, and its part of results.md."""
    made, lines = [], []
    for system in study.systems:
        rows = done.of(system, done.work.seeds[name])
        if rows:
            made.append({"study": name, "system": system.name, **summary(rows)})
            lines.append([system.name, *figures_of(made[-1])])
        else:
            lines.append([system.name, "not finished", *[""] * (len(HEADS) - 1)])
    text = f"\n## {name}\n\n{study.question}\n\n{markdown(['system', *HEADS], lines)}\n"
    for title, table in EXTRAS.get(name, ()):
        text += f"\n{title}\n\n{table(name, study, done)}\n"
    return made, text


def paired_section(name: str, study: Study, done: Finished, failed: dict[str, str]) -> tuple[list[Row], str]:
    """A study's paired tests, and their part of results.md."""
    made, text = [], ""
    for a, b in study.pairs:
        folders = [done.paths(system, done.work.seeds[name]) for system in (a, b)]
        if not all(folders):
            continue
        try:
            rows = compare(*(Runs(paths) for paths in folders))
        except InputError as error:
            failed[f"{name}: {a.name} against {b.name}"] = str(error)
            continue
        made += [{"study": name, "system_a": a.name, "system_b": b.name, **row} for row in rows]
        text += f"\nA: {a.name}. B: {b.name}.\n\n{comparison_markdown(rows)}\n"
    return made, text


def forcing_table(name: str, study: Study, done: Finished) -> str:
    """How near the forced front end came to the test folds' spectrograms, in the target's units and in decibels."""
    lines = []
    for system in study.systems:
        results = [RunFolder(done.work.out / row["run"]).result() for row in done.of(system, done.work.seeds[name])]
        forced = [figures for result in results if result and (figures := result["phases"].get("forcing"))]
        if forced:
            error, decibels = (np.mean([made[what] for made in forced]) for what in ("mean_square_error", "decibels"))
            lines.append([system.name, f"{error:.2e}", f"{decibels:.2f}"])
    return markdown(["system", "mean square error", "its root in decibels"], lines)


def validation_table(name: str, study: Study, done: Finished) -> str:
    """What the choice of a system may go by."""
    lines = []
    for system in study.systems:
        results = (RunFolder(done.work.out / row["run"]).result() for row in done.of(system, done.work.seeds[name]))
        values = [100 * result["test"]["valid_balanced_accuracy"] for result in results if result]
        if values:
            lines.append([system.name, f"{np.mean(values):.1f}"])
    return markdown(["system", "segments of the validation folds, balanced (%)"], lines)


def gradient_table(name: str, study: Study, done: Finished) -> str:
    """Norms of the gradients in the phases that train the front end, before clipping, over all folds and seeds."""
    kinds = {"grad_norms": (np.median, max), "grad_norms_max": (max,)}
    lines = []
    for system in study.systems:
        norms: dict[str, dict[str, list[float]]] = {}
        for row in done.of(system, done.work.seeds[name]):
            for line in RunFolder(done.work.out / row["run"]).metrics():
                if line["phase"] in (1, 2, 3, "random"):
                    for kind in kinds:
                        for parameter, norm in (line.get(kind) or {}).items():
                            those = norms.setdefault(parameter, {}).setdefault(kind, [])
                            those.append(float("inf") if norm is None else norm)
        for parameter, values in norms.items():
            if parameter.startswith("deepfourier."):
                cells = [f"{of(values[kind]):.3g}" if kind in values else "" for kind in kinds for of in kinds[kind]]
                lines.append([system.name, parameter, *cells])
    return markdown(["system", "parameter", "epoch mean: median", "epoch mean: largest", "mini-batch: largest"], lines)


Table = Callable[[str, Study, Finished], str]
EXTRAS: dict[str, tuple[tuple[str, Table], ...]] = {
    "forcing": (("The front end alone, at its best epoch by the validation fold, on the test fold:", forcing_table),),
    "best": (("At the best epoch, mean over folds:", validation_table),),
    "melnet": (("Gradient norms of the front end before clipping, in Phases 1 to 3:", gradient_table),),
}


# -- noise


def noise_section(done: Finished, failed: dict[str, str]) -> str:
    """Every system in noise."""
    systems: dict[str, tuple[System, range]] = {}
    for name, study in done.work.studies.items():
        for system in study.systems:
            known = systems.get(system.name, (system, range(0)))
            systems[system.name] = max(known, (system, done.work.seeds[name]), key=lambda made: len(made[1]))
    recordings = noise.Recordings(done.work.source, done.work.plan[0].config, done.work.screen)
    models: list[noise_report.Heard] = []
    for name, (system, seeds) in systems.items():
        for row in done.of(system, seeds):
            folder = done.work.out / row["run"]
            try:
                models.append(noise.hear(name, folder, recordings, done.work.screen))
            except (InputError, OSError) as error:
                failed[f"noise on {folder}"] = str(error)
    if not models:
        return ""
    noise_report.write(done.work.out, models, len(done.work.source.classes))
    text = noise_report.report(models)
    return f"\n## noise\n\nClips right, by mean probability, on noisy test sets:\n\n{text}\n\n![noise](noise.png)\n"


# -- figures


class Figure(NamedTuple):
    """A figure's study, file, command and systems; `one`: it takes one trained model, the first fold's; `data`: and
    the recordings; `net`: it takes this network, and no run.
    """

    study: str
    file: str
    title: str
    module: str
    systems: tuple[System, ...]
    one: bool = False
    data: bool = False
    net: str = ""


FIGURES = (
    Figure("systems", "fig1-piczaknet.png", "fig. 1: PiczakNet", "pipeline", (), net="piczaknet"),
    Figure("systems", "fig2-confusion.png", "fig. 2: confusion matrices", "confusion", (PICZAKNET, HEURINET, MSTNET)),
    Figure("systems", "fig3-phases.png", "fig. 3: accuracies over the phases", "phases", (HEURINET, MSTNET)),
    Figure("systems", "fig4-systems.png", "fig. 4: the five systems", "systems", FIVE),
    Figure(
        "systems",
        "fig5-heurinet.png",
        "fig. 5, 9, 10: before PiczakNet, HeuriNet",
        "activations",
        (HEURINET,),
        True,
        True,
    ),
    Figure(
        "systems", "fig6-mstnet.png", "fig. 6, 11, 12: before PiczakNet, MSTNet", "activations", (MSTNET,), True, True
    ),
    Figure("systems", "fig7-kernels.png", "fig. 7: HeuriNet's first kernels", "kernels", (HEURINET,), True),
    Figure("systems", "fig8-spectra.png", "fig. 8: spectra of the first kernels", "spectra", (HEURINET, MSTNET), True),
    Figure("systems", "gradients-mstnet.png", "gradient norms, MSTNet", "gradients", (MSTNET,), True),
    Figure("melnet", "gradients-melnet2.png", "gradient norms, MelNet with |·|²", "gradients", (MELNET,), True),
    Figure("melnet", "gradients-melnet1.png", "gradient norms, MelNet with |·|", "gradients", (MELNET_MODULUS,), True),
)


def figures_section(done: Finished, failed: dict[str, str]) -> str:
    """Draw every figure of the studies whose systems are finished."""
    lines = []
    for figure in FIGURES:
        paths = [done.paths(system, range(1)) for system in figure.systems]
        if figure.study not in done.work.studies or not all(paths):
            continue
        status = _draw(figure, [path for (path,) in paths], done)
        if status == 0:
            lines.append(f"![{figure.title}](figures/{figure.file})\n")
        else:
            failed[f"figures/{figure.file}"] = "see the line above"
    drawn = "\n## figures\n\nOf the runs with seed 0.\n\n" + "\n".join(lines) if lines else ""
    return drawn + ("\n## tables 1 and 2\n\n" + tables.text() if "systems" in done.work.studies else "")


def _draw(figure: Figure, paths: list[Path], done: Finished) -> int:
    runs = [find([path])[0] if figure.one else path for path in paths]
    arguments = [*filter(None, [figure.net]), *map(str, runs), "--out", str(done.work.out / "figures" / figure.file)]
    if figure.data:
        arguments += ["--backend", done.work.used]
        arguments += ["--data", done.work.changes["data"]] if "data" in done.work.changes else []
        tested = np.sum(RunFolder(runs[0]).finished()["test"]["confusion"], axis=1)
        # Not as "2", which may be a class's name.
        arguments += ["--classes", *(f"{place}-{place}" for place, count in enumerate(tested, 1) if count)]
    status = import_module(f"experiments.figures.{figure.module}").main(arguments)
    if status == 130:
        raise KeyboardInterrupt
    return status
