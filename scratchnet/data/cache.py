"""From sound files to segments on disk, once; the next time, just open.

A cache folder is named by what it was made from (place, names, sizes and times of the files, labels, folds, the
settings), so a change of any makes a new one. It is written under another name and renamed when whole.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchnet.cache_folder import cache_folder
from scratchnet.data.cut import Progress, write
from scratchnet.data.fingerprint import digest, files_of, fingerprint, note_shut, still_shut
from scratchnet.data.segments import META, VERSION, Segments, open_cache
from scratchnet.data.source import Source
from scratchnet.drafts import draft_of
from scratchnet.errors import InputError
from scratchnet.sound.augmentation import Augmentation
from scratchnet.sound.settings import SoundSettings
from scratchnet.sound.workers import cores

VARIANTS_VERSION = 2  # of what a variant is; raise it with every change of its samples


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
    order, files = _Order(source, settings, augmentation, parent), files_of(source)
    segments = _find(order, files)
    if segments is None:
        segments = _build(order, files, strict, workers or cores(), progress)
    if strict and segments.skipped:
        raise _refused(segments.skipped, source)
    return segments


def _refused(skipped: Sequence[tuple[str, str]], source: Source) -> InputError:
    _, reason = skipped[0]
    return InputError(f"{reason} (unusable files in {source.root}: {len(skipped)}, this is the first)")


@dataclass(frozen=True)
class _Order:
    """What is to be prepared, and how."""

    source: Source
    settings: SoundSettings
    augmentation: Augmentation | None
    parent: Path

    def place(self, prints: str) -> Path:
        """The folder of files with this fingerprint, prepared so."""
        made_from: list[Any] = [VERSION, prints, os.path.realpath(self.source.root), self.settings.to_dict()]
        if self.augmentation is not None:
            made_from += [VARIANTS_VERSION, self.augmentation.to_dict()]
        return self.parent / f"{self.source.name}-{digest(made_from)[:20]}"

    def about(self, prints: str) -> dict[str, Any]:
        """What the folder's description says of it."""
        said = {"version": VERSION, "fingerprint": prints, "settings": self.settings.to_dict()}
        said |= {"name": self.source.name, "classes": self.source.classes, "codes": self.source.codes}
        said |= {"root": str(self.source.root)}
        return said if self.augmentation is None else said | {"augmentation": self.augmentation.to_dict()}


def _open_or_none(folder: Path) -> Segments | None:
    try:
        return open_cache(folder)
    except InputError:
        return None


def _find(order: _Order, files: list[list[Any]]) -> Segments | None:
    """The prepared data, whole or, as it was then, without the files that are still kept back."""
    source = order.source
    place = order.place(fingerprint(source, files))
    segments = _open_or_none(place)
    if segments is None and (shut := still_shut(source, place, order.settings.sample_rate)):
        segments = _open_or_none(order.place(fingerprint(source, files, shut)))
    return segments


def _build(order: _Order, files: list[list[Any]], strict: bool, workers: int, progress: Progress | None) -> Segments:
    """Prepare the data and keep it where it belongs by its fingerprint, without the files that were kept back."""
    source = order.source
    prints = fingerprint(source, files)
    target = order.place(prints)
    begun = False
    try:
        with draft_of(target) as draft:
            if (segments := _find(order, files)) is not None:  # made by another process, meanwhile
                return segments
            begun = True
            sizes = {path: size for path, size, *_ in files}
            meta, shut = write(draft, source, order.settings, order.augmentation, strict, workers, progress, sizes)
            if shut:
                note_shut(target, shut)
                prints = fingerprint(source, files, shut)
                target = order.place(prints)
            (draft / META).write_text(json.dumps({**meta, **order.about(prints)}), encoding="utf-8")
            return _put_in_place(draft, target)
    except OSError as error:
        words = "cannot hold the prepared data" if begun else "cannot be written"
        reason = f"{words} ({error.strerror}): name another folder in SCRATCHNET_CACHE"
        raise InputError(f"{target.parent} {reason}") from error


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
