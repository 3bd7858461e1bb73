"""Piczak's augmentation: variants of a training clip with another pitch and tempo, as its class allows, and a delay.

The table is that of his notebooks (`_Datasets/Setup.ipynb` of paper-2015-esc-convnet). ESC-10 got ten variants of every
clip, ESC-50 four (of most classes only delayed, as they are not in the table), UrbanSound8K four in an experiment. Some
classes, such as a clock's tick or rain, are delayed and no more. A class that the table lacks gets one range, which is
a setting.

One slip of the notebooks is followed only on request: the pitch was drawn between the upper limit and itself, and so
it always was the upper limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np

from scratchnet.errors import InputError
from scratchnet.sound.stretch import pitch_shift, time_stretch


class Limits(NamedTuple):
    """Whole semitones and stretch rates (above 1 is faster), both limits included."""

    pitch: tuple[int, int] = (0, 0)
    stretch: tuple[float, float] = (1.0, 1.0)


# fmt: off
PICZAK: dict[str, Limits] = {
    # ESC-10, under the names of its first publication and, where they differ, those of ESC-50 today
    "dog_bark": Limits((-4, 4), (0.95, 1.1)),        "dog": Limits((-4, 4), (0.95, 1.1)),
    "rain": Limits(),
    "sea_waves": Limits((0, 0), (0.9, 1.2)),
    "baby_cry": Limits((-3, 6), (0.8, 1.3)),         "crying_baby": Limits((-3, 6), (0.8, 1.3)),
    "clock_tick": Limits(),
    "person_sneeze": Limits((-4, 4), (0.9, 1.2)),    "sneezing": Limits((-4, 4), (0.9, 1.2)),
    "helicopter": Limits((0, 0), (0.9, 1.2)),
    "chainsaw": Limits((-4, 2), (0.9, 1.2)),
    "rooster": Limits((-3, 2), (0.95, 1.1)),
    "fire_crackling": Limits(),                      "crackling_fire": Limits(),
    # UrbanSound8K; its dog_bark has the limits above
    "air_conditioner": Limits(),
    "car_horn": Limits((-2, 2), (0.9, 1.1)),
    "children_playing": Limits((-2, 3), (0.9, 1.2)),
    "drilling": Limits((-1, 1), (0.9, 1.1)),
    "engine_idling": Limits(),
    "gun_shot": Limits((-1, 1), (0.9, 1.1)),
    "jackhammer": Limits(),
    "siren": Limits((-2, 3), (0.9, 1.2)),
    "street_music": Limits((-6, 6), (0.9, 1.2)),
}
# fmt: on


@dataclass(frozen=True)
class Augmentation:
    """How many variants of a clip are made, and how.

    `limits`: "class" takes Piczak's table for the classes that it names, "one" the range below for every class. The
    range: up to `pitch` semitones either way, rates from 1 - `stretch` to 1 + `stretch`. `shift`: seconds of silence
    before a variant at most. `pitch_draw`: "range" draws a whole number of semitones between the limits, "highest"
    takes the upper limit, as the notebooks did. Raises `InputError` for a value that makes no sense.
    """

    variants: int = 4
    limits: str = "class"
    pitch: int = 2
    stretch: float = 0.1
    shift: float = 1.0
    pitch_draw: str = "range"

    def __post_init__(self) -> None:
        for name, choices in (("limits", ("class", "one")), ("pitch_draw", ("range", "highest"))):
            if getattr(self, name) not in choices:
                raise InputError(f"augmentation: {name} {getattr(self, name)!r} is unknown: choose one of {choices}")
        if self.variants < 1 or not 0 <= self.pitch <= 24 or not 0 <= self.stretch <= 0.5 or not 0 <= self.shift <= 60:
            raise InputError(
                f"augmentation: variants {self.variants} must be at least 1, pitch {self.pitch} from 0 to 24, "
                f"stretch {self.stretch} from 0 to 0.5, shift {self.shift} from 0 to 60"
            )

    def limits_of(self, class_name: str) -> Limits:
        """What a class allows; case, spaces, hyphens and underscores do not matter."""
        own = Limits((-self.pitch, self.pitch), (1 - self.stretch, 1 + self.stretch))
        if self.limits == "one":
            return own
        return PICZAK.get(class_name.strip().lower().replace(" ", "_").replace("-", "_"), own)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Augmentation:
        """The inverse of `to_dict`. Raises `InputError` for an unknown key."""
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise InputError(f"unknown setting of augmentation {unknown[0]!r}")
        return cls(**values)


def make_variant(
    x: np.ndarray,
    sample_rate: int,
    class_name: str,
    name: str,
    number: int,
    augmentation: Augmentation,
    segment_length: int = 0,
) -> np.ndarray:
    """Variant `number` (from 1) of the clip x (n,) called `name`, float32 (m,): pitch, stretch, silence before it.

    What is drawn depends on the name and the number alone, so that every machine makes the same variants in any order.
    A sound shorter than `segment_length` samples is delayed by what leaves it whole in the first segment at most:
    what lies behind the last whole segment is cut off.
    """
    seed = sha256(f"{number}\n{name}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(seed[:16], "little"))
    limits = augmentation.limits_of(class_name)
    semitones = int(rng.integers(limits.pitch[0], limits.pitch[1], endpoint=True))
    if augmentation.pitch_draw == "highest":
        semitones = limits.pitch[1]
    rate = float(rng.uniform(*limits.stretch))
    if semitones != 0:
        x = pitch_shift(x, sample_rate, semitones)
    if rate != 1:
        x = time_stretch(x, rate)
    shift = augmentation.shift
    if len(x) < segment_length:
        shift = min(shift, (segment_length - len(x)) / sample_rate)
    delay = int(rng.uniform(0, shift) * sample_rate)
    return np.pad(x, (delay, 0))
