"""A whole run: its folder, its data, one split or all folds in turn, its result and pictures."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scratchnet import backend
from scratchnet.data import Segments, Source, split
from scratchnet.errors import InputError, quoted, say
from scratchnet.training import dataset, metrics, phase0
from scratchnet.training.config import Config
from scratchnet.training.files import read_arrays
from scratchnet.training.icebreaker import IceBreaker
from scratchnet.training.page import write_page
from scratchnet.training.phases import phases_for
from scratchnet.training.remarks import remarks
from scratchnet.training.report import announce, line, report
from scratchnet.training.resolve import convert
from scratchnet.training.runfolder import CONFIG, MODEL, PAGE, RunFolder, default_path, resume_command
from scratchnet.training.screen import Screen


def start(config: Config) -> dict[str, Any]:
    """Train as `config` says in a new run folder; returns the contents of its result.json.

    Raises `InputError` for bad input, `KeyboardInterrupt` when stopped (`resume` goes on with the run folder).
    """
    screen = Screen(config.quiet)
    used = backend.use(config.backend, config.threads)
    # The synthetic set takes a while to make, and Ctrl-C meanwhile must find a run folder; a bad --data must not.
    source = None
    if config.data is not None:
        source = dataset.open_data(config, screen)
    if config.phase0 is not None:
        config = phase0.of_the_others(config)
        phase0.check(config)
    name = dataset.called(source.name, config.data) if source else "synthetic"
    config = _from_anywhere(config)
    folder = _new_folder(config, name)
    try:
        return _run(config, folder, source, screen, used)
    except _Halted:
        raise
    except (InputError, RuntimeError):  # Numba's, for one, that finds no place for its kernels
        folder.discard()
        raise


class _Halted(InputError):
    """The system let the run down; its folder stays, and can be resumed."""


def _new_folder(config: Config, data: str) -> RunFolder:
    """That of --out, or the next one under runs/ that no other run, begun at the same moment, takes first."""
    if config.out:
        if config.data is not None and os.path.realpath(config.out) == config.data:
            inside = quoted(Path(config.out) / "runs" / "1")
            raise InputError(
                f"--out {config.out}: is the data's folder; keep runs apart from its classes, say with --out {inside}"
            )
        return RunFolder.create(Path(config.out), config)
    while True:
        path = default_path(config.net, data)
        try:
            return RunFolder.create(path, config)
        except InputError:
            if not (path / CONFIG).exists():
                raise


def resume(path: Path, changes: dict[str, Any]) -> dict[str, Any]:
    """Go on with the run in `path`; `changes` may hold what leaves it the same training (see `MAY_CHANGE`)."""
    folder, stored = RunFolder.open(path)
    config = _from_anywhere(stored.with_(**changes))
    result = folder.whole_result()
    if "data" not in changes and result is None:
        check_data(folder, config)
    screen = Screen(config.quiet)
    if result is not None:
        screen.say(f"{path} is finished already")
        report(config, folder, result, screen)
        return result
    return _run(config, folder, None, screen, backend.use(config.backend, config.threads))


def check_data(folder: RunFolder, config: Config) -> None:
    """Raise `InputError` where the data that a run was trained on is not where it was."""
    if config.data is not None and not os.path.exists(config.data):
        raise InputError(f"{config.data}: the data of {folder.path} is not there; if it was moved, name it with --data")


def _from_anywhere(config: Config) -> Config:
    """With whole paths, so that --resume works from any folder."""
    paths = {name: getattr(config, name) for name in ("data", "phase0")}
    return config.with_(**{name: convert(name, str(Path(p).resolve())) for name, p in paths.items() if p is not None})


# Another backend rounds differently, and is written down; the others change no bit of the result.
MAY_CHANGE = ("data", "phase0", "backend", "threads", "strict", "quiet")


def _run(config: Config, folder: RunFolder, source: Source | None, screen: Screen, used: str) -> dict[str, Any]:
    try:
        with folder.held():
            return _train(config, folder, source, screen, used)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; go on with: {resume_command(folder.path)}") from None
    except OSError as error:
        where, words = error.filename or folder.path, f"that mended, go on with: {resume_command(folder.path)}"
        raise _Halted(f"{where}: {error.strerror or error}; {words}") from None
    finally:
        screen.close()


def _train(config: Config, folder: RunFolder, source: Source | None, screen: Screen, used: str) -> dict[str, Any]:
    source = source or dataset.open_data(config, screen)
    if folder.about("used_backend") is None:  # it has not begun: too few folds are told of before hours of preparation
        dataset.folds_of(source.folds, config)
    segments = dataset.prepare_data(config, source, screen)
    if not folder.trained_on(segments):
        changed = folder.changed(segments)
        what = f" ({changed})" if changed else ""
        raise InputError(f"{folder.path}: the data has changed since this run began{what}; or start a new one")
    splits = dataset.folds_of(segments.clip_fold, config)
    if folder.about("used_backend") is None:  # it has not begun
        dataset.check_classes(segments, splits)
    begun = {}
    if config.phase0 is not None:
        folders = {split: RunFolder(folder.fold(split[0])) if config.cv else folder for split in splits}
        begun = phase0.find(config, segments, folders)
    notes = remarks(config, source, segments, splits)
    folder.describe(config, **_about(folder, segments, used), remarks=notes)
    announce(config, segments, splits, notes, folder, screen, used)
    if config.cv:
        result = _cross_validate(config, source, segments, splits, begun, folder, screen, used)
    else:
        result = _single(config, segments, splits[0], begun, folder, screen)
    _finish(config, folder, result, segments)
    report(config, folder, result, screen)
    return result


def _about(folder: RunFolder, segments: Segments, used: str) -> dict[str, Any]:
    """What config.json says beside the settings; of a run that goes on elsewhere, every backend in turn."""
    before = folder.about("used_backend")
    backends = used if before is None else before if before.endswith(used) else f"{before}, then {used}"
    return {
        "fingerprint": segments.fingerprint,
        "layout": segments.layout,
        "contents": segments.digest,
        "data_name": segments.name,
        "used_backend": backends,
        "used_threads": backend.threads() if used == "cpu" else None,
        "used_gpu": backend.gpu() or folder.about("used_gpu"),
    }


def _single(
    config: Config,
    segments: Segments,
    fold: tuple[int, int],
    begun: Mapping[int, RunFolder],
    folder: RunFolder,
    screen: Screen,
) -> dict[str, Any]:
    folder.save_recordings(segments, *fold)
    if fold[0] in begun:
        phase0.take_over(begun[fold[0]], folder, config)
    scores = IceBreaker(config, segments, split(segments, *fold), folder, screen).run()
    last = list(scores)[-1]
    seconds = sum(row["seconds"] for row in folder.metrics())
    return {
        "net": config.net,
        "seed": config.seed,
        "test_fold": fold[0],
        "valid_fold": fold[1],
        "test": scores[last],
        "phases": scores,
        "training_seconds": seconds,
        "skipped": _skipped(segments),
    }


def _cross_validate(
    config: Config,
    source: Source,
    segments: Segments,
    splits: list[tuple[int, int]],
    begun: Mapping[int, RunFolder],
    folder: RunFolder,
    screen: Screen,
    used: str,
) -> dict[str, Any]:
    results: dict[int, dict[str, Any]] = {}
    for number, (test, valid) in enumerate(splits, 1):
        path = folder.fold(test)
        own = config.with_(split="single", test_fold=test, valid_fold=valid, out=str(path))
        fold = RunFolder.open(path)[0] if (path / CONFIG).is_file() else RunFolder.create(path, own)
        with fold.held():
            result = fold.result()
            if result is None:
                screen.say(f"fold {test} ({number} of {len(splits)}):")
                notes = remarks(own, source, segments, [(test, valid)])
                fold.describe(own, **_about(fold, segments, used), remarks=notes)
                result = _single(own, segments, (test, valid), begun, fold, screen)
                _finish(own, fold, result, segments)
        results[test] = result
        screen.say(f"fold {test}: {line(result['test'])}")
    names = next(iter(results.values()))["phases"]
    phases = {name: metrics.gather({k: r["phases"][name] for k, r in results.items()}) for name in names}
    return {
        "net": config.net,
        "seed": config.seed,
        "folds": {str(k): f"fold{k}" for k in results},
        "test": metrics.gather({k: r["test"] for k, r in results.items()}),
        "phases": phases,
        "training_seconds": sum(r["training_seconds"] for r in results.values()),
        "skipped": _skipped(segments),
    }


def _skipped(segments: Segments) -> list[list[str]]:
    return [list(item) for item in segments.skipped]


def _finish(config: Config, folder: RunFolder, result: dict[str, Any], segments: Segments) -> None:
    """The run's pictures and page, then result.json: a run that has it needs nothing more."""
    for what, make in (("a picture", _draw), (PAGE, write_page)):
        try:
            make(config, folder, result, segments)
        except Exception as error:  # whatever it fails by, the result is worth more
            words = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            say(f"{folder.path}: {what} could not be made: {words}")
    folder.save_result(result)
    if not config.cv and not config.mst_batch_norm:  # which model.safetensors holds folded
        folder.drop_best(phases_for(config)[-1].name)


def _draw(config: Config, folder: RunFolder, result: dict[str, Any], segments: Segments) -> None:
    from scratchnet import plots

    confusion = np.array(result["test"]["confusion"])
    names = plots.class_labels(segments.name, segments.classes, segments.codes)
    plots.save_confusions(folder.path / "confusion.png", {"segments of the test set": confusion}, names)
    if not config.cv:
        plots.save_curves(folder.path / "curves.png", folder.metrics())
        arrays, about = read_arrays(folder.path / MODEL)
        plots.save_kernels(folder.path / "kernels.png", arrays, about["sound"])
