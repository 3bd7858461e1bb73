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


def normalisation(config: Config, segments: Segments, train: np.ndarray) -> Normalisation:
    """How the run's PiczakNet sees spectrograms: as MSTNet's front end will make them, else as `standardize` says."""
    if config.net == "mstnet":
        return forcing_target(config.forcing_target, segments, train)
    if config.standardize == "none":
        return Normalisation()
    found = segments.statistics(train)
    return Normalisation(found["mean"], found["std"] or 1.0)


def forcing_target(kind: str, segments: Segments, train: np.ndarray) -> Normalisation:
    """The normalisation of the spectrograms that MSTNet's front end is forced to.

    `minmax`: to [-1, 1] by the training set's range (Maaløe et al. 2017; their z-score before it cancels);
    `paper`: (x - mean) / (max - min) and `code`: (x - min) / (max - min), both over the recordings of all folds, the
    test fold included.
    """
    found = segments.statistics(train if kind == "minmax" else segments.originals)
    span = (found["max"] - found["min"]) or 1.0
    if kind == "minmax":
        return Normalisation((found["max"] + found["min"]) / 2, span / 2)
    return Normalisation(found["mean"] if kind == "paper" else found["min"], span)
