"""Noise for test clips: white, pink, or another clip, at a signal-to-noise ratio; a clip always gets the same."""

from __future__ import annotations

from zlib import crc32

import numpy as np

from scratchnet.data.synthesis import noise as coloured

NOISES = ("white", "pink", "background")
SNRS = (20, 10, 5, 0)  # dB
Clips = dict[str, tuple[np.ndarray, int]]  # path -> (waveform, class)


def mix(signal: np.ndarray, noise: np.ndarray, snr: float) -> np.ndarray:
    """signal + g · noise, (n,) both, g such that 10 log10(power of signal / power of g · noise) = snr.

    Raises ValueError where the noise is silent.
    """
    power = np.mean(np.square(noise, dtype=np.float64))
    if power == 0:
        raise ValueError("silent noise reaches no signal-to-noise ratio")
    wanted = np.mean(np.square(signal, dtype=np.float64)) / 10 ** (snr / 10)
    return (signal + np.sqrt(wanted / power) * noise).astype(np.float32)


def looped(x: np.ndarray, n: int, start: int) -> np.ndarray:
    """n samples of x from `start` on, again from its beginning where it ends."""
    return np.resize(np.roll(x, -start), n)


def noise_for(kind: str, name: str, clips: Clips, seed: int) -> np.ndarray:
    """The noise of clip `name`, as long as it: a pure function of these arguments.

    Raises ValueError where no clip of another class could be the background.
    """
    signal, label = clips[name]
    rng = np.random.default_rng([seed, NOISES.index(kind), crc32(name.encode())])
    if kind != "background":
        return coloured(rng, len(signal), NOISES.index(kind))  # power falls with f^-0: white, f^-1: pink
    others = [other for other, (_, its) in sorted(clips.items()) if its != label]
    if not others:
        raise ValueError(f"{name}: there is no clip of another class to be its background")
    x, _ = clips[others[rng.integers(len(others))]]
    part = looped(x, len(signal), int(rng.integers(len(x))))
    return part if part.any() else looped(x, len(signal), int(np.abs(x).argmax()))
