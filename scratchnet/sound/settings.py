"""Every choice of the road from a sound file to the network's input, as one record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from scratchnet.errors import InputError
from scratchnet.sound.stft import frame_count

CHOICES: dict[str, tuple[str | None, ...]] = {
    "window": ("hann", "rectangular"),
    "peak": ("clip", "segment"),
    "short": ("pad", "drop"),
    "deltas": (None, "savgol", "librosa031"),
}
SMALLEST = 2.0**-126  # of float32's normal numbers; the logarithm of 0 is none
COUNTS = ("sample_rate", "segment_length", "segment_hop", "n_fft", "hop_length", "n_mels", "n_frames")


@dataclass(frozen=True)
class SoundSettings:
    """Lengths in samples, rates in Hz, levels in dB. The defaults are the paper's (section 2.1) and its code's.

    `peak`: what is scaled to peak 1, the whole clip or every segment. `short`: what happens to a clip shorter than a
    segment. `silence_db`: a segment whose mean log-Mel is at most this is dropped (None: none is).
    `top_db`: values are cut this far under the segment's maximum (None: not). `deltas`: the second channel, if any.

    Raises `InputError` for a value that makes no sense, and for more frames than a segment has.
    """

    sample_rate: int = 22050
    segment_length: int = 20992
    segment_hop: int = 10496
    n_fft: int = 1024
    hop_length: int = 512
    n_mels: int = 60
    n_frames: int = 41
    window: str = "hann"
    center: bool = True
    top_db: float | None = 80.0
    amin: float = 1e-10
    peak: str = "clip"
    silence_db: float | None = -70.0
    short: str = "pad"
    deltas: str | None = None

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} {getattr(self, name)!r} is unknown: choose one of {allowed}")
        for name in COUNTS:
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be a whole number of at least 1, not {value!r}")
        if not self.amin >= SMALLEST:
            raise InputError(f"amin must be at least {SMALLEST:.3g}, float32's smallest, not {self.amin!r}")
        if self.top_db is not None and not self.top_db >= 0:
            raise InputError(f"top_db must be at least 0 or None, not {self.top_db!r}")
        if self.n_frames > self.frames_available:
            raise InputError(
                f"n_frames {self.n_frames} is more than the {self.frames_available} frames of a segment of "
                f"{self.segment_length} samples: lower hop_length, now {self.hop_length}, or lengthen the segment"
            )

    @property
    def frames_available(self) -> int:
        """Frames of one segment before the cut to `n_frames`."""
        if not self.center and self.segment_length < self.n_fft:
            return 0
        return frame_count(self.segment_length, self.n_fft, self.hop_length, self.center)

    @property
    def channels(self) -> int:
        """Channels of the spectrogram: the log-Mel itself, and its deltas where asked for."""
        return 1 if self.deltas is None else 2

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SoundSettings:
        """The inverse of `to_dict`; a key left out keeps its default. Raises `InputError` for an unknown key."""
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise InputError(f"unknown sound setting {unknown[0]!r}: known are {[field.name for field in fields(cls)]}")
        return cls(**values)
