"""What a network is fed: waveforms as they are, log-Mel-spectrograms shifted and scaled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scratchnet.training.config import Config

if TYPE_CHECKING:
    from scratchnet.data import Segments


@dataclass(frozen=True)
class Normalisation:
    """A spectrogram x is fed as (x - offset) / scale."""

    offset: float = 0.0
    scale: float = 1.0

    def after(self, other: Normalisation) -> Normalisation:
        """What is left to do of this one where `other` has been done."""
        return Normalisation((self.offset - other.offset) / other.scale, self.scale / other.scale)


def normalisation(config: Config, segments: Segments, train: np.ndarray) -> Normalisation:
    """How the run's PiczakNet sees spectrograms: as `standardize` says; if not at all, then as its front end makes
    them, which is MSTNet's forcing target or decibels as they are."""
    if config.standardize == "none":
        return forcing_target(config, segments, train) if config.net == "mstnet" else Normalisation()
    magnitudes = config.net == "melnet" and config.mel_power == 1
    found = magnitude_statistics(config, segments, train) if magnitudes else segments.statistics(train)
    return Normalisation(found["mean"], found["std"] or 1.0)


def magnitude_statistics(config: Config, segments: Segments, train: np.ndarray) -> dict[str, float]:
    """`moments` in dB of the Mel-spectrograms of magnitudes that MelNet's front end starts with where `mel_power`
    is 1: the stored spectrograms are those of powers."""
    from scratchnet.data.segments import moments
    from scratchnet.sound import melspectrogram, power_to_db

    def decibels(indices: np.ndarray) -> np.ndarray:
        x, how = segments.waveforms(indices)[:, 0], {"window": config.window, "n_frames": config.n_frames}
        mel = melspectrogram(x, power=1.0, **how)  # type: ignore[arg-type]
        # 20 log10 of a magnitude is twice 10 log10: so its floors are √amin and, before it is doubled, top_db / 2.
        half = None if config.top_db is None else config.top_db / 2
        return 2 * power_to_db(mel, amin=config.amin**0.5, top_db=half, axis=(-2, -1))

    return moments(decibels(train[i : i + 256]) for i in range(0, len(train), 256))


def normalisation_inside(config: Config, segments: Segments, train: np.ndarray) -> Normalisation:
    """What is left for the network itself to do between its front end and PiczakNet."""
    if config.net not in ("mstnet", "melnet"):
        return Normalisation()
    norm = normalisation(config, segments, train)
    return norm.after(forcing_target(config, segments, train)) if config.net == "mstnet" else norm


def forcing_target(config: Config, segments: Segments, train: np.ndarray) -> Normalisation:
    """The normalisation of the spectrograms that MSTNet's front end is forced to.

    `minmax`: to [-1, 1] by the training set's range (Maaløe et al. 2017; their z-score before it cancels);
    `paper`: (x - mean) / (max - min) and `code`: (x - min) / (max - min), both over the recordings of all folds, the
    test fold included.
    """
    kind = config.forcing_target
    found = segments.statistics(train if kind == "minmax" else segments.originals)
    span = (found["max"] - found["min"]) or 1.0
    if kind == "minmax":
        return Normalisation((found["max"] + found["min"]) / 2, span / 2)
    return Normalisation(found["mean"] if kind == "paper" else found["min"], span)
