"""Ten urban sounds made by hand, one for each class of UrbanSound8K.

Every function takes a random generator and a number of samples and returns that many, of any scale. What makes a
class lies in how its sound moves and in its harmonics, and shows within any second; pitch, tempo and colour are drawn
anew for each recording, over ranges that overlap between the classes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scratchnet.data.synthesis import (
    SAMPLE_RATE,
    add,
    audible,
    body,
    convolved,
    events,
    filtered,
    harmonics,
    log_uniform,
    noise,
    phase_of,
    ramped,
    resonances,
    struck,
    times,
    unit_rms,
    wander,
)


def air_conditioner(rng: np.random.Generator, n: int) -> np.ndarray:
    """A fan: air rushing through a resonating duct, and the steady hum of its blades, slowly beating."""
    hum_pitch = log_uniform(rng, 80, 300) * (1 + 0.002 * wander(rng, n, 0.5))
    hum = harmonics(phase_of(hum_pitch), rng.uniform(0.2, 1, 8) / np.arange(1, 9) ** rng.uniform(0.3, 1.2))
    air = filtered(noise(rng, n, rng.uniform(0.3, 1.3)), body(rng, 200, 4000, 4, floor=0.4))
    beat = 1 + rng.uniform(0.05, 0.2) * wander(rng, n, rng.uniform(0.5, 2))
    return (unit_rms(air) + rng.uniform(0.1, 0.4) * unit_rms(hum)) * beat


def car_horn(rng: np.random.Generator, n: int) -> np.ndarray:
    """Two or three reeds a third apart, rich in harmonics and dead steady, pressed abruptly again and again."""
    pitches = log_uniform(rng, 330, 480) * np.cumprod([1, *rng.uniform(1.18, 1.34, rng.integers(1, 3))])
    reeds = np.zeros(n)
    for pitch in pitches:
        amplitudes = rng.uniform(0.5, 1, 24) / np.arange(1, 25) ** rng.uniform(0.0, 0.5)
        reeds += harmonics(phase_of(np.full(n, pitch), rng.uniform(0, 6)), audible(amplitudes, pitch))
    x = np.zeros(n)
    for start, gap in events(rng, n, 0.25, 0.9):
        pressed = int(gap * rng.uniform(0.55, 0.85))
        add(x, start, ramped(pressed, 0.008, 0.02))
    return filtered(x * reeds, body(rng, 500, 4000, 3, floor=0.4))


def children_playing(rng: np.random.Generator, n: int) -> np.ndarray:
    """Source-filter voices: two children call in high, swooping pitches, shaped by the formants of changing vowels."""
    x = np.zeros(n)
    for _ in range(2):
        pitch, loudness = log_uniform(rng, 270, 520), rng.uniform(0.4, 1)
        for start, gap in events(rng, n, 0.2, 0.45):
            duration = int(gap * rng.uniform(0.6, 0.9))
            t = np.linspace(0, 1, duration)
            swoop = rng.uniform(-0.35, 0.35) * t + rng.uniform(0.1, 0.4) * np.sin(np.pi * t) ** 2
            f0 = pitch * rng.uniform(0.85, 1.25) * 2**swoop * (1 + 0.01 * np.sin(40 * t))
            vowel = resonances(
                [rng.uniform(450, 1100), rng.uniform(1300, 3000), rng.uniform(3400, 4600)],
                [220, 320, 500], [1, rng.uniform(0.3, 0.8), 0.3], floor=0.03,
            )  # fmt: skip
            k = np.arange(1, 21)
            amplitudes = audible(vowel(k * f0.mean()) / k**0.5, f0.max())
            voice = harmonics(phase_of(f0, rng.uniform(0, 6)), amplitudes)
            add(x, start, loudness * rng.uniform(0.5, 1) * voice * ramped(duration, 0.03, 0.06))
    return x


def dog_bark(rng: np.random.Generator, n: int) -> np.ndarray:
    """Short hoarse yaps, harmonics and breath: the pitch leaps up and drops in a tenth of a second; then a pause."""
    pitch, size = log_uniform(rng, 300, 550), rng.uniform(0.85, 1.2)
    throat = resonances(np.array([750, 1600, 2900]) * size, [350, 500, 900], [1, 0.7, 0.4], floor=0.08)
    fastest = rng.uniform(0.26, 0.4)
    x = np.zeros(n)
    for start, _ in events(rng, n, fastest, fastest * 1.6):
        duration = int(rng.uniform(0.1, 0.17) * SAMPLE_RATE)
        t = np.linspace(0, 1, duration)
        f0 = pitch * rng.uniform(0.9, 1.1) * (0.6 + 0.8 * np.sin(np.pi * t**0.7))
        k = np.arange(1, 21)
        yap = harmonics(phase_of(f0), audible(throat(k * f0.mean()), f0.max()))
        breath = filtered(noise(rng, duration), throat)
        yap = unit_rms(yap) + rng.uniform(0.2, 0.5) * unit_rms(breath)
        add(x, start, rng.uniform(0.6, 1) * yap * ramped(duration, 0.012, 0.05))
    return x


def drilling(rng: np.random.Generator, n: int) -> np.ndarray:
    """An electric drill: with each pull of the trigger the gears' whine runs up and down again, and the bit grinds."""
    speed = np.zeros(n)
    for start, gap in events(rng, n, 0.5, 1.0):
        pulled = int(gap * rng.uniform(0.85, 0.95))
        t = times(pulled)
        end = pulled / SAMPLE_RATE
        add(speed, start, (1 - np.exp(-t / rng.uniform(0.04, 0.12))) * np.clip((end - t) / 0.12, 0, 1) ** 0.5)
    speed *= 1 + 0.05 * wander(rng, n, 6)
    top = log_uniform(rng, 650, 1300)
    phase = phase_of(top * speed)
    whine = harmonics(phase, audible(rng.uniform(0.2, 1, 12) / np.arange(1, 13) ** 0.5, 1.1 * top))
    bite = 1 + 0.8 * np.sin(phase / rng.integers(8, 16))
    grind = filtered(noise(rng, n, rng.uniform(0, 0.6)), body(rng, 800, 6000, 3)) * bite
    return (unit_rms(whine) + rng.uniform(0.8, 1.6) * unit_rms(grind)) * speed**1.5


