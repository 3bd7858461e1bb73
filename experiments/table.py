"""The results of many runs in one table:   python -m experiments.table RUN_OR_FOLDER… [--out DIR]

Prints the systems (runs that differ in seed and fold alone, gathered) as Markdown; with --out, writes runs.csv (one
trained model a row), systems.csv and systems.md.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import file_digest
from pathlib import Path
from typing import Any

import numpy as np

from scratchnet.cli import Parser, guard
from scratchnet.errors import InputError, say
from scratchnet.training.config import Config
from scratchnet.training.dataset import called
from scratchnet.training.files import damaged, read_json, write_table, write_text
from scratchnet.training.markdown import markdown
from scratchnet.training.resolve import resolve
from scratchnet.training.runfolder import CONFIG, MODEL, RESULT, RunFolder, resume_command

SCORES = ("segment_accuracy", "segment_balanced_accuracy", "clip_accuracy_majority", "clip_accuracy_probability")
TITLES = {
    "segment_accuracy": "segments, plain",
    "segment_balanced_accuracy": "segments, balanced",
    "clip_accuracy_majority": "clips, majority",
    "clip_accuracy_probability": "clips, probability",
}
# Settings that say where and how a run was made, not what it is, or that have a column of their own.
APART = {"data", "out", "backend", "threads", "strict", "quiet", "split", "seed", "test_fold", "valid_fold"}
APART |= {"net", "init", "back_end", "preset", "phase0", "grad_norms"}
Row = dict[str, Any]


def folders(path: Path, seen: set[Path] | None = None) -> Iterator[Path]:
    """Every run folder at or below `path`; of a cross-validation, those of its folds. Links are followed, to none twice
    (`seen`).

    Raises `InputError` where a finished cross-validation is without a fold: its means would be of the others alone.
    """
    seen = set() if seen is None else seen
    if (real := path.resolve()) in seen:
        return
    seen.add(real)
    if (path / CONFIG).is_file():
        settings = read_json(path / CONFIG)
        if not isinstance(settings, dict) or settings.get("split") != "cv":
            yield path
            return
        whole = RunFolder(path)
        folds = map(int, (whole.result() or {}).get("folds", ()))
        missing = [fold for fold in folds if not (whole.fold(fold) / RESULT).is_file()]
        if missing:
            raise InputError(f"{path}: finished, but without fold {missing[0]}; put it back, or name the other folds")
    inside = [child for child in path.iterdir() if child.is_dir() and not child.name.startswith(".")]
    for child in sorted(inside, key=_natural):
        yield from folders(child, seen)


def _natural(path: Path) -> tuple[bool, list[tuple[str, int]]]:
    """A key that sorts fold2 before fold10, and links behind their neighbours: a run has its folder's name there."""
    return path.is_symlink(), [(text, int(digits or 0)) for text, digits in re.findall(r"(\D*)(\d*)", path.name)]


def find(paths: Iterable[str | Path]) -> list[Path]:
    """The folders of all finished runs at or below these paths; of a cross-validation, those of its folds.

    Raises `InputError` where a path is missing, or no run is finished.
    """
    found: list[Path] = []
    seen: set[Path] = set()
    paths = list(paths)
    for path in map(Path, paths):
        if not path.is_dir():
            raise InputError(f"{path}: no such folder; name run folders, or folders of them")
        found += [folder for folder in folders(path, seen) if (folder / RESULT).is_file()]
    if not found:
        raise InputError(f"{', '.join(map(str, paths))}: no finished run here (no {RESULT})")
    tell_unfinished(found, paths)
    return found


def tell_unfinished(found: Sequence[Path], paths: Sequence[str | Path]) -> None:
    """Say which cross-validations at or below `paths` are not finished: only their finished folds were found."""
    given = {path.resolve() for path in map(Path, paths)}
    wholes = dict.fromkeys(folder.parent for folder in found if (folder.parent / CONFIG).is_file())
    for whole in wholes:
        asked = not given.isdisjoint({whole.resolve(), *whole.resolve().parents})  # and not for some fold alone
        if asked and not (whole / RESULT).is_file():
            done = [folder.name for folder in found if folder.parent == whole]
            say(f"{whole}: not finished, has {', '.join(done)} alone; go on with {resume_command(whole)}")


def identity(folder: RunFolder, config: Config) -> Row:
    """What makes a run's system, whatever its seed and fold: the columns `SYSTEM`."""
    return {
        "net": config.net,
        "init": "random" if config.is_back_end else config.init,
        "back_end": config.back_end,
        "preset": config.preset,
        "settings": differences(config),
        "data": folder.about("data_name"),
        "layout": (folder.about("layout") or "")[:8],  # two collections may have one name
    }


def row_of(path: Path, *, hashed: bool = True) -> Row:
    """One trained model: what it is, its figures on its test fold, what made it; `hashed`: and its weights' SHA-256.

    Raises `InputError` where the run is not finished, or config.json or result.json is damaged.
    """
    folder, config = RunFolder.open(path)
    result = folder.finished()
    versions, backend = folder.about("versions"), folder.about("used_backend")
    if backend is None or folder.about("data_name") is None:  # every run that has trained says so
        raise damaged(path / CONFIG)
    return {
        "source": called(folder.about("data_name"), config.data),
        **identity(folder, config),
        "seed": config.seed,
        "fold": result["test_fold"],
        "valid_fold": result["valid_fold"],
        "clips": result["test"]["clips"],
        **{score: result["test"][score] for score in SCORES},
        "training_seconds": result["training_seconds"],
        "backend": backend,
        "threads": folder.about("used_threads"),
        "processor": folder.about("used_gpu") or versions.get("processor", ""),
        "commit": versions.get("commit", ""),
        "version": versions["scratchnet"],
        "python": versions["python"],
        "platform": versions["platform"],
        "sha256": sha256(path / MODEL) if hashed else None,
        "run": str(path),
    }


