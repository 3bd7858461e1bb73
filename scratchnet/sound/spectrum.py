"""The two passes around the FFT of eq. 1: frames times window before it, |·|² after it."""

from __future__ import annotations

import numpy as np

from scratchnet.compiled import compiled


def _window_frames(x: np.ndarray, window: np.ndarray, hop_length: int, out: np.ndarray) -> None:
    """out[t, l] = x[t · hop_length + l] · window[l].   x (n,), out (frames, n_fft) float64"""
    for t in range(out.shape[0]):
        frame, row = x[t * hop_length :], out[t]
        for i in range(len(window)):
            row[i] = frame[i] * window[i]


def _power(spectrum: np.ndarray, out: np.ndarray) -> None:
    """out[t, k] = |spectrum[t, k]|².   complex128 → float32"""
    for t in range(out.shape[0]):
        for k in range(out.shape[1]):
            value = spectrum[t, k]
            out[t, k] = value.real * value.real + value.imag * value.imag


window_frames = compiled(_window_frames)
power = compiled(_power)
