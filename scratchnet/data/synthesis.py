"""The atoms that the synthetic sounds are built from: noise, oscillators, filters, envelopes, events.

Every function works on whole arrays of mono samples at `SAMPLE_RATE`; `rng` is a `numpy.random.Generator`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy import fft

SAMPLE_RATE = 22050

Numbers = Sequence[float] | np.ndarray
Gain = Callable[[np.ndarray], np.ndarray]
"""A filter: frequencies in Hz -> linear gains."""


def decibels(level: Any) -> Any:
    """dB -> linear gain; a number or an array."""
    return 10.0 ** (level / 20.0)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number spread evenly over octaves, as pitches and resonances are."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def unit_rms(x: np.ndarray) -> np.ndarray:
    """x scaled to a root mean square of 1 (silence stays silence)."""
    return x / max(float(np.sqrt(np.mean(np.square(x)))), 1e-9)


def times(n: int) -> np.ndarray:
    """The n sample times in seconds."""
    return np.arange(n) / SAMPLE_RATE


def noise(rng: np.random.Generator, n: int, slope: float = 0.0) -> np.ndarray:
    """(n,) Gaussian noise of unit RMS whose power falls with f^-slope: 0 white, 1 pink, 2 brown."""
    m = fft.next_fast_len(n, real=True)
    frequency = np.maximum(fft.rfftfreq(m, 1 / SAMPLE_RATE), 20.0)
    spectrum = rng.standard_normal((2, len(frequency)))
    return unit_rms(fft.irfft((spectrum[0] + 1j * spectrum[1]) * frequency ** (-slope / 2), m)[:n])


def wander(rng: np.random.Generator, n: int, rate: float) -> np.ndarray:
    """(n,) a smooth random curve within [-1, 1] that turns about `rate` times a second: five slow sines."""
    rates = rate * rng.uniform(0.3, 1.2, 5)
    phases = rng.uniform(0, 2 * np.pi, 5)
    knots = np.arange(0, n + 32, 32)  # 700 a second: slow sines need no more
    curve = np.mean(np.sin(2 * np.pi / SAMPLE_RATE * rates[:, None] * knots + phases[:, None]), axis=0)
    return np.interp(np.arange(n), knots, curve)


def phase_of(frequency: np.ndarray, start: float = 0.0) -> np.ndarray:
    """(n,) the phase in radians of an oscillator with these momentary frequencies in Hz."""
    return start + 2 * np.pi / SAMPLE_RATE * np.cumsum(frequency)


def harmonics(phase: np.ndarray, amplitudes: Numbers) -> np.ndarray:
    """sum_k amplitudes[k-1] sin(k phase), by Clenshaw's recurrence: one cosine and one sine for the whole stack."""
    twice_cosine = 2 * np.cos(phase)
    b1 = np.zeros_like(phase)
    b2 = np.zeros_like(phase)
    for a in reversed(amplitudes):
        b1, b2 = a + twice_cosine * b1 - b2, b1
    return b1 * np.sin(phase)


def audible(amplitudes: np.ndarray, highest_pitch: float) -> np.ndarray:
    """Those harmonics of a stack that stay under 0.45 of the sample rate, so that none folds back."""
    return amplitudes[: max(1, min(len(amplitudes), int(0.45 * SAMPLE_RATE / highest_pitch)))]


def filtered(x: np.ndarray, gain: Gain) -> np.ndarray:
    """x through a zero-phase filter."""
    m = fft.next_fast_len(len(x) + 2048, real=True)
    return fft.irfft(fft.rfft(x, m) * gain(fft.rfftfreq(m, 1 / SAMPLE_RATE)), m)[: len(x)]


def convolved(x: np.ndarray, response: np.ndarray) -> np.ndarray:
    """x convolved with an impulse response, cut to x's length."""
    m = fft.next_fast_len(len(x) + len(response), real=True)
    return fft.irfft(fft.rfft(x, m) * fft.rfft(response, m), m)[: len(x)]


def resonances(centres: Numbers, widths: Numbers, gains: Numbers, floor: float = 0.0) -> Gain:
    """Bell-shaped resonances (Hz, Hz, linear) over a floor: formants, ducts, bodies."""

    def gain(frequency: np.ndarray) -> np.ndarray:
        total = np.full(frequency.shape, floor, dtype=float)
        for centre, width, peak in zip(centres, widths, gains):
            total += peak / (1 + np.square((frequency - centre) / (0.5 * width)))
        return total

    return gain


def body(rng: np.random.Generator, low: float, high: float, count: int, floor: float = 0.2) -> Gain:
    """A random resonating body: `count` resonances between two frequencies in Hz, each 15 to 50 % wide."""
    centres = np.array([log_uniform(rng, low, high) for _ in range(count)])
    return resonances(centres, centres * rng.uniform(0.15, 0.5, count), rng.uniform(0.4, 1.0, count), floor)


def equalizer(rng: np.random.Generator, tilt: float, bumps: int, depth: float) -> Gain:
    """A random colour: a tilt of up to ±`tilt` dB an octave around 1 kHz, and `bumps` broad ±`depth` dB bells.

    It cuts what lies under the audible: no microphone passes a constant pressure.
    """
    slope = rng.uniform(-tilt, tilt)
    centres = rng.uniform(np.log2(80), np.log2(9000), bumps)
    widths = rng.uniform(0.3, 1.0, bumps)
    heights = rng.uniform(-depth, depth, bumps)

    def gain(frequency: np.ndarray) -> np.ndarray:
        octave = np.log2(np.maximum(frequency, 30.0))
        level = slope * np.clip(octave - np.log2(1000), -3.5, 3.2)
        for centre, width, height in zip(centres, widths, heights):
            level += height * np.exp(-0.5 * np.square((octave - centre) / width))
        return decibels(level) / (1 + np.square(40 / np.maximum(frequency, 1e-3)))

    return gain


def ramped(duration: int, attack: float, release: float) -> np.ndarray:
    """(duration,) a gate that opens and closes along raised cosines of `attack` and `release` seconds."""
    t = times(duration)
    opening = np.clip(t / attack, 0, 1)
    closing = np.clip((duration / SAMPLE_RATE - t) / release, 0, 1)
    return 0.25 * (1 - np.cos(np.pi * opening)) * (1 - np.cos(np.pi * closing))


def struck(duration: int, attack: float, decay: float) -> np.ndarray:
    """(duration,) what a blow does: a linear rise over `attack` seconds, then exp(-t / decay), faded out at the end."""
    t = times(duration)
    fade = np.clip((duration - np.arange(duration)) / (0.1 * duration + 1), 0, 1)
    return np.minimum(t / attack, 1) * np.exp(-np.maximum(t - attack, 0) / decay) * fade


def add(x: np.ndarray, start: int, event: np.ndarray) -> None:
    """Mix an event into x at a sample position, in place; what hangs over either end is cut."""
    first, last = max(start, 0), min(start + len(event), len(x))
    if first < last:
        x[first:last] += event[first - start : last - start]


def events(rng: np.random.Generator, n: int, shortest: float, longest: float) -> Iterator[tuple[int, int]]:
    """(start, samples until the next one) of events that follow each other in `shortest` to `longest` seconds.

    The first begins before sample 0, so that a recording starts anywhere in the course of events.
    """
    start = -int(rng.uniform(0, longest) * SAMPLE_RATE)
    while start < n:
        gap = int(rng.uniform(shortest, longest) * SAMPLE_RATE)
        yield start, gap
        start += gap