def engine_idling(rng: np.random.Generator, n: int) -> np.ndarray:
    """A four-cylinder engine: unequal explosions drive a harmonic stack and puffs of exhaust noise; the speed hunts."""
    phase = phase_of(log_uniform(rng, 17, 32) * (1 + 0.12 * wander(rng, n, 1.5)), rng.uniform(0, 25))
    cylinders = rng.permutation([1.0, *rng.uniform(0.1, 0.7, 3)])
    explosion = cylinders[(phase / (2 * np.pi)).astype(int) % 4] * np.exp(6 * (np.cos(phase - np.pi) - 1))
    block = filtered(explosion, body(rng, 60, 900, 4, floor=0.05))
    exhaust = filtered(noise(rng, n, rng.uniform(0.6, 1.5)), body(rng, 150, 3000, 4)) * (explosion + 0.05)
    return unit_rms(block) + rng.uniform(0.5, 1.5) * unit_rms(exhaust)


def gun_shot(rng: np.random.Generator, n: int) -> np.ndarray:
    """Shots: the blast is noise that dies within tens of milliseconds over a low thump; walls send its tail back."""
    decay, tail, thump = rng.uniform(0.015, 0.05), rng.uniform(0.08, 0.2), rng.uniform(50, 110)
    barrel = body(rng, 150, 2500, 3, floor=0.4)
    x = np.zeros(n)
    fastest = rng.uniform(0.35, 0.5)
    for start, _ in events(rng, n, fastest, fastest * 1.7):
        duration = int(4 * tail * SAMPLE_RATE)
        t = times(duration)
        blast = filtered(noise(rng, duration, 0.8), barrel)
        envelope = struck(duration, 0.001, decay) + 0.2 * struck(duration, 0.02, tail)
        low = np.sin(2 * np.pi * thump * (t + 0.04 * (1 - np.exp(-t / 0.02)))) * struck(duration, 0.002, 2 * decay)
        add(x, start, rng.uniform(0.7, 1) * (unit_rms(blast) * envelope + 0.8 * low))
    echo = np.zeros(int(0.3 * SAMPLE_RATE))
    echo[0] = 1
    echo[rng.integers(1500, len(echo), 3)] = rng.uniform(0.05, 0.25, 3)
    return convolved(x, echo)


