"""Eq. 1: the short-time Fourier transform, by the FFT.

    S[t, k] = | sum_l x[t Z + l] w[l] exp(-2 pi i k l / L) |^2          (the paper's eq. 1 counts from 1 and has w = 1)

with hop length Z and kernel length L = n_fft. The paper keeps all F = 1024 bins k; for real x the bins above L/2 are
the mirror of those below, so 1 + L/2 = 513 hold everything. `convolution.py` has the same sum as a convolution.

The transform runs in float64: in float32, the rounding of a loud bin would show 80 dB under it.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Window = str | np.ndarray


def get_window(window: Window, length: int) -> np.ndarray:
    """The window's `length` values, float64: "hann" (periodic), "rectangular", any name of scipy's, or an array.

    Raises ValueError for an array of another length, or a name that SciPy does not know.
    """
    if not isinstance(window, str):
        values = np.asarray(window, dtype=np.float64)
        if values.shape != (length,):
            raise ValueError(f"window has shape {values.shape}, but must have shape ({length},)")
        return values
    if window == "rectangular":
        return np.ones(length)
    if window == "hann":
        return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    from scipy.signal import get_window as scipy_window

    return scipy_window(window, length, fftbins=True)


def fft_window(window: Window, n_fft: int, win_length: int | None = None) -> np.ndarray:
    """The window of `win_length` values (None: n_fft), zero-padded on both sides to n_fft.

    Raises ValueError for a win_length outside 1 … n_fft.
    """
    win_length = n_fft if win_length is None else win_length
    if not 1 <= win_length <= n_fft:
        raise ValueError(f"win_length must lie between 1 and n_fft = {n_fft}, not {win_length}")
    values = get_window(window, win_length)
    left = (n_fft - win_length) // 2
    return np.pad(values, (left, n_fft - win_length - left))


def frame_count(n: int, n_fft: int, hop_length: int, center: bool) -> int:
    """Frames of n samples. Raises `ValueError` where there is none."""
    if n == 0:
        raise ValueError("x holds no sample")
    if hop_length < 1:
        raise ValueError(f"hop_length must be at least 1, not {hop_length}")
    if not center and n < n_fft:
        raise ValueError(f"x has {n} samples, fewer than n_fft = {n_fft}: pad it, or use center=True")
    return 1 + (n + center * 2 * (n_fft // 2) - n_fft) // hop_length


def pad(x: np.ndarray, n_fft: int, center: bool, pad_mode: str) -> np.ndarray:
    """x (..., n), contiguous, with n_fft // 2 samples more on both sides where frames are centred."""
    half = n_fft // 2
    if center and pad_mode == "reflect" and x.shape[-1] > half:  # as np.pad below, which is slower
        x = np.concatenate([x[..., half:0:-1], x, x[..., -2 : -half - 2 : -1]], axis=-1)
    elif center:
        x = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(half, half)], mode=pad_mode)  # type: ignore[call-overload]
    return np.ascontiguousarray(x)


def frames(x: np.ndarray, n_fft: int, hop_length: int, center: bool, pad_mode: str) -> np.ndarray:
    """The windows x_t of eq. 1 as a view: (..., n) -> (..., frames, n_fft). Centred: n_fft // 2 samples of padding."""
    frame_count(x.shape[-1], n_fft, hop_length, center)
    return sliding_window_view(pad(x, n_fft, center, pad_mode), n_fft, axis=-1)[..., ::hop_length, :]


def stft(
    x: np.ndarray,
    n_fft: int = 1024,
    hop_length: int = 512,
    win_length: int | None = None,
    window: Window = "hann",
    center: bool = True,
    pad_mode: str = "reflect",
) -> np.ndarray:
    """The complex sum inside eq. 1: (..., n) -> (..., 1 + n_fft // 2, frames), complex64 (complex128 for float64 x).

    Values and shapes are `librosa.stft`'s (whose own `pad_mode` is "constant"). Frames: 1 + n // hop_length where
    centred, 1 + (n - n_fft) // hop_length where not; of an odd n_fft 1 + (n - 1) // hop_length where centred. Raises
    `ValueError` for an empty x, one shorter than n_fft where not centred, a window longer than n_fft, or a hop_length
    under 1.
    """
    x = np.asarray(x)
    spectrum = np.fft.rfft(frames(x, n_fft, hop_length, center, pad_mode) * fft_window(window, n_fft, win_length))
    return np.swapaxes(spectrum.astype(np.result_type(x.dtype, np.complex64), copy=False), -1, -2)
