"""The synthetic data set: ten urban sounds in random scenes, written as WAV files in UrbanSound8K's own layout.

A clip is a sound (`urban_sounds`) coloured at random, in a room, over background noise, through a random microphone,
brought to a random crest factor and peak. All but the sound is drawn alike for every class, so that neither length,
loudness, background nor long-time colour alone tells a class. Each clip has its own random stream, so that a set
depends on its seed and size only, not on the number of workers.
"""

from __future__ import annotations

import csv
import functools
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scratchnet.cache_folder import cache_folder
from scratchnet.data import synthesis, urban_sounds
from scratchnet.data.synthesis import (
    SAMPLE_RATE,
    convolved,
    decibels,
    equalizer,
    filtered,
    harmonics,
    noise,
    phase_of,
    times,
    unit_rms,
    wander,
)
from scratchnet.data.urban_sounds import SOUNDS
from scratchnet.drafts import draft_of
from scratchnet.errors import InputError
from scratchnet.sound.workers import cores

CLASSES = tuple(SOUNDS)
FOLDS = tuple(range(1, 11))
COLUMNS = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")
CLIPS_PER_CLASS = 60


class Recording(NamedTuple):
    """One clip: samples (n,) float32 within ±1, and the signal-to-noise ratio in dB that it was mixed at."""

    samples: np.ndarray
    snr: float


def background(rng: np.random.Generator, n: int) -> np.ndarray:
    """(n,) what else is to be heard, unit RMS: coloured noise, often with mains hum or the murmur of a street."""
    x = noise(rng, n, rng.uniform(0.5, 1.5))
    if rng.random() < 0.3:
        hum = harmonics(phase_of(np.full(n, rng.choice([50.0, 60.0]))), rng.uniform(0, 1, 8))
        x += rng.uniform(0.2, 0.8) * unit_rms(hum)
    if rng.random() < 0.4:
        murmur = filtered(noise(rng, n, 1), synthesis.body(rng, 150, 1500, 4, floor=0.05))
        x += rng.uniform(0.3, 1.0) * unit_rms(murmur) * (1 + 0.7 * wander(rng, n, 4))
    return unit_rms(x)


