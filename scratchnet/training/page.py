"""report.html: what came of a run, on one page for a browser, with its pictures inside."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scratchnet.errors import printable
from scratchnet.nets import TITLES
from scratchnet.plots import class_labels
from scratchnet.training.config import Config
from scratchnet.training.dataset import called
from scratchnet.training.files import read_table, write_text
from scratchnet.training.readings import readings
from scratchnet.training.report import phase_title
from scratchnet.training.runfolder import COLUMNS, PAGE, PREDICTIONS, RECORDINGS, USES, RunFolder

if TYPE_CHECKING:
    from scratchnet.data import Segments

SCORES = {
    "segment_balanced_accuracy": "segments, balanced",
    "segment_accuracy": "segments",
    "clip_accuracy_majority": "clips, by majority",
    "clip_accuracy_probability": "clips, by probability",
}
MOST = 100  # clips that are listed
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; } th, td { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; }
th { border-bottom: 1px solid #999; } td { font-variant-numeric: tabular-nums; }
img { max-width: 100%; } .note { color: #666; }
"""


def write_page(config: Config, folder: RunFolder, result: dict[str, Any], segments: Segments) -> None:
    """Write report.html of a run on these segments, whose result.json will be `result`."""
    title = f"{TITLES[config.net]} on {called(segments.name, config.data)}"
    test, folds = result["test"], result.get("folds", {})
    shown = class_labels(segments.name, segments.classes, segments.codes)  # what the pictures call them
    sections = {
        "Accuracy on the test set": _scores(config, result),
        "The data": _data(config, folder, result),
        "Folds": _folds(folder, test, folds) if folds else "",
        "Training curves": _picture(folder.path / "curves.png"),
        "Confusion matrix": _picture(folder.path / "confusion.png"),
        "Classes": _classes(test, shown),
        "Mistakes": _mistakes(config, folder, test, folds),
        "Kernels of the first layer": _picture(folder.path / "kernels.png"),
        "How this run reads the paper": _table(("question", "reading", "options"), readings([config])),
    }
    body = "".join(f"<h2>{heading}</h2>\n{text}\n" for heading, text in sections.items() if text)
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    text = f"<h1>{escape(title)}</h1>\n<p>{escape(_summary(config, folder, result))}</p>\n{body}"
    write_text(
        folder.path / PAGE, f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{text}</body></html>\n'
    )


def _summary(config: Config, folder: RunFolder, result: dict[str, Any]) -> str:
    test, folds = result["test"], result.get("folds", {})
    tested = f"all {len(folds)} folds in turn" if folds else f"fold {result['test_fold']}"
    version, used = folder.about("versions")["scratchnet"], folder.about("used_backend")
    return (
        f"Tested on {tested}: {test['clips']} clips, {test['segments']} segments. Trained in "
        f"{result['training_seconds']:.0f} s with seed {config.seed} by scratchnet {version} on {used}."
    )


def _picture(path: Path) -> str:
    """The picture itself, or nothing where there is none: a cross-validation has no curves."""
    if not path.is_file():
        return ""
    return f'<img alt="{path.stem}" src="data:image/png;base64,{b64encode(path.read_bytes()).decode()}">'


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = ["".join(_cell("th", value) for value in head), *("".join(_cell("td", v) for v in row) for row in rows)]
    return "<table>\n" + "\n".join(f"<tr>{line}</tr>" for line in lines) + "\n</table>"


def _cell(kind: str, value: Any) -> str:
    """Text is escaped, unless it is `Markup`."""
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return f"<{kind}>{value if isinstance(value, Markup) else escape(printable(text))}</{kind}>"


class Markup(str):
    """HTML already."""


def _scores(config: Config, result: dict[str, Any]) -> str:
    rows = []
    for phase, scores in result["phases"].items():
        rows.append([phase_title(config, phase), *(_score(scores, score) for score in SCORES)])
    note = "The last row is the model that is kept and predicts." if len(rows) > 1 else ""
    note += " ± is the standard deviation over the folds." if "std" in result["test"] else ""
    return _table(("trained in", *SCORES.values()), rows) + (f"<p class='note'>{note.strip()}</p>" if note else "")


