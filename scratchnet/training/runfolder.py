"""The run folder: what a run leaves behind, and what it needs to go on.

config.json         all settings, versions, fingerprint of the data
readings.md         in words: how the settings read what the paper leaves open
metrics.jsonl       one line per epoch
model.safetensors   best weights of the latest phase, with what `predict` needs
recordings.csv      every clip of the data: its class, its fold, what it was for, the digest of its file
predictions.csv     every clip of the test fold: its class, both votes, its probabilities
result.json         scores on the test fold
curves.png, confusion.png, kernels.png
report.html         all of this on one page
checkpoint/         best weights of every phase (only those it trained, see `RunFolder.weights_of`), state of an
                    unfinished one
"""

from __future__ import annotations

import errno
import glob
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scratchnet import lock
from scratchnet.errors import InputError, quoted
from scratchnet.training import readings
from scratchnet.training.checks import are_scores, is_config, is_result
from scratchnet.training.config import Config
from scratchnet.training.files import (
    damaged,
    json_line,
    json_page,
    read_arrays,
    read_json,
    read_table,
    write_arrays,
    write_json,
    write_table,
    write_text,
)
from scratchnet.training.host import versions
from scratchnet.training.phases import FRESH, Phase, PhaseName, source, trains
from scratchnet.training.resolve import from_dict

if TYPE_CHECKING:
    from scratchnet.data import Segments

CONFIG, READINGS, METRICS, MODEL, RECORDINGS, PREDICTIONS, RESULT, PAGE, CHECKPOINT = (
    "config.json",
    "readings.md",
    "metrics.jsonl",
    "model.safetensors",
    "recordings.csv",
    "predictions.csv",
    "result.json",
    "report.html",
    "checkpoint",
)
RUNS = Path("runs")  # where runs go unasked
ABOUT = (
    "versions",
    "fingerprint",
    "layout",
    "contents",
    "data_name",
    "used_backend",
    "used_threads",
    "used_gpu",
    "remarks",
)  # in config.json beside the settings
USES = ("clip", "label", "fold", "use", "digest")  # the columns of recordings.csv
COLUMNS = ("clip", "label", "majority", "probability")  # in predictions.csv before the classes' probabilities


