"""From sound files to segments on disk, once: decode, resample, cut, transform, write; the next time, just open.

A cache folder is named by what it was made from (place, names, sizes and times of the files, labels, folds, the
settings), so a change of any makes a new one. It is written under another name and renamed when whole. With
augmentation, every clip is followed by its variants: in a cross-validation every fold is a training fold once.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import closing, suppress
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from scratchnet.data.segments import ARRAYS, INDEX, LOGMEL, META, VARIANT, VERSION, WAVEFORM, Segments, open_cache
from scratchnet.data.source import Clip, Source
from scratchnet.errors import InputError
from scratchnet.sound.augmentation import Augmentation, make_variant
from scratchnet.sound.io import cannot_be_read, load_clip, may_pass
from scratchnet.sound.segments import segment_clip
from scratchnet.sound.settings import SoundSettings
from scratchnet.sound.workers import blas_single_threaded, cores, ordered_map

VARIANTS_VERSION = 2  # of what a variant is; raise it with every change of its samples
STALE = 24 * 3600.0  # seconds after which a half-written cache is taken for one that a killed process left

Progress = Callable[[int, int], Any]
Cut = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def prepare(
    source: Source,
    settings: SoundSettings | None = None,
    augmentation: Augmentation | None = None,
    *,
    strict: bool = False,
    cache_dir: str | Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Segments:
    """The segments of a data source, from the cache, or made now in `workers` threads (None: the cores).

    A file that cannot be used is skipped, and listed in `skipped`; with `strict` it raises `InputError`, as does a
    source of which no file, or none of some class, can be used. `cache_dir` defaults to the user's cache folder, which
    the environment variable SCRATCHNET_CACHE overrides. With `augmentation` variants of all clips come along, of which
    `split` hands out those of training clips alone. `progress` is called as progress(clips done, clips in all)
    while the cache is made.
    """
    settings = settings or SoundSettings()
    if strict and source.unusable:
        raise _refused(source.unusable, source)
    parent = cache_folder() if cache_dir is None else Path(cache_dir)

    def place(prints: str) -> Path:
        made_from: list[Any] = [VERSION, prints, os.path.realpath(source.root), settings.to_dict()]
        if augmentation is not None:
            made_from += [VARIANTS_VERSION, augmentation.to_dict()]
        return parent / f"{source.name}-{_digest(made_from)[:20]}"

    files = _files(source)
    prints = fingerprint(source, files)
    segments = _open_or_none(place(prints))
    if segments is None and (shut := _still_shut(source, place(prints), settings)):
        segments = _open_or_none(place(fingerprint(source, files, shut)))
    if segments is None:
        segments = _build(source, settings, augmentation, files, place, strict, workers or cores(), progress)
    if strict and segments.skipped:
        raise _refused(segments.skipped, source)
    return segments


def _refused(skipped: Sequence[tuple[str, str]], source: Source) -> InputError:
    path, reason = skipped[0]
    return InputError(f"{reason} ({len(skipped)} such files in {source.root}; the first is {path})")


def cache_folder() -> Path:
    """The user's cache folder; the environment variable SCRATCHNET_CACHE overrides it.

    Raises `InputError` where the user has no home.
    """
    try:
        if told := os.environ.get("SCRATCHNET_CACHE"):
            return Path(told).expanduser()
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "scratchnet"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "scratchnet"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scratchnet"
    except RuntimeError as error:
        raise InputError(f"{error} name a folder for prepared data in SCRATCHNET_CACHE") from error


def fingerprint(source: Source, files: list[list[Any]] | None = None, shut: Collection[str] = ()) -> str:
    """What the data is: every file's path, size, time of change, label and fold. Equal for equal data, else not.

    A file that the system does not give out, when it is opened or (`shut`) later, is another than the same when it
    does: it is tried again then. `files`: what `_files` has found already.
    """
    files = [row + ["shut"] if row[0] in shut and "shut" not in row else row for row in files or _files(source)]
    return _digest([source.name, source.classes, files, source.unusable])


def _files(source: Source) -> list[list[Any]]:
    found = []
    for clip in source.clips:
        path = source.root / clip.path
        stat, kept = path.stat(), [] if _opens(path) else ["shut"]
        found.append([clip.path, stat.st_size, stat.st_mtime_ns, clip.label, clip.fold, *kept])
    return found


def _note(target: Path) -> Path:
    """Beside where a cache would be: which files could not be read to the end when it was made."""
    return target.with_name(f"{target.name}.shut")


def _still_shut(source: Source, target: Path, settings: SoundSettings) -> set[str]:
    """Those of a note's files of which that is still so."""
    try:
        noted = json.loads(_note(target).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    return {path for path in noted if _fails(source.root / path, settings)}


def _fails(path: Path, settings: SoundSettings) -> bool:
    try:
        load_clip(path, settings.sample_rate)
    except InputError as error:
        return may_pass(error)
    return False


def _opens(path: Path) -> bool:
    try:
        path.open("rb").close()
    except OSError:
        return False
    return True


def _digest(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _open_or_none(folder: Path) -> Segments | None:
    try:
        return open_cache(folder)
    except InputError:
        return None


def _build(
    source: Source,
    settings: SoundSettings,
    augmentation: Augmentation | None,
    files: list[list[Any]],
    place: Callable[[str], Path],
    strict: bool,
    workers: int,
    progress: Progress | None,
) -> Segments:
    """Prepare the data and keep it where it belongs by its fingerprint, without the files that were kept back."""
    prints = fingerprint(source, files)
    target = place(prints)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(target)
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise InputError(
            f"{target.parent} cannot be written ({error.strerror}): name another folder in SCRATCHNET_CACHE"
        ) from error
    try:
        meta, shut = _write(draft, source, settings, augmentation, strict, workers, progress)
        if shut:
            _note(target).write_text(json.dumps(sorted(shut)), encoding="utf-8")
            prints = fingerprint(source, files, shut)
            target = place(prints)
        meta.update(version=VERSION, fingerprint=prints, settings=settings.to_dict(), name=source.name)
        if augmentation is not None:
            meta["augmentation"] = augmentation.to_dict()
        meta.update(classes=source.classes, codes=source.codes, root=str(source.root))
        (draft / META).write_text(json.dumps(meta), encoding="utf-8")
        return _put_in_place(draft, target)
    except OSError as error:
        raise InputError(
            f"{draft.parent} cannot hold the prepared data ({error.strerror}): name another folder in SCRATCHNET_CACHE"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _put_in_place(draft: Path, target: Path) -> Segments:
    """Rename the whole cache to its name. Where another process was faster, its cache is as good: take that."""
    draft.chmod(0o755)
    for _ in range(3):
        try:
            draft.rename(target)
            return open_cache(target)
        except OSError:
            segments = _open_or_none(target)
            if segments is not None:
                return segments
            shutil.rmtree(target, ignore_errors=True)  # damaged: out of the way
    raise InputError(f"{target} cannot be replaced: remove it")


def remove_stale(target: Path) -> None:
    """Take drafts of `target` away that killed processes left."""
    for folder in target.parent.glob(f".{target.name}-*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > STALE:
                shutil.rmtree(folder, ignore_errors=True)


def _write(
    draft: Path,
    source: Source,
    settings: SoundSettings,
    augmentation: Augmentation | None,
    strict: bool,
    workers: int,
    progress: Progress | None,
) -> tuple[dict[str, Any], set[str]]:
    """Write waveforms, spectrograms and index; returns what belongs into the description, and the paths of files that
    the system did not give out."""
    clips: list[Clip] = []
    contents: list[str] = []
    skipped, shut = list(source.unusable), set()
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    owners: list[tuple[int, int]] = []  # number of the clip and of its variant, for each of the parts
    position = 0
    with (
        open(draft / WAVEFORM, "wb") as waveform,
        open(draft / LOGMEL, "wb") as logmel,
        closing(_cut_all(source, settings, augmentation, workers, progress)) as cuts,
    ):
        for clip, content, cut in cuts:
            if isinstance(cut, InputError):
                if strict:
                    raise cut
                skipped.append((clip.path, str(cut)))
                if may_pass(cut):
                    shut.add(clip.path)
                continue
            for variant, (x, starts, scale, spectrograms) in enumerate(cut):
                if len(starts) == 0:  # played faster, it is shorter than a segment, and short="drop"
                    continue
                parts.append((starts + position, scale))
                owners.append((len(clips), variant))
                position += _append(waveform, x) // 4
                _append(logmel, spectrograms)
            clips.append(clip)
            contents.append(content)
    _check_classes(source, clips, skipped)
    counts = [len(starts) for starts, _ in parts]
    labels, folds = (np.array([getattr(clip, name) for clip in clips], np.int64) for name in ("label", "fold"))
    owner, variants = np.repeat(np.array(owners, np.int64), counts, axis=0).T
    index = {
        "start": np.concatenate([starts for starts, _ in parts]),
        "scale": np.concatenate([scale for _, scale in parts]),
        "label": labels[owner],
        "fold": folds[owner],
        "clip": owner,
        "clip_label": labels,
        "clip_fold": folds,
    }
    assert tuple(index) == ARRAYS
    if augmentation is not None:
        index[VARIANT] = variants
    np.savez(draft / INDEX, **index)  # type: ignore[arg-type]
    about = {"samples": position, "clips": [clip.path for clip in clips], "contents": contents, "skipped": skipped}
    return about, shut


def _append(file: BinaryIO, values: np.ndarray) -> int:
    return file.write(np.ascontiguousarray(values, np.float32).data.cast("B"))


def _cut_all(
    source: Source,
    settings: SoundSettings,
    augmentation: Augmentation | None,
    workers: int,
    progress: Progress | None,
) -> Generator[tuple[Clip, str, list[Cut] | InputError], None, None]:
    """Every clip, its file's digest, and its segments and its variants', or the reason why it has none, in the source's
    order."""

    def cut(clip: Clip) -> tuple[str, list[Cut] | InputError]:
        path = source.root / clip.path
        try:
            x = load_clip(path, settings.sample_rate, peak=False)
            cuts = [segment_clip(x, settings)]
        except InputError as error:
            return "", error
        if len(cuts[0][1]) == 0:
            seconds = settings.segment_length / settings.sample_rate
            return "", InputError(f"{path} is shorter than a segment of {seconds:.2f} s: take --short pad")
        if augmentation is not None:
            name, rate, length = source.classes[clip.label], settings.sample_rate, settings.segment_length
            for number in range(1, augmentation.variants + 1):
                variant = make_variant(x, rate, name, clip.path, number, augmentation, length)
                cuts.append(segment_clip(variant, settings))
        try:
            with open(path, "rb") as file:
                return file_digest(file, "sha256").hexdigest()[:16], cuts
        except OSError as error:  # a moment ago it could be read
            return "", cannot_be_read(path, error)

    with blas_single_threaded(), closing(ordered_map(cut, source.clips, workers)) as results:
        for done, (clip, (content, result)) in enumerate(zip(source.clips, results), 1):
            yield clip, content, result
            if progress is not None:
                progress(done, len(source.clips))


def _check_classes(source: Source, clips: list[Clip], skipped: list[tuple[str, str]]) -> None:
    if not clips:
        raise InputError(f"no sound file of {source.root} can be used, of {len(skipped)}; the first: {skipped[0][1]}")
    left = {clip.label for clip in clips}
    for label, name in enumerate(source.classes):
        if label not in left:
            reasons = [reason for path, reason in skipped if path in {c.path for c in source.clips if c.label == label}]
            raise InputError(f"no sound file of class {name!r} can be used; the first: {reasons[0]}")
