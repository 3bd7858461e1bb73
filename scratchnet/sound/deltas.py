"""Deltas: how the log-Mel-spectrogram changes in time, PiczakNet's second channel where asked for."""

from __future__ import annotations

import numpy as np


def delta(data: np.ndarray, width: int = 9, kind: str = "savgol") -> np.ndarray:
    """The local slope of data (..., frames) over `width` frames along the last axis; same shape and float type.

    "savgol": the Savitzky-Golay derivative of first order with fitted borders, as `librosa.feature.delta` has it today.
    "librosa031": what librosa 0.3.1 did, and so Piczak's notebooks; see `causal_delta`.
    Raises `ValueError` for an even width, another kind, or fewer frames than the width ("savgol").
    """
    if width < 3 or width % 2 == 0:
        raise ValueError(f"width must be odd and at least 3, not {width}")
    if kind == "librosa031":
        return causal_delta(data, width)
    if kind != "savgol":
        raise ValueError(f'kind must be "savgol" or "librosa031", not {kind!r}')
    if data.shape[-1] < width:
        raise ValueError(f"{data.shape[-1]} frames are fewer than the width {width}")
    # The least-squares line over 2h + 1 points has the slope sum_k k x[t + k] / sum_k k^2. At a border the line of
    # the outermost whole window is prolonged, so its slope is repeated.
    half = width // 2
    slopes = np.arange(-half, half + 1) / np.sum(np.arange(-half, half + 1) ** 2)
    inner = _correlate(data, slopes)
    edges = [(0, 0)] * (data.ndim - 1) + [(half, half)]
    return np.pad(inner, edges, mode="edge")


def causal_delta(data: np.ndarray, width: int = 9) -> np.ndarray:
    """librosa 0.3.1's delta: y[t] = sum_k (h - k) x[t - k], k = 0 .. 2h, h = width // 2. Not scaled, and it lags.

    Before its first frame the signal repeats that frame h + 1 times and is zero earlier still, as the filter there
    started from rest: the first frames of the delta therefore depend on the level of the signal, not only its slope.
    """
    half = width // 2
    before = [(0, 0)] * (data.ndim - 1)
    padded = np.pad(data, before + [(half + 1, 0)], mode="edge")
    padded = np.pad(padded, before + [(half - 1, 0)])
    return _correlate(padded, np.arange(-half, half + 1.0))


def _correlate(data: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """sum_k weights[k] data[..., t + k] where the window fits: (..., n) -> (..., n - len(weights) + 1)."""
    n = data.shape[-1] - len(weights) + 1
    out = np.zeros(data.shape[:-1] + (n,), np.result_type(data.dtype, np.float32))
    for k, weight in enumerate(weights):
        out += out.dtype.type(weight) * data[..., k : k + n]
    return out
