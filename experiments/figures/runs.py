"""The runs that a figure is drawn from: given one by one, as cross-validations, or as folders of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.figures import style
from experiments.table import folders, identity, row_of, same_recordings, same_splits, tell_unfinished
from scratchnet import plots
from scratchnet.data.source import codes
from scratchnet.errors import InputError
from scratchnet.training.config import Config
from scratchnet.training.files import read_arrays
from scratchnet.training.phases import phases_for
from scratchnet.training.runfolder import CONFIG, MODEL, RESULT, RunFolder

INITS = {"icebreaker": "IceBreaker", "random": "random init", "forcing": "forcing alone"}


class Run(NamedTuple):
    """One run over one split of the data: its folder and its settings."""

    folder: RunFolder
    config: Config

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.folder.path

    @property
    def system(self) -> str:
        """Which of the paper's systems it trained, in words."""
        config, name = self.config, style.title(self.config.net)
        if config.is_back_end:
            return f"{name} with deltas" if config.deltas else name
        if config.net == "melnet" and config.mel_power == 1:
            name += " (magnitudes)"
        if config.net == "mstnet" and config.mst_batch_norm:
            name += " (batch norm)"
        if config.back_end != "piczak":
            name += f" before {style.title(config.back_end)}"
        return f"{name}, {INITS[config.init]}"

    def result(self) -> dict[str, Any]:
        """result.json. Raises `InputError` where the run is not finished, or the file damaged."""
        return self.folder.finished()

    def labels(self) -> list[str]:
        """The classes as pictures call them: the paper's two-letter codes where they are the paper's classes."""
        classes = self.result()["test"]["classes"]
        return list(plots.class_labels(self.folder.about("data_name"), classes, codes(classes)))

    def weights(self, phase: str | None = None) -> dict[str, np.ndarray]:
        """The best weights of the last phase, or of the one named."""
        if phase is None:
            self.result()
            return read_arrays(self.path / MODEL)[0]
        named = {str(p.name): p for p in phases_for(self.config)}
        if phase not in named:
            raise InputError(f"{self.path}: this run has no phase {phase} (it has {', '.join(named)})")
        return self.folder.weights_of(named[phase])

    def kernels(self, phase: str | None = None) -> np.ndarray:
        """The kernels (K, width) of the layer that hears the waveform. Raises `InputError` where none does."""
        weights = self.weights(phase)
        if "deepfourier.conv1.weight" not in weights:
            if not self.config.is_back_end:
                self.result()
            raise InputError(f"{self.path}: {self.system} hears no waveform; name a run of HeuriNet, MSTNet or MelNet")
        return weights["deepfourier.conv1.weight"][:, 0]


def find(paths: Iterable[Path]) -> list[Run]:
    """Every run in these folders, once; a cross-validation is as many as it has folds. Raises `InputError` for none."""
    runs: list[Run] = []
    seen: set[Path] = set()
    for path in paths:
        if not path.is_dir():
            raise InputError(f"{path}: no such folder")
        there = list(folders(path, seen))
        done = [one for one in there if not (one.parent / CONFIG).is_file() or (one / RESULT).is_file()]  # folds
        tell_unfinished(done, [path])
        found = [Run(*RunFolder.open(folder)) for folder in done or there]
        if not found and not any(folders(path)):  # here, or named before
            raise InputError(f"{path}: no run folder, and none in it (a run folder has a {CONFIG})")
        runs += found
    return runs


def by_system(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """The runs of each system (as `experiments.table` tells them apart), in the order in which the systems come.

    Systems of one name bear in brackets what each has and another has not: `HeuriNet, IceBreaker (lr=0.01)`.
    Raises `InputError` where runs of one system are of different recordings that have the same names, or learned from
    different folds.
    """
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple(map(str, identity(run.folder, run.config).values())), []).append(run)
    words = {key: " ".join(key).split() for key in groups}
    systems = {}
    for key, mine in groups.items():
        name = mine[0].system
        same = [words[other] for other, theirs in groups.items() if theirs[0].system == name]
        own = [word for word in words[key] if not all(word in other for other in same)]
        systems[f"{name} ({' '.join(own)})" if own else name] = mine
        same_recordings(run.path for run in mine)
        same_splits(row_of(run.path, hashed=False) for run in mine if run.folder.result() is not None)
    return systems


def one(path: Path) -> Run:
    """The one run in this folder. Raises `InputError` where there are several."""
    runs = find([path])
    if len(runs) > 1:
        raise InputError(f"{path}: holds {len(runs)} runs; name one of them, such as {runs[0].path}")
    return runs[0]
