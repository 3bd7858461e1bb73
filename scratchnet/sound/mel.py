"""Eq. 2: the Mel filter bank and the log-Mel-spectrogram.

    M[m, t] = 10 log10 <S_t, Delta_m>

where Delta_m is the m-th triangle of the filter bank, on the Mel scale of Slaney's Auditory Toolbox (linear under
1 kHz, logarithmic above), each of area 1. Names, shapes and values are librosa's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from scratchnet.blas import one_blas_thread
from scratchnet.sound.settings import SoundSettings
from scratchnet.sound.stft import Window, fft_window, frame_count, pad
from scratchnet.sound.workers import cores, go_on, ordered_map

Band = tuple[slice, slice, np.ndarray]

BLOCK_FRAMES = 64  # frames transformed at a time (a segment has 41): they stay in the second-level cache
BANDS = 4  # groups of neighbouring triangles, each multiplied with the bins under it alone
PARALLEL_ROWS = 64  # a batch this large is shared between the cores


def hz_to_mel(hz: np.ndarray | float, htk: bool = False) -> np.ndarray:
    """Slaney's scale: 3 Mel per 200 Hz up to 1 kHz, then 27 Mel per factor of 6.4; HTK's: 2595 log10(1 + f / 700)."""
    hz = np.asarray(hz, dtype=np.float64)
    if htk:
        return 2595.0 * np.log10(1.0 + hz / 700.0)
    return np.where(hz < 1000.0, 3.0 * hz / 200.0, 15.0 + 27.0 * np.log(np.maximum(hz, 1e-3) / 1000.0) / np.log(6.4))


def mel_to_hz(mel: np.ndarray | float, htk: bool = False) -> np.ndarray:
    """The inverse of `hz_to_mel`."""
    mel = np.asarray(mel, dtype=np.float64)
    if htk:
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    return np.where(mel < 15.0, 200.0 * mel / 3.0, 1000.0 * 6.4 ** ((mel - 15.0) / 27.0))


def mel_filters(
    sr: float = 22050,
    n_fft: int = 1024,
    n_mels: int = 60,
    fmin: float = 0.0,
    fmax: float | None = None,
    htk: bool = False,
    norm: str | None = "slaney",
    dtype: Any = np.float32,
) -> np.ndarray:
    """The triangles Delta_m of eq. 2, (n_mels, 1 + n_fft // 2); the values of `librosa.filters.mel`.

    `norm="slaney"` gives each triangle area 1 (2 / its width in Hz), None gives peak 1. Raises `ValueError` for
    another norm, or where fmax does not lie above fmin.
    """
    fmax = sr / 2 if fmax is None else fmax
    if not 0 <= fmin < fmax:
        raise ValueError(f"fmin = {fmin} and fmax = {fmax}: 0 <= fmin < fmax must hold")
    if norm not in ("slaney", None):
        raise ValueError(f'norm must be "slaney" or None, not {norm!r}')
    bins = np.arange(1 + n_fft // 2) * (sr / n_fft)
    # n_mels + 2 corners, evenly spaced in Mel: triangle m rises from corner m to m + 1 and falls to m + 2.
    corners = mel_to_hz(np.linspace(hz_to_mel(fmin, htk), hz_to_mel(fmax, htk), n_mels + 2), htk)
    left, middle, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    triangles = np.maximum(0.0, np.minimum((bins - left) / (middle - left), (right - bins) / (right - middle)))
    if norm == "slaney":
        triangles *= 2.0 / (right - left)
    return triangles.astype(dtype)


_named_window = lru_cache(maxsize=8)(fft_window)


@lru_cache(maxsize=8)
def _bands(*options: Any) -> list[Band]:
    """`mel_filters`, kept, in BANDS: which triangles, the bins under them, their weights there.

    A bin lies under two triangles at most, so nearly all of the bank is zero: the bands leave three quarters of it out.
    """
    bank, pieces = mel_filters(*options), []
    for mels in np.array_split(np.arange(len(bank)), min(BANDS, len(bank))):
        rows = slice(int(mels[0]), int(mels[-1]) + 1)
        under = np.flatnonzero(bank[rows].any(axis=0))
        bins = slice(int(under[0]), int(under[-1]) + 1) if len(under) else slice(0, 0)
        pieces.append((rows, bins, np.ascontiguousarray(bank[rows, bins])))
    return pieces


@np.errstate(all="ignore")  # BLAS with Arm's SME raises flags for nothing
def _mel_rows(
    x: np.ndarray, out: np.ndarray, bands: list[Band], window: np.ndarray, hop_length: int, center: bool,
    pad_mode: str, power: float,
) -> None:  # fmt: skip
    """Mel power of x (rows, n) into out (rows, n_mels, frames), block by block."""
    from scratchnet.sound import spectrum as passes  # here: Numba takes a moment to load

    n_fft, n_frames = len(window), out.shape[2]
    block = max(1, min(BLOCK_FRAMES, n_frames))
    windowed = np.empty((block, n_fft))
    spectrum = np.empty((block, n_fft // 2 + 1), np.complex128)
    energy = np.empty((block, n_fft // 2 + 1), np.float32)
    for row, result in zip(x, out):
        go_on()
        signal = pad(row, n_fft, center, pad_mode)
        for first in range(0, n_frames, block):
            count = min(block, n_frames - first)
            passes.window_frames(signal[first * hop_length :], window, hop_length, windowed[:count])
            passes.power(np.fft.rfft(windowed[:count], out=spectrum[:count]), energy[:count])
            if power != 2.0:
                np.power(energy[:count], power / 2.0, out=energy[:count])
            for mels, bins, weights in bands:
                np.matmul(weights, energy[:count, bins].T, out=result[mels, first : first + count])


def melspectrogram(
    x: np.ndarray,
    sr: float = 22050,
    n_fft: int = 1024,
    hop_length: int = 512,
    win_length: int | None = None,
    window: Window = "hann",
    center: bool = True,
    pad_mode: str = "reflect",
    power: float = 2.0,
    n_mels: int = 60,
    fmin: float = 0.0,
    fmax: float | None = None,
    htk: bool = False,
    norm: str | None = "slaney",
    n_frames: int | None = None,
    workers: int | None = None,
) -> np.ndarray:
    """<S_t, Delta_m> of eq. 2 before the logarithm: (..., n) -> (..., n_mels, frames), float32.

    The values of `librosa.feature.melspectrogram` (whose own `pad_mode` is "constant"), over any leading axes.
    `n_frames` keeps the first frames alone; `workers` is the number of threads for a large batch (None: the cores).
    Raises `ValueError` as `stft` and `mel_filters` do, and for less than one worker.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    x = np.asarray(x)
    if x.dtype.kind == "f" and x.dtype not in (np.float32, np.float64):  # float16, a foreign byte order
        x = x.astype(np.float64)
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    bands = _bands(sr, n_fft, n_mels, fmin, fmax, htk, norm)
    make_window = _named_window if isinstance(window, str) else fft_window
    values = make_window(window, n_fft, win_length)  # type: ignore[arg-type]
    available = frame_count(x.shape[-1], n_fft, hop_length, center)
    n_frames = available if n_frames is None else min(n_frames, available)
    out = np.empty((len(rows), n_mels, n_frames), np.float32)
    workers = (cores() if len(rows) >= PARALLEL_ROWS else 1) if workers is None else workers

    def fill(part: slice) -> None:
        _mel_rows(rows[part], out[part], bands, values, hop_length, center, pad_mode, power)

    if workers == 1:
        fill(slice(0, len(rows)))
    else:
        size = max(1, -(-len(rows) // (4 * workers)))
        with one_blas_thread():
            list(ordered_map(fill, [slice(i, i + size) for i in range(0, len(rows), size)], workers))
    return out.reshape(*x.shape[:-1], n_mels, n_frames)


def power_to_db(
    s: np.ndarray,
    ref: float | Callable[[np.ndarray], float] = 1.0,
    amin: float = 1e-10,
    top_db: float | None = 80.0,
    axis: Any = None,
) -> np.ndarray:
    """Powers s, of any shape, in dB: 10 log10(max(s, amin) / |ref|), cut at `top_db` under the maximum.

    `axis`: those that the maximum is taken along; None: it is the array's.
    `ref`: a number, or a function of the whole array such as `np.max`.
    Raises `ValueError` for an `amin` that is not positive, or a negative `top_db`.
    """
    if not amin > 0:
        raise ValueError(f"amin must be above 0, not {amin}")
    ref = abs(ref(s) if callable(ref) else ref)
    db = np.log10(np.maximum(s, amin))
    db *= 10.0
    if max(ref, amin) != 1.0:
        db -= 10.0 * np.log10(max(ref, amin))
    if top_db is not None:
        if top_db < 0:
            raise ValueError(f"top_db must be at least 0, not {top_db}")
        out = db if isinstance(db, np.ndarray) else None  # of a single number it is none
        return np.maximum(db, db.max(axis=axis, keepdims=True) - top_db, out=out)
    return db


def log_melspectrogram(
    x: np.ndarray,
    sr: float = 22050,
    ref: float | Callable[[np.ndarray], float] = 1.0,
    amin: float = 1e-10,
    top_db: float | None = 80.0,
    **mel: Any,
) -> np.ndarray:
    """Eq. 2 in dB: (..., n) -> (..., n_mels, frames), float32; `mel` goes to `melspectrogram`.

    Each signal of a batch is cut at `top_db` under its own maximum, after any cut to `n_frames`, and has its own `ref`
    where that is a function: `librosa.power_to_db(librosa.feature.melspectrogram(...))`, signal by signal.
    Raises `ValueError` as `melspectrogram` and `power_to_db` do.
    """
    s = melspectrogram(x, sr, **mel)
    if callable(ref):
        signals = s.reshape(-1, *s.shape[-2:])
        return np.array([power_to_db(signal, ref, amin, top_db) for signal in signals], s.dtype).reshape(s.shape)
    return power_to_db(s, ref, amin, top_db, axis=(-2, -1))


def segment_log_mel(segments: np.ndarray, settings: SoundSettings, workers: int | None = None) -> np.ndarray:
    """The networks' spectrograms: segments (b, segment_length) -> (b, n_mels, n_frames), in dB, C-contiguous.

    As the paper's code has it: centred frames with reflected borders, 42 of them cut to 41, and only then the floor
    of `top_db` under the segment's maximum.
    """
    return log_melspectrogram(
        segments, settings.sample_rate, 1.0, settings.amin, settings.top_db, n_fft=settings.n_fft,
        hop_length=settings.hop_length, window=settings.window, center=settings.center, n_mels=settings.n_mels,
        n_frames=settings.n_frames, workers=workers,
    )  # fmt: skip
