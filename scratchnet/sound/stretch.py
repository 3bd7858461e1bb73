"""Time stretch and pitch shift by the phase vocoder (Flanagan & Golden 1966; Dolson 1986).

Piczak's notebooks stretch with librosa's phase vocoder, so this is one too, of the same values. It is blamed for
smeared attacks; methods that cut waves apart and join them where they match (WSOLA) keep attacks sharper, but double or
swallow some, and break the hum of several pitches at once. The other weakness: overlapping frames fit each other less
well than they did, which costs noise up to half of its energy; a clip is scaled to full range afterwards.

    X[t, k]    the STFT, with hop length Z
    Y[u, k] =  m[u, k] p[u, k]                    the STFT of the stretched sound, with the same hop length
    m[u]    =  |X| at the place u * rate between two frames, interpolated linearly
    p[u+1]  =  p[u] s[j+1] / s[j]                 s = X / |X|, j = floor(u * rate); p[0] = s[0]

A bin has to turn from one frame to the next as it does in the original within one hop, and that is what two
neighbouring frames tell: p is of size 1, whole turns do not matter, and no angle has to be taken or unwrapped.
"""

from __future__ import annotations

import numpy as np

from scratchnet.sound.stft import fft_window, frames
from scratchnet.sound.workers import go_on

N_FFT, HOP_LENGTH = 2048, 512  # librosa's, and so Piczak's
BLOCK_FRAMES = 32  # frames at a time: they stay in the cache, and an hour of sound has no spectrum in memory


def time_stretch(x: np.ndarray, rate: float, n_fft: int = N_FFT, hop_length: int = HOP_LENGTH) -> np.ndarray:
    """x (n,) played `rate` times as fast at the same pitch: (round(n / rate),), same float type.

    The values of `librosa.effects.time_stretch`. Raises `ValueError` for a rate that is not above 0, or an empty x.
    """
    if not rate > 0:
        raise ValueError(f"rate must be above 0, not {rate}")
    length = round(len(x) / rate)
    window = fft_window("hann", n_fft)
    signal = frames(np.asarray(x, np.float64), n_fft, hop_length, center=True, pad_mode="constant")
    places = np.arange(0, len(signal), rate)
    total = n_fft + (len(places) - 1) * hop_length
    out, weight = np.zeros(total), np.zeros(total)
    phase = np.empty(0)  # of the first frame of a block
    for first in range(0, len(places), BLOCK_FRAMES):
        go_on()
        at = places[first : first + BLOCK_FRAMES]
        spectrum = _spectrum(signal, window, int(at[0]), int(at[-1]) + 2)
        if first == 0:
            phase = _direction(spectrum[:1], np.abs(spectrum[:1]))[0]
        stretched, phase = _interpolate(spectrum, at - int(at[0]), phase)
        pieces = np.fft.irfft(stretched, n_fft) * window
        for number, piece in enumerate(pieces, first):
            span = slice(number * hop_length, number * hop_length + n_fft)
            out[span] += piece
            weight[span] += window**2
    # Overlapping windows were applied twice; where none of them reaches, there is no sound either.
    out /= np.where(weight > np.finfo(np.float32).tiny, weight, 1.0)
    out = out[n_fft // 2 :][:length]
    return np.pad(out, (0, length - len(out))).astype(np.result_type(np.asarray(x).dtype, np.float32), copy=False)


def _spectrum(signal: np.ndarray, window: np.ndarray, start: int, stop: int) -> np.ndarray:
    """X[start:stop], (stop - start, bins) complex128; frames behind the last are silent."""
    found = np.fft.rfft(signal[start:stop] * window)
    return np.pad(found, [(0, stop - start - len(found)), (0, 0)])


def _direction(spectrum: np.ndarray, size: np.ndarray) -> np.ndarray:
    """X / |X|, and 1 where X is 0."""
    return np.divide(spectrum, size, out=np.ones_like(spectrum), where=size > 0)


def _interpolate(spectrum: np.ndarray, at: np.ndarray, phase: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Y at the places `at` (b,) between the frames of `spectrum`, and the phase of the place after them."""
    left = at.astype(np.int64)
    share = (at - left)[:, None]
    size = np.abs(spectrum)
    direction = _direction(spectrum, size)
    turns = direction[1:] * direction[:-1].conj()
    phases = np.cumprod(np.concatenate([phase[None], turns[left]]), axis=0)
    magnitude = (1 - share) * size[left] + share * size[left + 1]
    return magnitude * phases[:-1], phases[-1] / np.abs(phases[-1])  # so that its size never drifts from 1


def pitch_shift(x: np.ndarray, sample_rate: float, semitones: float) -> np.ndarray:
    """x (n,) higher by so many semitones (lower where negative), of the same length and float type.

    Stretched to the length at which playing it faster, that is resampling, gives the wanted pitch: the values of
    `librosa.effects.pitch_shift`. Raises `ValueError` for an empty x.
    """
    import soxr

    factor = 2.0 ** (semitones / 12)
    slow = time_stretch(x, 1 / factor)
    shifted = soxr.resample(slow, sample_rate * factor, sample_rate, quality="HQ")[: len(x)]
    return np.pad(shifted, (0, len(x) - len(shifted)))
