"""Phase 0 taken over from a finished run: PiczakNet is trained once, and front ends put before it (section 2.3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from scratchnet.errors import InputError
from scratchnet.nets import NET_OF
from scratchnet.training.config import Config, option
from scratchnet.training.phases import phases_for
from scratchnet.training.runfolder import RunFolder

# What Phase 0 does not hang on, or not by this name.
APART = {"data", "subset", "net", "init", "preset", "backend", "threads", "split", "test_fold", "valid_fold", "out"}
APART |= {"strict", "quiet", "grad_norms", "phase0", "epochs", "lr", "clip_norm", "clip_per"}
OF_OTHERS = ("epochs_", "lr_phase", "lr_random", "forcing_", "conv1_", "mel_", "mst_")


def stands_for(other: Config, config: Config) -> bool:
    """Whether the run `other`, of a back end alone, is what Phase 0 of `config` would be; but for clipping, of which
    the paper speaks for MSTNet alone."""
    return other.is_back_end and not config.is_back_end and not refusal(config) and _decides(other) == _decides(config)


def _decides(config: Config) -> dict[str, Any]:
    table = {k: v for k, v in config.to_dict().items() if k not in APART and not k.startswith(OF_OTHERS)}
    return {**table, "epochs": config.epochs_of(0), "lr": config.lr_of(0)}


def refusal(config: Config) -> str | None:
    """Why no other run's Phase 0 can be that of `config`; None where one can."""
    if config.is_back_end:
        return f"--net {config.net} is Phase 0 itself"
    if config.init == "random":
        return "--init random has no Phase 0"
    if phases_for(config)[0].net is None:
        return f"--mel-power {config.mel_power}: Phase 0 is behind MelNet's own front end"
    if config.net == "mstnet" and config.standardize == "none":
        return "--standardize none: MSTNet's PiczakNet sees the forcing target, that of another run decibels"
    return None


def check(config: Config) -> Config:
    """The settings of the run that `config.phase0` names. Training settings need not agree with `config`'s.

    Raises `InputError` where there is no run, or none of the same back end, fed with the same sound.
    """
    label = f"--phase0 {config.phase0}"
    _, other = RunFolder.open(Path(str(config.phase0)))
    if (why := refusal(config)) is not None:
        raise InputError(f"{label}: {why}; leave it out")
    if other.net != NET_OF[config.back_end]:
        raise InputError(f"{label}: is a run of {other.net}; name one of {NET_OF[config.back_end]}")
    for name in ("pool_ceil", "standardize", *(f.name for f in fields(config.sound()))):
        ours, theirs = getattr(config, name), getattr(other, name)
        if ours != theirs:
            raise InputError(f"{label}: was trained with {option(name)} {theirs}, not {ours}; both must be the same")
    return other


def find(config: Config, layout: str, folders: Mapping[tuple[int, int], RunFolder]) -> dict[int, RunFolder]:
    """Test fold -> the run that its Phase 0 is to be taken from, for each split (test fold, validation fold) whose
    folder has none yet.

    Raises `InputError` where there is no such run on the same folds of the same data, or it is not finished.
    """
    todo = [split for split, folder in folders.items() if folder.load_figures(0) is None]
    if not todo:
        return {}  # the other run may be gone by now
    label, other, whole = f"--phase0 {config.phase0}", check(config), RunFolder(Path(str(config.phase0)))
    if whole.about("layout") != layout:
        raise InputError(f"{label}: was trained on other data")
    found = {}
    for split in todo:
        one = RunFolder(whole.fold(split[0])) if other.cv else whole
        result = one.result()
        if result is None:
            raise InputError(f"{label}: not finished; first go on with it: --resume {config.phase0}")
        if (result["test_fold"], result["valid_fold"]) != split:
            folds = "tested on fold {} and validated on {}"
            was, own = folds.format(result["test_fold"], result["valid_fold"]), folds.format(*split)
            raise InputError(f"{label}: {was}; this run is {own}")
        found[split[0]] = one
    return found


def take(one: RunFolder, folder: RunFolder, config: Config) -> None:
    """Put the run's weights, epochs and figures where a Phase 0 of its own would leave them."""
    figures = one.load_figures(0)
    assert figures is not None  # the run is finished
    best = {name: value for name, value in figures.items() if name.startswith(("best_epoch", "valid_"))}
    folder.cut_metrics(0, 0)
    for row in one.metrics():
        folder.append(row)
    folder.save_best(0, one.weights_of(phases_for(config)[0]), best)
    folder.save_figures(0, figures)  # last: who finds them finds all
