"""Cutting a clip into the networks' segments: one second each, half overlapping."""

from __future__ import annotations

import numpy as np

from scratchnet.sound.io import normalize_peak
from scratchnet.sound.mel import segment_log_mel
from scratchnet.sound.settings import SMALLEST, SoundSettings


def segment_starts(n: int, settings: SoundSettings) -> np.ndarray:
    """First samples of the whole segments in a clip of n samples, int64; none where the clip is shorter than one."""
    return np.arange(0, max(0, n - settings.segment_length + 1), settings.segment_hop, dtype=np.int64)


def pad_short(x: np.ndarray, settings: SoundSettings) -> np.ndarray:
    """A clip shorter than a segment (n,) is filled up with zeros behind; a longer one is left as it is."""
    missing = settings.segment_length - len(x)
    return np.pad(x, (0, missing)) if missing > 0 else x


Cut = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # what `segment_clip` returns


def segment_clip(x: np.ndarray, settings: SoundSettings) -> Cut:
    """Cut a clip (n,) into segments.

    Returns the clip's samples as they are to be kept (peak-normalised and padded where the settings say so), the
    first sample of every segment that stays (k,), the factor that brings each segment to its final level (k,), and
    the segments' log-Mel-spectrograms (k, n_mels, n_frames). k is 0 only for a short clip under `short="drop"`.

    A segment whose mean log-Mel lies at or under `silence_db` is dropped, but where all would go the loudest stays:
    every clip can be scored.
    """
    if settings.peak == "clip":
        x = normalize_peak(x)
    if settings.short == "pad":
        x = pad_short(x, settings)
    starts = segment_starts(len(x), settings)
    if len(starts) == 0:
        empty = np.empty((0, settings.n_mels, settings.n_frames), np.float32)
        return x, starts, np.empty(0, np.float32), empty
    windows = np.lib.stride_tricks.sliding_window_view(x, settings.segment_length)[:: settings.segment_hop]
    scale = np.ones(len(starts), np.float32)
    if settings.peak == "segment":
        peak = np.abs(windows).max(axis=1)
        scale = (1 / np.where(peak >= SMALLEST, peak, 1)).astype(np.float32)  # of less it would overflow: silence
        windows = windows * scale[:, None]
    logmel = segment_log_mel(windows, settings, workers=1)
    keep = audible(logmel, settings.silence_db)
    return x, starts[keep], scale[keep], logmel[keep]


def audible(logmel: np.ndarray, silence_db: float | None) -> np.ndarray:
    """Which segments (k, n_mels, n_frames) of one clip stay, (k,) bool: those above `silence_db`, or the loudest."""
    if silence_db is None:
        return np.ones(len(logmel), bool)
    level = logmel.mean(axis=(1, 2), dtype=np.float64)
    keep = level > silence_db
    if not keep.any():
        keep[np.argmax(level)] = True
    return keep