class RunFolder:
    """Paths and files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoint = path / CHECKPOINT
        self._state = self.checkpoint / "state.safetensors"
        self._made: list[Path] = []  # folders that `discard` may take away

    @classmethod
    def create(cls, path: Path, config: Config) -> RunFolder:
        """A new run's folder. Raises `InputError` where the path is a file, or holds a run already."""
        if os.path.lexists(path) and not path.is_dir():
            what = "is a file" if path.exists() else "is a link that leads nowhere"
            raise InputError(f"--out {path}: {what}; name a folder")
        folder, text = cls(path), json_page(_described(config))
        taken = any((path / name).exists() for name in (CONFIG, METRICS, MODEL, RESULT))
        if taken or any(folder.checkpoint.glob("*")) or any(path.glob(f"fold*/{CONFIG}")):
            raise _taken(path)
        try:
            folder._made = [place for place in (path, *path.parents) if not place.exists()]
            path.mkdir(parents=True, exist_ok=True)
            with open(path / CONFIG, "x", encoding="utf-8") as file:  # of two runs begun at once one has the folder
                file.write(text)
            folder.describe(config)
        except FileExistsError:
            raise _taken(path) from None
        except OSError as error:
            folder.discard()
            raise InputError(f"--out {path}: cannot be written ({error.strerror})") from None
        return folder

    @classmethod
    def open(cls, path: Path) -> tuple[RunFolder, Config]:
        """An existing run's folder and its settings. Raises `InputError` where there is none, or they are damaged."""
        if not (path / CONFIG).is_file():
            hint = f"; name the folder that it is in, {path.parent}" if path.is_file() else ""
            raise InputError(f"{path}: no run folder (it has no {CONFIG}){hint}")
        table = read_json(path / CONFIG, is_config)
        settings = {k: v for k, v in table.items() if k not in ABOUT}
        return cls(path), from_dict(settings, where=str(path / CONFIG))

    def discard(self) -> None:
        """Take a folder away again that `create` made, unless it holds work already, its own or that of a fold."""
        metrics = self.path / METRICS
        trained = metrics.exists() and metrics.stat().st_size > 0
        if any(self.checkpoint.glob("*")) or trained or any(self.path.glob("fold*")):
            return
        files = [self.path / CONFIG, self.path / READINGS, self.path / RECORDINGS, metrics]
        removals = [*(file.unlink for file in files), self.checkpoint.rmdir, *(made.rmdir for made in self._made)]
        for remove in removals:
            with suppress(OSError):
                remove()

    def describe(self, config: Config, **about: Any) -> None:
        """Write config.json, and its readings in words; make the folder where it is not there."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.path / CONFIG, json_page(_described(config, **about)))
        write_text(self.path / READINGS, readings.page(config))
        self.checkpoint.mkdir(exist_ok=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else trains here meanwhile. Raises `InputError` where another process does."""
        with ExitStack() as locks:
            try:
                locks.enter_context(lock.held(self.path))
            except BlockingIOError:
                raise InputError(f"{self.path}: another process trains here; wait for it, or stop it") from None
            yield

    def about(self, name: str) -> Any:
        """An entry of config.json that is no setting, or None. Raises `InputError` where that is damaged."""
        return read_json(self.path / CONFIG, is_config).get(name)

    def trained_on(self, segments: Segments) -> bool:
        """Whether the run's data are these, as they lay or copied elsewhere; of a run that has not begun, any are."""
        known = self.about("contents")
        if known is not None:
            return known == segments.digest
        known = self.about("fingerprint")  # of a run whose version knew no contents
        return known is None or known == segments.fingerprint or self.about("layout") == segments.layout

    def check_room(self, trained: int, whole: int) -> None:
        """Raise `OSError` where the disk has no room for a phase that trains so many bytes of a network of `whole`.

        Its state to go on from, weights, momentum and best weights, is there twice while a new one takes its place; and
        at the end with the best weights and the model.
        """
        try:
            usage = shutil.disk_usage(self.path)
        except OSError:
            return
        there = self._state.stat().st_size if self._state.is_file() else 0
        wanted = max(6 * trained, 4 * trained + whole) - there
        if usage.total and usage.free < wanted:  # some file systems count nothing
            words = f"{wanted / 1e6:.0f} MB are needed to train and to go on, and {usage.free / 1e6:.0f} MB are left"
            raise OSError(errno.ENOSPC, words, str(self.path))

    # -- metrics.jsonl

    def append(self, row: Mapping[str, Any]) -> None:
        """One more line."""
        with open(self.path / METRICS, "a", encoding="utf-8") as file:
            file.write(json_line(row))

    def metrics(self) -> list[dict[str, Any]]:
        """All whole lines; the last may be torn. Raises `InputError` where another is damaged."""
        file = self.path / METRICS
        if not file.is_file():
            return []
        try:
            *lines, last = file.read_text(encoding="utf-8").split("\n")
            rows = [json.loads(line) for line in lines]
        except ValueError:
            raise damaged(file) from None
        with suppress(ValueError):  # nothing, or what a killed run has left
            rows.append(json.loads(last))
        if not all(isinstance(row, dict) and {"phase", "epoch"} <= row.keys() for row in rows):
            raise damaged(file)
        return rows

    def cut_metrics(self, phase: PhaseName, epochs: int) -> None:
        """Keep of `phase` the first `epochs` lines, of the phases before it all, of later ones none."""
        kept = []
        for row in self.metrics():
            if row["phase"] == phase and row["epoch"] > epochs:
                break
            kept.append(row)
        write_text(self.path / METRICS, "".join(map(json_line, kept)))

    # -- weights

    def _weights(self, phase: PhaseName) -> Path:
        return self.checkpoint / f"phase-{phase}.safetensors"

    def save_best(self, phase: PhaseName, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
        """The best weights of a finished phase; its unfinished state goes."""
        write_arrays(self._weights(phase), arrays, about)
        self._state.unlink(missing_ok=True)

    def load_best(self, phase: PhaseName) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """What `save_best` stored, or None."""
        path = self._weights(phase)
        return read_arrays(path) if path.is_file() else None

    def weights_of(self, phase: Phase) -> dict[str, np.ndarray]:
        """Every weight of the network at the best epoch of `phase`, gathered from the phases that trained them.

        What no phase has trained by then, the front end in a Phase 0 that runs behind it, is not among them.
        Raises `InputError` where the run has not finished that phase, or keeps its weights no longer.
        """
        weights: dict[str, np.ndarray] = {}
        for prefix, origin in phase.starts.items():
            if origin != FRESH and not trains(phase, prefix):  # all of it, or the part that is frozen
                mine = self._best_of(origin)
                weights |= {name: a for name, a in mine.items() if source(phase, name) == origin}
        return weights | self._best_of(phase.name)

    def _best_of(self, phase: PhaseName) -> dict[str, np.ndarray]:
        """The best values of what a phase trained; of the latest phase they are in model.safetensors alone."""
        stored = self.load_best(phase)
        if stored is None and (self.path / MODEL).is_file():
            stored = read_arrays(self.path / MODEL)
            stored = stored if stored[1].get("phase") == phase else None
        if stored is None:
            self.finished()
            raise InputError(f"{self.path}: keeps no weights of phase {phase}; train it again")
        return stored[0]

    def drop_best(self, phase: PhaseName) -> None:
        """The last phase's weights are in model.safetensors too: once is enough."""
        self._weights(phase).unlink(missing_ok=True)

    def save_state(self, phase: PhaseName, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> None:
        """Where an unfinished phase stands."""
        write_arrays(self._state, arrays, {"phase": phase, "state": state})

    def load_state(self, phase: PhaseName) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """What `save_state` stored of this phase, or None."""
        path = self._state
        if not path.is_file():
            return None
        try:
            arrays, metadata = read_arrays(path)
        except InputError as error:
            if isinstance(error.__cause__, OSError):  # whole, maybe, and not to be removed
                raise
            raise InputError(f"{error}; remove it, and --resume begins the phase anew") from None
        return (arrays, metadata["state"]) if metadata["phase"] == phase else None

    def save_model(self, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
        """model.safetensors."""
        write_arrays(self.path / MODEL, arrays, about)

    # -- scores

    def save_scores(self, phase: PhaseName, scores: Mapping[str, Any]) -> None:
        """The test scores of a finished phase."""
        write_json(self.checkpoint / f"phase-{phase}.json", scores)

    def load_scores(self, phase: PhaseName) -> dict[str, Any] | None:
        """What `save_scores` stored, or None. Raises `InputError` where it is damaged."""
        path = self.checkpoint / f"phase-{phase}.json"
        return read_json(path, are_scores) if path.is_file() else None

    def save_predictions(self, classes: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """predictions.csv: rows (clip, true class, its class by majority, by mean probability, the probabilities)."""
        write_table(self.path / PREDICTIONS, [[*COLUMNS, *(f"p({name})" for name in classes)], *rows])

    def save_recordings(self, segments: Segments, test: int, valid: int) -> None:
        """recordings.csv: what each clip of the data is for, with these folds as test and validation set."""
        use = {test: "test", valid: "valid"}
        clips = zip(segments.clips, segments.clip_label, segments.clip_fold.tolist(), segments.contents, strict=True)
        rows = [[clip, segments.classes[k], fold, use.get(fold, "train"), digest] for clip, k, fold, digest in clips]
        write_table(self.path / RECORDINGS, [USES, *rows])

    def learned(self) -> tuple[set[str], set[str]] | None:
        """Names and digests of the clips that the run was trained or validated on; None where it keeps no record.

        Raises `InputError` where that is damaged.
        """
        path = self.path / RECORDINGS
        if not path.is_file():
            return None
        rows = read_table(path, USES)
        kept = [row for row in rows if row[3] != "test"]
        return {row[0] for row in kept}, {row[4] for row in kept}

    def changed(self, segments: Segments) -> str:
        """Clips that are not as recordings.csv has them, in words; nothing where there is no record of the data."""
        place = next((p for p in (self.path, *sorted(self.path.glob("fold*"))) if (p / RECORDINGS).is_file()), None)
        if place is None:
            return ""
        known = {row[0]: row[4] for row in read_table(place / RECORDINGS, USES)}
        here = dict(zip(segments.clips, segments.contents, strict=True))
        kinds = (
            ("is gone", "put {} back", [clip for clip in known if clip not in here]),
            ("is new", "take {} out", [clip for clip in here if clip not in known]),
            ("is another", "restore {}", [clip for clip in here if known.get(clip, here[clip]) != here[clip]]),
        )
        said = []
        for what, way_out, clips in kinds:
            if clips:
                more = f", and {len(clips) - 1} more" if clips[1:] else ""
                said.append(f"{clips[0]} {what}{more}: {way_out.format('them' if more else 'it')}")
        return "; ".join(said)

    def save_result(self, result: Mapping[str, Any]) -> None:
        """result.json: the run is finished."""
        write_json(self.path / RESULT, result)

    def result(self) -> dict[str, Any] | None:
        """result.json, or None. Raises `InputError` where it is damaged."""
        return read_json(self.path / RESULT, is_result) if (self.path / RESULT).is_file() else None

    def whole_result(self) -> dict[str, Any] | None:
        """result.json; None also where a cross-validation has lost one of its folds, which is to be trained again."""
        result = self.result()
        places = result.get("folds", {}).values() if result else ()
        return result if all((self.path / place / RESULT).is_file() for place in places) else None

    def finished(self) -> dict[str, Any]:
        """result.json. Raises `InputError` where the run is not finished, or the file damaged."""
        result = self.result()
        if result is None:
            whole = self.path.parent if (self.path.parent / CONFIG).is_file() else self.path  # of a cross-validation
            raise InputError(f"{self.path}: not finished; go on with {resume_command(whole)}")
        return result

    def fold(self, number: int) -> Path:
        """The folder of one fold of a cross-validation."""
        return self.path / f"fold{number}"


def _described(config: Config, **about: Any) -> dict[str, Any]:
    return {**config.to_dict(), "versions": versions(), **about}


def _taken(path: Path) -> InputError:
    return InputError(f"--out {path}: holds a run already; go on with --resume {quoted(path)}, or name another folder")


def resume_command(path: str | Path) -> str:
    """What to type to go on with the run in a folder."""
    return f"python -m scratchnet.train --resume {quoted(path)}"


def default_path(net: str, data: str) -> Path:
    """runs/NET-DATA-N with the next free N."""
    stem = f"{net}-{data[:40]}-"  # file systems take 255 bytes
    taken = [p.name.removeprefix(stem) for p in RUNS.glob(f"{glob.escape(stem)}*")]
    return RUNS / f"{stem}{1 + max((int(n) for n in taken if n.isdecimal()), default=0)}"
