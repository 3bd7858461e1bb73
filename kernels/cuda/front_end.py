"""The log-Mel-spectrogram on the device: the launcher of log_mel.cu."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from scratchnet.kernels.cuda import device
from scratchnet.kernels.cuda.arrays import BLOCK, int64, real_name


def log_mel(x, filters, window, hop_length, *, center=True, n_frames=None, amin=1e-10, top_db=80.0):
    """Eq. 1 and 2 in dB: x (rows, n) → (rows, n_mels, frames), the values of `scratchnet.sound.log_melspectrogram`.

    filters (n_mels, 1 + n_fft // 2) and window (n_fft,) are host arrays; `center` reflects at both ends; `n_frames`
    keeps the first frames; `top_db` lifts what lies further under a row's maximum (None: nothing).
    Raises ValueError where x is shorter than a frame.
    """
    gpu = device.current()
    x = gpu.xp.ascontiguousarray(x)
    filters, window = np.ascontiguousarray(filters, np.float32), np.ascontiguousarray(window, np.float64)
    (rows, n), n_fft, n_mels = x.shape, len(window), len(filters)
    pad = n_fft // 2 if center else 0
    if n + 2 * pad < n_fft or not n:
        raise ValueError(f"x has {n} samples, fewer than n_fft = {n_fft}")
    frames = 1 + (n + 2 * pad - n_fft) // hop_length
    frames = frames if n_frames is None else min(n_frames, frames)
    db = gpu.empty((rows, n_mels, frames), x.dtype)
    if not db.size:
        return db
    tables = _tables(gpu, filters.tobytes(), n_mels, window.tobytes())
    log2 = n_fft.bit_length() - 1 if n_fft & (n_fft - 1) == 0 else -1
    defines = {"REAL": real_name(x.dtype)}
    words = 2 * n_fft + n_fft // 2 + 1
    shared, scratch = 8 * words, None
    in_global = shared > gpu.shared_limit  # a very long frame
    step = _rows_at_once(rows, frames, words if in_global else 0)
    if in_global:
        shared, scratch = 0, gpu.empty((step * frames * words,), np.float64)
    for row in range(0, rows, step):
        part, out = x[row : row + step], db[row : row + step]
        args = (part, tables[0], tables[1], tables[2], tables[3], out, scratch, int64(n), int64(frames), int64(n_fft),
                int64(hop_length), int64(pad), int64(n_mels), np.float64(amin), np.int32(log2))  # fmt: skip
        gpu.launch("log_mel.cu", "log_mel", len(part) * frames, BLOCK, args, defines, shared)
    if top_db is not None:
        args = db, int64(n_mels * frames), x.dtype.type(top_db)
        gpu.launch("log_mel.cu", "floor_under_peak", rows, BLOCK, args, defines)
    return db


def _rows_at_once(rows, frames, words):
    """So many that a grid counts their frames, and that no more than 1 GB is taken, `words` for each frame."""
    return max(1, min(rows, (2**31 - 1) // frames, 2**27 // max(words * frames, 1)))


@lru_cache(maxsize=8)
def _tables(gpu, filters, n_mels, window):
    """On the device: the window, the roots of unity, the triangles, and where each triangle is not zero."""
    window = np.frombuffer(window, np.float64)
    triangles = np.frombuffer(filters, np.float32).reshape(n_mels, -1)
    angle = 2 * np.pi * np.arange(len(window)) / len(window)
    support = np.empty((n_mels, 2), np.int64)
    for mel, triangle in enumerate(triangles):
        place = np.flatnonzero(triangle)
        support[mel] = (place[0], place[-1] + 1) if len(place) else (0, 0)
    circle = np.stack([np.cos(angle), -np.sin(angle)], axis=1)
    return tuple(gpu.upload(a) for a in (window, circle, triangles, support))
