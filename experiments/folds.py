"""Runs fold by fold and phase by phase:   python -m experiments.folds RUN_OR_FOLDER…

For each system and seed a Markdown table: its figures on every test fold, those of its best epoch on the validation
fold, how well it fitted its training folds, the hash of its model, its time and commit; means ± sample deviations.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.table import SCORES, TITLES, Row, find, identity, mean_sd, minutes, percent, row_of
from scratchnet.cli import Parser, guard
from scratchnet.errors import InputError
from scratchnet.training.dataset import called
from scratchnet.training.markdown import markdown
from scratchnet.training.runfolder import RunFolder

FORCING = "forcing"  # the one phase that learns without classes
TITLES_OF = {FORCING: "forcing, then Phase 0's network", "random": "random weights"}
SHARE = "(%)"  # ends the title of a line of shares


def phase_lines(name: str, lines: Sequence[Row], tested: Row | None) -> Iterator[tuple[str, float]]:
    """What there is to say of one phase of one model: from its `lines` of metrics.jsonl and its figures in result.json.

    Older runs have none of the latter for forcing.
    """
    if name == FORCING:
        for which in ("train", "valid"):
            yield f"forcing: mean square error, {which}, last epoch", lines[-1][f"{which}_loss"]
        yield "forcing: mean square error, valid, best epoch", min(line["valid_loss"] for line in lines)
        if tested is not None:
            yield "forcing: decibels off the spectrogram, root mean square, test", tested["decibels"]
    title = f"Phase {name}" if name.isdigit() else TITLES_OF[name]
    if tested is not None:
        for score in SCORES:
            yield f"{title}: {TITLES[score]} {SHARE}", tested[score]
        yield f"{title}: best epoch, validation fold, segments, balanced {SHARE}", tested["valid_balanced_accuracy"]
    if name != FORCING:
        for which, line in (("first", lines[0]), ("last", lines[-1])):
            yield f"{title}: training segments right, {which} epoch {SHARE}", line["train_accuracy"]


def model_lines(path: Path) -> dict[str, Any]:
    """Every line of the table for one trained model: title -> figure, or text."""
    folder, row = RunFolder(path), row_of(path)
    phases: dict[str, list[Row]] = {}
    for line in folder.metrics():
        phases.setdefault(str(line["phase"]), []).append(line)
    tested = folder.finished()["phases"]
    made: dict[str, Any] = {}
    for name, lines in phases.items():
        made |= phase_lines(name, lines, tested.get(name))
    made["model.safetensors, SHA-256 begins"] = (row["sha256"] or "")[:8]
    made["training time"] = minutes(row["training_seconds"])
    if row["processor"]:
        count = row["threads"]
        threads = f", {count} thread{'s' if count > 1 else ''}" if count else ""
        made["processor"] = f"{row['processor']}{threads}"
    made["commit"] = row["commit"] or f"version {row['version']}"
    return made


def folds_markdown(models: dict[int, dict[str, Any]]) -> str:
    """The table of one system and seed, from its models by test fold."""
    titles = dict.fromkeys(title for lines in models.values() for title in lines)
    rows = []
    for title in titles:
        cells = [lines.get(title, "") for lines in models.values()]
        rows.append([title, *(_cell(title, cell) for cell in cells), _mean(title, cells)])
    return markdown(["", *(f"fold {fold}" for fold in models), "mean ± sd"], rows)


def _mean(title: str, cells: Sequence[Any]) -> str:
    """Over the folds that have the figure; texts have none."""
    numbers = [cell for cell in cells if isinstance(cell, float)]
    if not numbers:
        return ""
    return mean_sd(numbers) if title.endswith(SHARE) else _cell(title, sum(numbers) / len(numbers))


def _cell(title: str, value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return percent(value) if title.endswith(SHARE) else f"{value:.3g}"


def name_of(path: Path) -> str:
    """The system and seed of a run, in words."""
    folder, config = RunFolder.open(path)
    words = identity(folder, config)
    known = [words[name] for name in ("net", "init", "back_end", "preset", "settings")]
    data = called(folder.about("data_name"), config.data)
    return f"{' '.join(word for word in known if word)}, seed {config.seed}, on {data}"


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; returns the exit status."""
    parser = Parser(prog="python -m experiments.folds", description="Runs fold by fold and phase by phase.")
    parser.add_argument("paths", metavar="RUN_OR_FOLDER", nargs="+", help="run folders, or folders of them")
    options = parser.parse(argv)
    groups: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
    for path in find(options.paths):
        name, fold = name_of(path), RunFolder(path).finished()["test_fold"]
        models = groups.setdefault((name, RunFolder(path).about("layout") or ""), {})
        if fold in models:
            raise InputError(f"{path}: a second run of {name} on fold {fold}; name one of them")
        models[fold] = model_lines(path)
    for (name, _), models in groups.items():
        print(f"### {name}\n\n{folds_markdown(dict(sorted(models.items())))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
