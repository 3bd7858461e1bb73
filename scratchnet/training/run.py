"""A whole run: its folder, its data, one split or all folds in turn, its result and pictures."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import numpy as np

from scratchnet import backend
from scratchnet.errors import InputError, listed, say
from scratchnet.nets import NET_OF
from scratchnet.training import metrics, phase0
from scratchnet.training.config import Config, convert
from scratchnet.training.files import read_arrays
from scratchnet.training.icebreaker import IceBreaker
from scratchnet.training.phases import phases_for
from scratchnet.training.runfolder import CONFIG, MODEL, READINGS, RunFolder, default_path, resume_command
from scratchnet.training.screen import Screen

if TYPE_CHECKING:
    from scratchnet.data import Segments, Source


def start(config: Config) -> dict[str, Any]:
    """Train as `config` says in a new run folder; returns the contents of its result.json.

    Raises `InputError` for bad input, `KeyboardInterrupt` when stopped (the run folder can then be gone on with).
    """
    screen = Screen(config.quiet)
    used = choose_backend(config)
    # The synthetic set takes a while to make, and Ctrl-C meanwhile must find a run folder; a bad --data must not.
    source = None
    if config.data is not None:
        source = open_data(config, screen)
    if config.phase0 is not None:
        phase0.check(config)
    config = _from_anywhere(config)
    folder = _new_folder(config, source.name if source else "synthetic")
    try:
        return _run(config, folder, source, screen, used)
    except _Halted:
        raise
    except (InputError, RuntimeError):  # Numba's, for one, that finds no place for its kernels
        folder.discard()
        raise


class _Halted(InputError):
    """The system let the run down; its folder stays, to be gone on with."""


def _new_folder(config: Config, data: str) -> RunFolder:
    """That of --out, or the next one under runs/ that no other run, begun at the same moment, takes first."""
    if config.out:
        if config.data is not None and os.path.realpath(config.out) == config.data:
            inside = quote(str(Path(config.out) / "runs" / "1"))
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
    if "data" not in changes and folder.result() is None:
        check_data(folder, config)
    screen = Screen(config.quiet)
    result = folder.result()
    if result is not None:
        screen.say(f"{path} is finished already")
        report(config, folder, result, screen)
        return result
    return _run(config, folder, None, screen, choose_backend(config))


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


def choose_backend(config: Config) -> str:
    """Make the backend (and threads) of the settings the current one; returns its name."""
    used = backend.use(config.backend)
    if config.threads is not None and used == "cpu":
        backend.threads(config.threads)
    return used


def open_data(config: Config, screen: Screen) -> Source:
    """The data source of the settings."""
    from scratchnet.data import open_source

    if config.data is not None:
        return open_source(config.data, subset=config.subset)
    progress = _Progress(screen, "making the synthetic sounds")
    try:
        return open_source(None, subset=config.subset, workers=_workers(config), progress=progress)
    finally:
        screen.close()


def prepare_data(config: Config, source: Source, screen: Screen) -> Segments:
    """The segments of a source, made now or found in the cache; bad files are named."""
    from scratchnet.data import prepare

    progress, workers = _Progress(screen, "preparing segments"), _workers(config)
    sound, augmentation = config.sound(), config.augmentation()
    try:
        segments = prepare(source, sound, augmentation, strict=config.strict, workers=workers, progress=progress)
    finally:
        screen.close()
    for path, reason in segments.skipped:
        screen.say(f"skipped: {reason if str(path) in reason else f'{path}: {reason}'}")
    if segments.skipped:
        screen.say(f"{len(segments.skipped)} of {len(segments.skipped) + len(segments.clips)} files skipped")
    return segments


def _workers(config: Config) -> int:
    """Threads that prepare data: `--threads`, but no more than cores, for each holds a recording."""
    from scratchnet.sound.workers import cores

    return min(config.threads or cores(), cores())


class _Progress:
    """Opens a bar (or says a line) when the work turns out to be needed, not before."""

    def __init__(self, screen: Screen, text: str) -> None:
        self.screen, self.text, self.opened = screen, text, False

    def __call__(self, done: int, total: int) -> None:
        if not self.opened:
            from scratchnet.data.cache_folder import cache_folder

            self.opened = True
            self.screen.say(f"{self.text}: {total} clips, once; kept in {cache_folder()}")
            self.screen.progress(self.text, total, "clip")
        self.screen.advance(done)


def folds_of(segments: Segments, config: Config) -> list[tuple[int, int]]:
    """(test fold, validation fold) of every split to run: all for `--cv`, else the last fold or the one asked for."""
    from scratchnet.data.split import check_folds, fold_before

    folds = [int(k) for k in np.unique(segments.clip_fold)]
    check_folds(folds)
    tests = folds if config.cv else [folds[-1] if config.test_fold is None else config.test_fold]
    pairs = []
    for test in tests:
        if test not in folds:
            raise InputError(f"--test-fold {test}: the data has folds {', '.join(map(str, folds))}")
        pairs.append((test, fold_before(test, folds) if config.valid_fold is None else config.valid_fold))
    return pairs


def untrained(segments: Segments, splits: list[tuple[int, int]]) -> list[str]:
    """The classes that some split (test fold, validation fold) has no clip of in training."""
    learned = [set(segments.clip_label[~np.isin(segments.clip_fold, split)].tolist()) for split in splits]
    return [name for label, name in enumerate(segments.classes) if not all(label in labels for labels in learned)]


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
    segments = prepare_data(config, source or open_data(config, screen), screen)
    if not folder.trained_on(segments):
        raise InputError(f"{folder.path}: the data has changed since this run began; start a new one")
    splits = folds_of(segments, config)
    begun = {}
    if config.phase0 is not None:
        folders = {split: RunFolder(folder.fold(split[0])) if config.cv else folder for split in splits}
        begun = phase0.find(config, segments, folders)
    folder.describe(config, **_about(folder, segments, used))
    _announce(config, segments, splits, folder, screen, used)
    if config.cv:
        result = _cross_validate(config, segments, splits, begun, folder, screen, used)
    else:
        result = _single(config, segments, splits[0], begun, folder, screen)
    result["skipped"] = [list(item) for item in segments.skipped]
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
    from scratchnet.data import split

    if fold[0] in begun:
        phase0.take(begun[fold[0]], folder, config)
    figures = IceBreaker(config, segments, split(segments, *fold), folder, screen).run()
    last = list(figures)[-1]
    seconds = sum(row["seconds"] for row in folder.metrics())
    return {
        "net": config.net,
        "seed": config.seed,
        "test_fold": fold[0],
        "valid_fold": fold[1],
        "test": figures[last],
        "phases": figures,
        "training_seconds": seconds,
    }


def _cross_validate(
    config: Config,
    segments: Segments,
    splits: list[tuple[int, int]],
    begun: Mapping[int, RunFolder],
    folder: RunFolder,
    screen: Screen,
    used: str,
) -> dict[str, Any]:
    results: dict[int, dict[str, Any]] = {}
    for test, valid in splits:
        path = folder.fold(test)
        own = config.with_(split="single", test_fold=test, valid_fold=valid, out=str(path))
        fold = RunFolder.open(path)[0] if (path / CONFIG).is_file() else RunFolder.create(path, own)
        with fold.held():
            result = fold.result()
            if result is None:
                screen.say(f"fold {test} of {len(splits)}:")
                fold.describe(own, **_about(fold, segments, used))
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
    }


def _announce(
    config: Config, segments: Segments, splits: list[tuple[int, int]], folder: RunFolder, screen: Screen, used: str
) -> None:
    taken = 0 if config.phase0 is not None else None
    phases = [phase for phase in phases_for(config) if phase.name != taken]
    epochs = ", ".join(f"{phase.title} {config.epochs_of(phase.name)}" for phase in phases)
    test = "every fold in turn" if config.cv else f"fold {splits[0][0]}"
    valid = "the fold before it" if config.cv else f"fold {splits[0][1]}"
    counts = f"{len(segments.clips)} clips, {len(segments.originals)} segments, {len(segments.classes)} classes"
    taken_for_one = f": {listed(segments.classes)}" if segments.name == "folder" else ""
    screen.say(f"data     {segments.name}: {counts}{taken_for_one}")
    if segments.augmentation is not None:
        how = "an epoch draws one of each clip" if config.augment_epoch == "draw" else "an epoch has them all"
        screen.say(f"augment  {config.augment} variants of every training clip besides the recording; {how}")
    screen.say(f"folds    test on {test}, validate on {valid}, train on the others")
    if names := untrained(segments, splits):
        where = "training on some fold" if config.cv else "training"
        screen.say(f"classes  without a clip in {where}: {', '.join(names)}; to be learned, they need more recordings")
    screen.say(f"network  {title(config)}, {'random' if config.is_back_end else config.init} initialisation, on {used}")
    if config.phase0 is not None:
        screen.say(f"phase 0  from {config.phase0}")
    screen.say(f"epochs   {epochs}; mini-batches of {config.batch_size} segments")
    screen.say(f"folder   {folder.path}; how the paper is read: {READINGS} there")
    if used == "cpu" and not kernels_compiled():
        screen.say("Numba compiles the kernels now, once: the first mini-batches take up to a minute")


def kernels_compiled() -> bool:
    """Whether Numba left compiled kernels from an earlier run, where this user's are."""
    from scratchnet.kernels.cpu.turning import copy_turned

    stats = getattr(copy_turned, "stats", None)  # None where NUMBA_DISABLE_JIT says so: there is nothing to compile
    return stats is None or any(Path(stats.cache_path).glob("*.nbi"))