def jackhammer(rng: np.random.Generator, n: int) -> np.ndarray:
    """A chisel hits stone ten times a second: each blow a crack of noise and a ring of steel, over hissing air."""
    period = 1 / rng.uniform(8, 14)
    blows = np.zeros(n)
    for start, _ in events(rng, n, 0.97 * period, 1.03 * period):
        add(blows, start, rng.uniform(0.7, 1.0, 1))
    t = times(int(0.12 * SAMPLE_RATE))
    modes = np.array([[log_uniform(rng, 800, 5000)] for _ in range(5)])
    ring = np.mean(np.sin(2 * np.pi * modes * t) * np.exp(-t / rng.uniform(0.006, 0.025, (5, 1))), axis=0)
    crack = convolved(blows, np.exp(-t / rng.uniform(0.008, 0.02)) * np.minimum(t / 0.001, 1))
    stone = filtered(noise(rng, n, rng.uniform(0, 0.6)), body(rng, 600, 6000, 3, floor=0.3)) * (crack + 0.03)
    return unit_rms(convolved(blows, ring)) + rng.uniform(0.6, 1.5) * unit_rms(stone)


def siren(rng: np.random.Generator, n: int) -> np.ndarray:
    """An emergency vehicle: one bright tone glides up and down without rest, in slow wails or quick yelps."""
    period = log_uniform(rng, 0.3, 1.8)
    turn = (times(n) / period + rng.uniform(0, 1)) % 1
    rise = rng.uniform(0.3, 0.7)
    glide = np.where(turn < rise, turn / rise, (1 - turn) / (1 - rise))
    pitch = log_uniform(rng, 480, 750) * 2 ** (rng.uniform(0.7, 1.4) * glide)
    amplitudes = rng.uniform(0.3, 1, 10) / np.arange(1, 11) ** rng.uniform(1.0, 2.0)
    return harmonics(phase_of(pitch), audible(amplitudes, pitch.max()))


def street_music(rng: np.random.Generator, n: int) -> np.ndarray:
    """A busker: a melody with vibrato over plucked three-note chords, both from one scale, in time with a soft beat."""
    scale = np.cumsum([0, *rng.permutation([2, 2, 3, 2])])
    steps = np.concatenate([scale, scale + 12])
    tonic, beat = log_uniform(rng, 200, 400), rng.uniform(0.13, 0.24)
    timbre = rng.uniform(0.2, 1, 10) / np.arange(1, 11) ** rng.uniform(0.5, 1.3)
    x = np.zeros(n)

    def play(start: int, duration: int, step: int, loudness: float, vibrato: float, decay: float) -> None:
        t = times(duration)
        pitch = tonic * 2 ** (steps[step % 10] / 12) * (1 + vibrato * np.sin(2 * np.pi * 5.8 * t))
        envelope = ramped(duration, 0.015, 0.03) * np.exp(-t / decay)
        add(x, start, loudness * envelope * harmonics(phase_of(pitch), audible(timbre, pitch.max())))

    step, held = int(rng.integers(10)), 0
    for number, (start, gap) in enumerate(events(rng, n, beat, beat)):
        if number % 4 == 0:
            root = int(rng.integers(5))
            for degree in (0, 2, 4):
                play(start, 4 * gap, root + degree, 0.4, 0.0, 0.2)
        if held == 0:
            held = int(rng.choice([1, 1, 2]))
            step = (step + int(rng.choice([-3, -2, -1, 1, 2, 3]))) % 10
            play(start, held * gap, step, 1.0, 0.008, 0.25)
        held -= 1
    return x


SOUNDS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    sound.__name__: sound
    for sound in (
        air_conditioner, car_horn, children_playing, dog_bark, drilling,
        engine_idling, gun_shot, jackhammer, siren, street_music,
    )
}  # fmt: skip
"""The classes in UrbanSound8K's order: classID is the position."""