def room(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """x with early reflections and an exponentially dying echo, from nearly dry to lively."""
    t = times(int(0.4 * SAMPLE_RATE))
    response = rng.standard_normal(len(t)) * np.exp(-6.9 * t / rng.uniform(0.08, 0.4))
    response *= rng.uniform(0, 0.4) / np.linalg.norm(response)
    response[rng.integers(100, 900, 3)] += rng.uniform(-0.3, 0.3, 3)
    response[0] = 1
    return convolved(x, response)


def with_crest(rng: np.random.Generator, x: np.ndarray, crest: float) -> np.ndarray:
    """x brought to a crest factor (peak over RMS, dB), by the recorder's gain.

    Too spiky, it is limited softly; too even, its level swells as when a source passes by. Without this, the peak
    normalisation that follows in training would leave shots quiet and fans loud.
    """
    swell = wander(rng, len(x), 1.0)
    target = float(decibels(crest))
    peak = np.max(np.abs(x))
    spiky = bool(peak > target * np.sqrt(np.mean(np.square(x))))

    def ride(x: np.ndarray, swell: np.ndarray, amount: float) -> np.ndarray:
        return np.tanh(amount / peak * x) if spiky else x * np.exp(amount * swell)

    # Bisection. Every fourth sample is enough to measure by; what it misses of the peak is a fraction of a dB.
    few, few_swell = x[::4], swell[::4]
    low, high = (np.log(1e-2), np.log(1e2)) if spiky else (np.log(1e-2), np.log(6.0))
    for _ in range(12):
        middle = float(np.exp(0.5 * (low + high)))
        y = ride(few, few_swell, middle)
        loudest = np.tanh(middle) if spiky else np.max(np.abs(y))
        if (loudest > target * np.sqrt(np.mean(np.square(y)))) == spiky:  # limit harder, or swell more
            low = np.log(middle)
        else:
            high = np.log(middle)
    return ride(x, swell, middle)


def record(rng: np.random.Generator, label: int, duration: float | None = None) -> Recording:
    """Record a clip of class `label` in a random scene; `duration` in seconds is drawn from 1 to 4 unless told."""
    if duration is None:
        duration = 1 + 3 * rng.beta(1, 2)
    n = int(duration * SAMPLE_RATE)
    sound = unit_rms(room(rng, filtered(SOUNDS[CLASSES[label]](rng, n), equalizer(rng, 1.5, 3, 4))))
    snr = rng.uniform(8, 22)
    x = sound + background(rng, n) / decibels(snr)
    x = filtered(x, equalizer(rng, 1, 2, 3))
    x = with_crest(rng, unit_rms(x), rng.uniform(10, 14))
    return Recording((x * decibels(rng.uniform(-12, -1)) / np.max(np.abs(x))).astype(np.float32), snr)


@functools.cache
def version() -> str:
    """The generator's version, from its own source text: a changed generator makes a new set."""
    digest = hashlib.sha256()
    for module in (synthesis.__file__, urban_sounds.__file__, __file__):
        digest.update(Path(module).read_bytes())
    return digest.hexdigest()[:10]


def default_root(*, seed: int = 0, clips_per_class: int = CLIPS_PER_CLASS) -> Path:
    """Where the set of these settings lives in the user's cache."""
    return cache_folder() / f"synthetic-{version()}-seed{seed}-{clips_per_class}"


def make(
    root: str | Path | None = None,
    *,
    seed: int = 0,
    clips_per_class: int = CLIPS_PER_CLASS,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Make the data set once and return its folder; a folder that already holds a set is returned untouched.

    root: the folder (None: `default_root`). clips_per_class: over all ten folds, dealt out evenly. workers: threads
    (None: one a core). progress: called as progress(clips done, clips in all).
    The set appears whole or not at all: it is written beside `root` and renamed.
    Raises InputError where `root` holds something else, or a number makes no sense.
    """
    root = Path(default_root(seed=seed, clips_per_class=clips_per_class) if root is None else root)
    if clips_per_class < 1:
        raise InputError(f"clips_per_class is {clips_per_class}: ask for at least 1")
    if seed < 0:
        raise InputError(f"seed is {seed}: take 0 or more")
    if _is_whole(root):
        return root
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(f"{root} exists and holds no synthetic data set: name a new or empty folder")
    import soundfile

    try:
        _make(root, seed, clips_per_class, workers, progress)
    except (OSError, soundfile.SoundFileError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{root} cannot be written ({reason}): name another place with SCRATCHNET_CACHE") from error
    return root


def _make(
    root: Path, seed: int, clips_per_class: int, workers: int | None, progress: Callable[[int, int], None] | None
) -> None:
    with draft_of(root) as draft:
        if _is_whole(root):  # by another process, meanwhile
            return
        _write(draft, seed, clips_per_class, workers, progress)
        draft.chmod(0o755)
        try:
            draft.replace(root)
        except OSError:  # another process was faster: its set is the same
            if not _is_whole(root):
                raise


def _is_whole(root: Path) -> bool:
    return (root / "metadata" / "UrbanSound8K.csv").is_file()


def _write(
    root: Path, seed: int, clips_per_class: int, workers: int | None, progress: Callable[[int, int], None] | None
) -> None:
    import soundfile

    (root / "metadata").mkdir()
    for fold in FOLDS:
        (root / "audio" / f"fold{fold}").mkdir(parents=True)
    plan = [(label, clip) for clip in range(clips_per_class) for label in range(len(CLASSES))]

    def write_clip(item: tuple[int, int]) -> tuple:
        label, clip = item
        rng = np.random.default_rng([seed, label, clip])
        samples, snr = record(rng, label)
        fold = FOLDS[clip % len(FOLDS)]
        source = 100000 + clip * len(CLASSES) + label  # one recording, one clip: no recording spans two folds
        name = f"{source}-{label}-0-0.wav"
        soundfile.write(root / "audio" / f"fold{fold}" / name, samples, SAMPLE_RATE, subtype="PCM_16")
        start = rng.uniform(0, 30)
        end = start + len(samples) / SAMPLE_RATE
        return name, source, f"{start:.6f}", f"{end:.6f}", 1 if snr >= 10 else 2, fold, label, CLASSES[label]

    rows = []
    with ThreadPoolExecutor(workers or cores()) as pool:
        for row in pool.map(write_clip, plan):
            rows.append(row)
            if progress is not None:
                progress(len(rows), len(plan))
    with open(root / "metadata" / "UrbanSound8K.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        table.writerows(sorted(rows))