def _finish(config: Config, folder: RunFolder, result: dict[str, Any], segments: Segments) -> None:
    """The run's pictures, then result.json: a run that has it needs nothing more."""
    try:
        _draw(config, folder, result, segments)
    except Exception as error:  # whatever a picture fails by, the result is worth more
        words = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        say(f"{folder.path}: a picture could not be drawn: {words}")
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


def title(config: Config) -> str:
    """The network in words: its name, and its back end where that is not the paper's."""
    return config.net if config.is_back_end or config.back_end == "piczak" else f"{config.net} with {config.back_end}"


def line(test: dict[str, Any]) -> str:
    """Test figures in one line."""

    def score(name: str) -> str:
        spread = f" ± {test['std'][name]:.3f}" if "std" in test else ""
        return f"{test[name]:.3f}{spread}"

    return (
        f"balanced accuracy of segments {score('segment_balanced_accuracy')} (plain {score('segment_accuracy')}), "
        f"of clips by majority {score('clip_accuracy_majority')}, by probability {score('clip_accuracy_probability')}"
    )


def report(config: Config, folder: RunFolder, result: dict[str, Any], screen: Screen) -> None:
    """The end of a run on the screen."""
    for name, figures in result["phases"].items():
        phase = f"phase {name}" if name.isdecimal() else name
        net = NET_OF[config.back_end] if name == "0" else title(config)
        screen.say(f"test     {phase} ({net}): {line(figures)}")
    screen.say(f"{title(config)}: {line(result['test'])}", always=True)
    screen.say(f"results, model and pictures: {folder.path}")
    if not config.cv:
        screen.say(f"try:  python -m scratchnet.predict {quote(str(folder.path))} FILE")
