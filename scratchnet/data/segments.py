"""The segments of a data set, memory-mapped from the cache: a data set larger than memory can be trained on."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from scratchnet.errors import InputError
from scratchnet.sound.augmentation import Augmentation
from scratchnet.sound.deltas import delta
from scratchnet.sound.settings import SoundSettings

VERSION = 3  # of the cache's files; raise it with every change of their meaning or of the numbers in them
WAVEFORM, LOGMEL, INDEX, META = "waveform.f32", "logmel.f32", "index.npz", "meta.json"
ARRAYS = ("start", "scale", "label", "fold", "clip", "clip_label", "clip_fold")
VARIANT = "variant"  # an array more, where there are augmented variants


@dataclass(frozen=True)
class Segments:
    """n segments of a data set's clips. Each clip's audio is stored once; its overlapping segments point into it.

    `waveform` (total_samples,) float32, memory-mapped; `start` (n,) the first sample of each segment; `scale` (n,) the
    factor to its final level (1 unless every segment has its own peak); `logmel` (n, n_mels, n_frames) float32,
    memory-mapped, in dB; `label`, `fold`, `clip` (n,); `clips` the files' paths, with `clip_label` and `clip_fold`;
    `contents` digests of the files; `skipped` (path, reason) of those that could not be used. `variant` (n,): 0 for a
    segment of the recording itself, k for one of its k-th augmented variant, which has its clip, label and fold and is
    for training alone.
    """

    waveform: np.ndarray
    start: np.ndarray
    scale: np.ndarray
    logmel: np.ndarray
    label: np.ndarray
    fold: np.ndarray
    clip: np.ndarray
    clips: list[str]
    contents: list[str]
    clip_label: np.ndarray
    clip_fold: np.ndarray
    skipped: list[tuple[str, str]]
    fingerprint: str
    settings: SoundSettings
    classes: tuple[str, ...]
    codes: tuple[str, ...]
    name: str
    folder: Path
    variant: np.ndarray
    augmentation: Augmentation | None = None

    def __len__(self) -> int:
        return len(self.start)

    @property
    def layout(self) -> str:
        """What the data is by names (classes, clips, their classes and folds); equal for a copy of it elsewhere."""
        clips = list(zip(self.clips, self.clip_label.tolist(), self.clip_fold.tolist()))
        return sha256(repr((self.classes, clips)).encode()).hexdigest()[:32]

    @property
    def digest(self) -> str:
        """What the data is by names and contents; equal for a copy of it elsewhere."""
        return sha256(repr((self.layout, self.contents)).encode()).hexdigest()[:32]

    @property
    def originals(self) -> np.ndarray:
        """Indices of the segments of the recordings themselves, int64."""
        return np.flatnonzero(self.variant == 0)

    def waveforms(self, indices: np.ndarray | Sequence[int], out: np.ndarray | None = None) -> np.ndarray:
        """The waveforms of these segments, (b, 1, segment_length) float32, into `out` where given."""
        length = self.settings.segment_length
        if out is None:
            out = np.empty((len(indices), 1, length), np.float32)
        starts, scales = self.start[indices].tolist(), self.scale[indices]
        waveform = np.asarray(self.waveform)  # slices of a plain array are made faster than a memmap's
        for row, start in zip(out[:, 0], starts):
            row[:] = waveform[start : start + length]
        if (scales != 1).any():
            out *= scales[:, None, None]
        return out

    def logmels(
        self, indices: np.ndarray | Sequence[int], out: np.ndarray | None = None, mean: float = 0.0, std: float = 1.0
    ) -> np.ndarray:
        """The log-Mel-spectrograms, (b, channels, n_mels, n_frames) float32, less `mean` and over `std`.

        With deltas, the second channel is the delta of the first as it is returned, standardised.
        """
        settings = self.settings
        if out is None:
            out = np.empty((len(indices), settings.channels, settings.n_mels, settings.n_frames), np.float32)
        logmel = np.asarray(self.logmel)
        for row, index in zip(out[:, 0], np.asarray(indices).tolist()):
            row[:] = logmel[index]
        return standardised(out, mean, std, settings.deltas)

    def statistics(self, indices: np.ndarray | Sequence[int]) -> dict[str, float]:
        """`mean`, `std`, `min`, `max` over all log-Mel values of these segments, read piece by piece."""
        numbers = np.asarray(indices)
        return moments(self.logmel[numbers[i : i + 1024]] for i in range(0, len(numbers), 1024))


def moments(pieces: Iterable[np.ndarray]) -> dict[str, float]:
    """`mean`, `std`, `min`, `max` over all numbers of arrays (n, …), none of them empty, in float64."""
    count, about, total, squares, low, high = 0, 0.0, 0.0, 0.0, np.inf, -np.inf
    for values in pieces:
        if not count:  # sums of squares about a value near the mean lose nothing to cancellation
            about = float(values[0].mean(dtype=np.float64))
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        values = values.astype(np.float64) - about
        count += values.size
        total += float(values.sum())
        squares += float(np.vdot(values, values))
    mean = total / count
    std = float(np.sqrt(max(0.0, squares / count - mean * mean)))
    return {"mean": about + mean, "std": std, "min": low, "max": high}


def standardised(x: np.ndarray, mean: float, std: float, deltas: str | None) -> np.ndarray:
    """Log-Mel-spectrograms (b, channels, n_mels, n_frames), in place: the first channel less `mean` and over `std`;
    the second, with `deltas`, is the delta of that."""
    if (mean, std) != (0.0, 1.0):
        x[:, 0] -= np.float32(mean)
        x[:, 0] *= np.float32(1 / std)
    if deltas is not None:
        x[:, 1] = delta(x[:, 0], kind=deltas)
    return x


def open_cache(folder: str | Path) -> Segments:
    """Open a cache folder that `prepare` has written, on this machine or another; the sound files are not needed.

    Raises `InputError` where the folder holds no cache, one of another version, or a damaged one.
    """
    folder = Path(folder)
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        if meta["version"] != VERSION:
            raise InputError(f"{folder} is a cache of version {meta['version']}, not {VERSION}: prepare the data again")
        settings = SoundSettings.from_dict(meta["settings"])
        augmentation = Augmentation.from_dict(meta["augmentation"]) if "augmentation" in meta else None
        with np.load(folder / INDEX, allow_pickle=False) as index:
            arrays = {name: index[name] for name in ARRAYS + (VARIANT,) * (augmentation is not None)}
        n = len(arrays["start"])
        waveform = _map(folder / WAVEFORM, (meta["samples"],))
        logmel = _map(folder / LOGMEL, (n, settings.n_mels, settings.n_frames))
        _check(arrays, meta, settings, augmentation)
        return Segments(
            waveform=waveform,
            logmel=logmel,
            settings=settings,
            clips=list(meta["clips"]),
            contents=list(meta["contents"]),
            skipped=[(path, reason) for path, reason in meta["skipped"]],
            fingerprint=meta["fingerprint"],
            classes=tuple(meta["classes"]),
            codes=tuple(meta["codes"]),
            name=meta["name"],
            folder=folder,
            augmentation=augmentation,
            **{VARIANT: np.zeros(n, np.int64), **arrays},
        )
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{folder} holds no prepared data ({error.filename} is missing): prepare it again") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{folder} is a damaged cache ({error}): remove it and prepare the data again") from error


def _map(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The file as a read-only float32 array of exactly this shape."""
    size = 4 * int(np.prod(shape))
    if path.stat().st_size != size:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes, not {size}")
    return np.memmap(path, np.float32, "r", shape=shape)


def _check(
    arrays: dict[str, np.ndarray], meta: dict, settings: SoundSettings, augmentation: Augmentation | None
) -> None:
    """Nothing may point outside: a wrong index would hand out another clip's sound without a word."""
    n, clips = len(arrays["start"]), len(meta["clips"])
    if len(meta["contents"]) != clips:
        raise ValueError(f"{len(meta['contents'])} digests of {clips} files")
    per_clip = ("clip_label", "clip_fold")
    for name, values in arrays.items():
        if values.shape != ((clips,) if name in per_clip else (n,)):
            raise ValueError(f"{name} has shape {values.shape}")
    bounds = [
        ("start", meta["samples"] - settings.segment_length + 1),
        ("clip", clips),
        ("label", len(meta["classes"])),
    ]
    if augmentation is not None:
        bounds.append((VARIANT, augmentation.variants + 1))
    for name, bound in bounds:
        if n == 0 or arrays[name].min() < 0 or arrays[name].max() >= bound:
            raise ValueError(f"{name} points outside")