def _data(config: Config, folder: RunFolder, result: dict[str, Any]) -> str:
    """What each clip was for, and what a reader of the scores has to know of them."""
    lines = [] if config.data is None else [config.data]
    if not config.cv:
        uses = Counter(row[3] for row in read_table(folder.path / RECORDINGS, USES))
        lines.append(f"{uses['train']} clips to learn from, {uses['valid']} to validate on, {uses['test']} to test on")
    if skipped := result.get("skipped"):
        lines.append(f"files that could not be used: {len(skipped)}; the first: {skipped[0][1]}")
    lines += [f"{head}: {words}" for head, words in folder.about("remarks") or ()]
    return "<ul>\n" + "\n".join(f"<li>{escape(printable(line))}</li>" for line in lines) + "\n</ul>" if lines else ""


def _score(scores: dict[str, Any], score: str) -> Any:
    return f"{scores[score]:.3f} ± {scores['std'][score]:.3f}" if "std" in scores else scores[score]


def _folds(folder: RunFolder, test: dict[str, Any], folds: dict[str, str]) -> str:
    rows = []
    for fold, place in folds.items():  # one that an older version trained has no page
        there = (folder.path / place / PAGE).is_file()
        name = Markup(f'<a href="{escape(place)}/{PAGE}">fold {escape(fold)}</a>') if there else f"fold {fold}"
        rows.append([name, *(test["per_fold"][score][fold] for score in SCORES)])
    return _table(("tested on", *SCORES.values()), rows)


def _classes(test: dict[str, Any], shown: Sequence[str]) -> str:
    """How many clips of each class were right, by mean probability, and what the others were taken for; the codes that
    the pictures have for names are among them."""
    confusion, names = np.array(test["confusion_clips"]), test["classes"]
    rows = []
    for k, (name, row) in enumerate(zip(names, confusion)):
        others = sorted((j for j in np.flatnonzero(row) if j != k), key=lambda j: -row[j])
        taken = ", ".join(f"{names[j]} {row[j]}" for j in others)
        code = f" ({shown[k]})" if len(shown[k]) == 2 < len(name) else ""
        rows.append([name + code, int(row.sum()), int(row[k]), int(confusion[:, k].sum()), taken])
    return _table(("class", "clips", "right", "times predicted", "the others taken for"), rows)


def _mistakes(config: Config, folder: RunFolder, test: dict[str, Any], folds: dict[str, str]) -> str:
    """The clips that were wrong by mean probability, the surest first; each leads to its file, to be heard."""
    names = test["classes"]
    columns = [*COLUMNS, *(f"p({name})" for name in names)]
    places = [folder.path / place for place in folds.values()] or [folder.path]
    rows = [row for place in places for row in read_table(place / PREDICTIONS, columns)]
    wrong: list[list[Any]] = []
    for clip, true, _, heard, *shares in rows:
        if heard != true:
            share = {name: float(p) for name, p in zip(names, shares)}
            wrong.append([_link(config, clip), true, heard, share[heard], share[true]])
    wrong.sort(key=lambda row: -row[3])
    where = f"each fold's {PREDICTIONS}" if folds else PREDICTIONS
    said = f"<p>{len(wrong)} of {len(rows)} clips, by their mean probability"
    said += f"; the {MOST} surest ({where} has them all):</p>" if len(wrong) > MOST else ".</p>"
    head = ("clip", "class", "taken for", "probability", "of its own class")
    return said + (_table(head, wrong[:MOST]) if wrong else "")


def _link(config: Config, clip: str) -> str:
    path = Path(config.data, clip) if config.data is not None else None
    if path is None or not path.is_file():
        return clip
    return Markup(f'<a href="{escape(path.resolve().as_uri())}">{escape(printable(clip))}</a>')