def sha256(path: Path) -> str | None:
    """The hash of a file, as sha256sum prints it; None where it is not there."""
    if not path.is_file():
        return None
    with open(path, "rb") as file:
        return file_digest(file, "sha256").hexdigest()


def differences(config: Config) -> str:
    """Where the settings differ from the preset's: `lr=0.01 deltas=savgol`."""
    known = {"net": config.net, "preset": config.preset}
    plain = resolve((known, None)).to_dict()
    return " ".join(f"{k}={v}" for k, v in config.to_dict().items() if k not in APART and v != plain[k])


SYSTEM = ("net", "init", "back_end", "preset", "settings", "data", "layout")


def gather(rows: Sequence[Row]) -> list[Row]:
    """Rows that are the same system, with other seeds or folds, in one: mean and sample deviation over all of them.

    Raises `InputError` where they are of different recordings that have the same names, or learned from other folds.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in SYSTEM), []).append(row)
    for group in groups.values():
        same_recordings([row["run"] for row in group])
        same_splits(group)
    return [{**dict(zip(SYSTEM, key)), "source": group[0]["source"], **summary(group)} for key, group in groups.items()]


def summary(rows: Sequence[Row]) -> Row:
    """Mean, sample deviation (none for a single model), counts and times of models of one system."""
    made: Row = {"models": len(rows), "folds": len({r["fold"] for r in rows}), "seeds": len({r["seed"] for r in rows})}
    for score in SCORES:
        values = [row[score] for row in rows]
        made[score] = float(np.mean(values))
        made[f"{score}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    made["training_seconds"] = sum(row["training_seconds"] for row in rows)
    made["backend"] = ", ".join(sorted({row["backend"] for row in rows}))
    made["commit"] = ", ".join(sorted({row["commit"] for row in rows}))
    return made


def same_recordings(runs: Iterable[str | Path]) -> None:
    """Raise `InputError` where runs were trained on different recordings, be their names the same."""
    known: dict[str, dict[str, Path]] = {}  # what the data is by names -> by contents -> a run
    for path in map(Path, runs):
        layout, contents = (RunFolder(path).about(name) for name in ("layout", "contents"))
        if contents is not None:  # else the run was made before runs knew
            known.setdefault(layout, {})[contents] = path
    for others in known.values():
        if len(others) > 1:
            first, second, *_ = others.values()
            raise InputError(
                f"{first} and {second} were trained on other recordings of the same names: keep them apart"
            )


def same_splits(rows: Iterable[Row]) -> None:
    """Raise `InputError` where models of one test fold were validated on different folds: they learned from others."""
    known: dict[int, Row] = {}
    for row in rows:
        first = known.setdefault(row["fold"], row)
        if first["valid_fold"] != row["valid_fold"]:
            both = f"{first['run']} on fold {first['valid_fold']}, {row['run']} on fold {row['valid_fold']}"
            raise InputError(f"validated on other folds, so trained on others too: {both}; keep them apart")


def output_folder(name: str | None) -> Path | None:
    """The folder of --out, made; None for none. Raises `InputError` where it cannot be made."""
    if name is None:
        return None
    try:
        Path(name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {name}: cannot be made a folder ({error.strerror}); name another") from None
    return Path(name)


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """`rows` as a CSV file with the first row's names as heads; None is left empty."""
    write_table(path, [list(rows[0]), *([row[name] for name in rows[0]] for row in rows)])


def percent(mean: float, sd: float | None = None) -> str:
    """81.5 ± 6.1; what is halfway between two tenths but for the last bits is rounded as if it were exact."""
    return f"{round(100 * mean, 9):.1f}" + ("" if sd is None else f" ± {100 * sd:.1f}")


def mean_sd(values: Sequence[float]) -> str:
    """Mean ± sample deviation, as `percent` prints them; a single value has none."""
    return percent(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)


def minutes(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def figures_of(made: Row) -> list[str]:
    """The cells of a gathered system that every table has: see `HEADS`."""
    scores = [percent(made[score], made[f"{score}_sd"]) for score in SCORES]
    counts = f"{made['folds']} × {made['seeds']}"
    if made["models"] != made["folds"] * made["seeds"]:  # some are missing, or there twice
        counts += f", {made['models']} models"
    return [*scores, counts, minutes(made["training_seconds"])]


HEADS = [*(f"{title} (%)" for title in TITLES.values()), "folds × seeds", "training time"]


def systems_markdown(systems: Sequence[Row]) -> str:
    """The gathered systems as Markdown."""
    heads = ["data", "network", "init", "back end", "preset, and what differs", *HEADS]
    rows = [
        [s["source"], s["net"], s["init"], s["back_end"], f"{s['preset']} {s['settings']}".strip(), *figures_of(s)]
        for s in systems
    ]
    return markdown(heads, rows)


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Print or write the tables; returns the exit status."""
    parser = Parser(prog="python -m experiments.table", description="The results of many runs in one table.")
    parser.add_argument("paths", metavar="RUN_OR_FOLDER", nargs="+", help="run folders, or folders of them")
    parser.add_argument("--out", metavar="DIR", help="write runs.csv, systems.csv and systems.md there")
    options = parser.parse(argv)
    out = output_folder(options.out)
    rows = [row_of(path) for path in find(options.paths)]
    systems = gather(rows)
    print(systems_markdown(systems))
    if out:
        write_csv(out / "runs.csv", rows)
        write_csv(out / "systems.csv", systems)
        write_text(out / "systems.md", systems_markdown(systems) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
