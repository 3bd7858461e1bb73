"""Eq. 1 and 2 as convolutions: the definition that DeepFourier starts from (section 2.1 of the paper).

Eq. 1 slides F kernels over the waveform with stride Z: a 1D convolution. Its k-th kernel is v(k, .), a complex
exponential; as networks have real weights, each becomes a cosine and a sine. Eq. 2 is a convolution with kernels
of one frame: the triangles. `stft.py` and `mel.py` compute the same sums by the FFT, some ten times faster.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchnet.sound.mel import mel_filters
from scratchnet.sound.stft import Window, fft_window, frames


def fourier_kernels(n_fft: int = 1024, window: Window = "hann", dtype: Any = np.float32) -> np.ndarray:
    """v(k, l) = w(l) exp(-2 pi i k l / L) of eq. 1 as weights of a Conv1D: (2 * bins, 1, n_fft), bins = 1 + n_fft // 2.

    Rows 0 .. bins-1 are the real parts (cosines), rows bins .. 2 bins - 1 the imaginary parts (minus sines).
    """
    k, l = np.arange(1 + n_fft // 2)[:, None], np.arange(n_fft)  # noqa: E741 - the paper's letters
    # k l mod L: the angle's whole turns are taken off in integers, so that no precision is lost to large angles
    angle = -2.0 * np.pi * (k * l % n_fft) / n_fft
    kernels = np.concatenate([np.cos(angle), np.sin(angle)]) * fft_window(window, n_fft)
    return kernels[:, None, :].astype(dtype)


def mel_kernels(
    sr: float = 22050, n_fft: int = 1024, n_mels: int = 60, dtype: Any = np.float32, **options: Any
) -> np.ndarray:
    """Delta_m of eq. 2 as weights of a Conv1D over frames, the bins being its channels: (n_mels, bins, 1)."""
    return mel_filters(sr, n_fft, n_mels, dtype=dtype, **options)[:, :, None]


def strided_convolution(x: np.ndarray, kernels: np.ndarray, stride: int) -> np.ndarray:
    """sum_l x[t * stride + l] kernels[o, 0, l]: x (..., n), kernels (o, 1, l) -> (..., o, frames), as Conv1D has it."""
    windows = frames(x, kernels.shape[-1], stride, center=False, pad_mode="reflect")
    return np.swapaxes(windows @ kernels[:, 0].T, -1, -2)


def power_spectrogram(
    x: np.ndarray,
    n_fft: int = 1024,
    hop_length: int = 512,
    window: Window = "hann",
    center: bool = True,
    dtype: Any = np.float64,
) -> np.ndarray:
    """S of eq. 1, word for word: (..., n) -> (..., 1 + n_fft // 2, frames)."""
    x = np.asarray(x, dtype)
    if center:
        x = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(n_fft // 2, n_fft // 2)], mode="reflect")
    parts = strided_convolution(x, fourier_kernels(n_fft, window, dtype), hop_length)
    real, imaginary = np.split(parts, 2, axis=-2)
    return real**2 + imaginary**2


def mel_spectrogram(spectrogram: np.ndarray, kernels: np.ndarray) -> np.ndarray:
    """<S_t, Delta_m> of eq. 2: (..., bins, frames) with (n_mels, bins, 1) -> (..., n_mels, frames)."""
    return kernels[:, :, 0] @ spectrogram
