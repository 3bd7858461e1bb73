"""From sound files to arrays on disk: decode, resample, cut, transform, write, one clip after the other.

With augmentation, every clip is followed by its variants: in a cross-validation every fold is trained on at some time.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from hashlib import file_digest
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from scratchnet.blas import one_blas_thread
from scratchnet.data.segments import ARRAYS, INDEX, LOGMEL, VARIANT, WAVEFORM
from scratchnet.data.source import Clip, Source
from scratchnet.errors import InputError
from scratchnet.sound.augmentation import Augmentation, make_variant
from scratchnet.sound.io import cannot_be_read, load_clip, may_pass, too_long
from scratchnet.sound.segments import Cut, segment_clip
from scratchnet.sound.settings import SoundSettings
from scratchnet.sound.workers import ordered_map

TOO_SHORT = "is shorter than a segment"
STEP = 0.02  # of the files' bytes, after which room on the disk is looked for again
Progress = Callable[[int, int], Any]


def write(
    folder: Path,
    source: Source,
    settings: SoundSettings,
    augmentation: Augmentation | None,
    strict: bool,
    workers: int,
    progress: Progress | None,
    sizes: Mapping[str, int],
) -> tuple[dict[str, Any], set[str]]:
    """Write waveforms, spectrograms and index into `folder`; `sizes`: bytes of the clips' files.

    Returns what belongs into the description, and the paths of files that the system did not give out.
    """
    clips: list[Clip] = []
    contents: list[str] = []
    skipped, shut = list(source.unusable), set()
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    owners: list[tuple[int, int]] = []  # number of the clip and of its variant, for each of the parts
    position = 0
    room = _Room(folder, sizes)
    with (
        open(folder / WAVEFORM, "wb") as waveform,
        open(folder / LOGMEL, "wb") as logmel,
        closing(_cut_all(source, settings, augmentation, workers, progress)) as cuts,
    ):
        for clip, content, cut in cuts:
            room.check(clip, waveform.tell() + logmel.tell())
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
    index = _index(clips, parts, owners)
    if augmentation is None:
        del index[VARIANT]
    np.savez(folder / INDEX, **index)  # type: ignore[arg-type]
    about = {"samples": position, "clips": [clip.path for clip in clips], "contents": contents, "skipped": skipped}
    return about, shut


def _index(
    clips: list[Clip], parts: list[tuple[np.ndarray, np.ndarray]], owners: list[tuple[int, int]]
) -> dict[str, np.ndarray]:
    """What index.npz holds, `ARRAYS` and the variants' numbers; `parts`: (starts, scales) of the segments of each
    (clip, variant) in `owners`."""
    labels, folds = (np.array([getattr(clip, name) for clip in clips], np.int64) for name in ("label", "fold"))
    start, scale = map(np.concatenate, zip(*parts, strict=True))
    counts = [len(starts) for starts, _ in parts]
    owner, variant = np.repeat(np.array(owners, np.int64), counts, axis=0).T
    index = (start, scale, labels[owner], folds[owner], owner, labels, folds)
    return {**dict(zip(ARRAYS, index, strict=True)), VARIANT: variant}


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
            if len(cuts[0][1]) == 0:
                seconds = settings.segment_length / settings.sample_rate
                return "", InputError(f"{path} {TOO_SHORT} of {seconds:.2f} s: take --short pad")
            if augmentation is not None:
                name, rate, length = source.classes[clip.label], settings.sample_rate, settings.segment_length
                for number in range(1, augmentation.variants + 1):
                    variant = make_variant(x, rate, name, clip.path, number, augmentation, length)
                    cuts.append(segment_clip(variant, settings))
        except InputError as error:
            return "", error
        except MemoryError:
            return "", too_long(path)
        try:
            with open(path, "rb") as file:
                return file_digest(file, "sha256").hexdigest()[:16], cuts
        except OSError as error:  # a moment ago it could be read
            return "", cannot_be_read(path, error)

    with one_blas_thread(), closing(ordered_map(cut, source.clips, workers)) as results:
        for done, (clip, (content, result)) in enumerate(zip(source.clips, results), 1):
            yield clip, content, result
            if progress is not None:
                progress(done, len(source.clips))


def _check_classes(source: Source, clips: list[Clip], skipped: list[tuple[str, str]]) -> None:
    if not clips:
        raise InputError(f"no sound file of {source.root} can be used, of {len(skipped)}; the first: {skipped[0][1]}")
    left, reasons = {clip.label for clip in clips}, dict(skipped[::-1])
    for label, name in enumerate(source.classes):
        if label not in left:
            found = [reasons[clip.path] for clip in source.clips if clip.label == label and clip.path in reasons]
            why = f"can be used; the first: {found[0]}" if found else "is there"
            raise InputError(f"no sound file of class {name!r} {why}")


class _Room:
    """Whether the disk will hold all that is prepared, judged by what was made of the files so far."""

    def __init__(self, folder: Path, sizes: Mapping[str, int]) -> None:
        self.folder, self.sizes = folder, sizes
        self.total, self.done, self.clips = sum(sizes.values()), 0, 0
        self.next = STEP * self.total

    def check(self, clip: Clip, written: int) -> None:
        """A clip comes, and so many bytes are written. Raises `InputError` where the rest takes twice what is free:
        files of another kind may follow, which become less."""
        done, clips = self.done, self.clips
        self.done, self.clips = done + self.sizes[clip.path], clips + 1
        if done < self.next:
            return
        self.next = done + STEP * self.total
        try:
            usage = shutil.disk_usage(self.folder)
        except OSError:
            return
        by_bytes, by_clips = (self.total - done) / max(1, done), (len(self.sizes) - clips) / max(1, clips)
        rest = written * min(by_bytes, by_clips)  # the first files may be more compact than the others, or longer
        if usage.total and usage.free * 2 < rest:  # some file systems count nothing
            raise InputError(
                f"{self.folder.parent} has no room for the prepared data, about {(written + rest) / 1e9:.1f} GB: "
                "name another folder in SCRATCHNET_CACHE"
            )
