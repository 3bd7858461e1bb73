"""Phase 0 taken over from a finished run: PiczakNet is trained once, and front ends put before it (section 2.3.1).

It saves time and is no other experiment: only a run of the back end alone that is, setting by setting, what Phase 0
would be can be taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchnet.errors import InputError, quoted
from scratchnet.nets import NET_OF
from scratchnet.training.config import OF_A_PHASE, Config, option, written
from scratchnet.training.phases import phases_for
from scratchnet.training.runfolder import CONFIG, RunFolder

if TYPE_CHECKING:
    from scratchnet.data import Segments

# What Phase 0 does not hang on, or not by this name.
APART = {"data", "subset", "net", "init", "preset", "backend", "threads", "split", "test_fold", "valid_fold", "out"}
APART |= {"strict", "quiet", "grad_norms", "phase0", "epochs", "lr"}
OF_OTHERS = ("epochs_", "lr_phase", "lr_random", "forcing_", "conv1_", "mel_", "mst_")


def stands_for(other: Config, config: Config) -> bool:
    """Whether the run `other` is what Phase 0 of `config` would be."""
    return not refusal(config) and other.net == NET_OF[config.back_end] and _decides(other) == _decides(config)


def _decides(config: Config) -> dict[str, Any]:
    """The settings that Phase 0 hangs on."""
    of_phase = {"epochs_phase0": config.epochs_of(0), "lr_phase0": config.lr_of(0)}
    return {k: v for k, v in config.to_dict().items() if k not in APART and not k.startswith(OF_OTHERS)} | of_phase


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


def _open(config: Config) -> Config:
    label, path = f"--phase0 {config.phase0}", Path(str(config.phase0))
    if (why := refusal(config)) is not None:
        raise InputError(f"{label}: {why}; leave it out")
    if not (path / CONFIG).is_file():
        raise InputError(f"{label}: no run folder (it has no {CONFIG}); name a run of {NET_OF[config.back_end]}")
    _, other = RunFolder.open(path)
    if other.net != NET_OF[config.back_end]:
        raise InputError(f"{label}: is a run of {other.net}; name one of {NET_OF[config.back_end]}")
    return other


def check(config: Config) -> Config:
    """The settings of the run that `config.phase0` names.

    Raises `InputError` where there is no run, or it is not what Phase 0 would be.
    """
    label, other = f"--phase0 {config.phase0}", _open(config)
    ours, theirs = _decides(config), _decides(other)
    for name, value in ours.items():
        if theirs[name] != value:
            ours_is = written(name, value).removeprefix(f"{option(name)} ")
            words = f"was trained with {written(name, theirs[name])}, not {ours_is}"
            raise InputError(f"{label}: {words}; both must be the same")
    return other


def of_the_others(config: Config) -> Config:
    """The settings where --epochs and --lr are those of the phases that are still to be trained, Phase 0's its own.

    Raises `InputError` as `check`.
    """
    other = _open(config)
    changes: dict[str, Any] = {}
    for name, own in (("epochs", other.epochs_of(0)), ("lr", other.lr_of(0))):
        if (value := getattr(config, name)) is not None:
            changes |= {**dict.fromkeys(OF_A_PHASE[name], value), f"{name}_phase0": own, name: None}
    return config.with_(**changes)


def find(config: Config, segments: Segments, folders: Mapping[tuple[int, int], RunFolder]) -> dict[int, RunFolder]:
    """Test fold -> the run that its Phase 0 is to be taken from, for each split (test fold, validation fold) whose
    folder has none yet.

    Raises `InputError` where there is no such run on the same folds of the same data, or it is not finished.
    """
    todo = [split for split, folder in folders.items() if folder.load_scores(0) is None]
    if not todo:
        return {}  # the other run may be gone by now
    label, other, whole = f"--phase0 {config.phase0}", check(config), RunFolder(Path(str(config.phase0)))
    found = {}
    for split in todo:
        one = RunFolder(whole.fold(split[0])) if other.cv else whole
        result = one.result()
        if not whole.trained_on(segments):
            raise InputError(f"{label}: was trained on other data")
        if result is None:
            raise InputError(f"{label}: not finished; first go on with it: --resume {quoted(str(config.phase0))}")
        if (result["test_fold"], result["valid_fold"]) != split:
            folds = "tested on fold {} and validated on {}"
            was, own = folds.format(result["test_fold"], result["valid_fold"]), folds.format(*split)
            raise InputError(f"{label}: {was}; this run is {own}")
        found[split[0]] = one
    return found


def take_over(one: RunFolder, folder: RunFolder, config: Config) -> None:
    """Put the run's weights, epochs and scores where a Phase 0 of its own would leave them.

    Raises `InputError` where it keeps them no longer.
    """
    scores, rows, weights = one.load_scores(0), one.metrics(), one.weights_of(phases_for(config)[0])
    if scores is None:
        raise InputError(f"--phase0 {config.phase0}: keeps no scores of Phase 0; leave it out, or train it again")
    best = {name: value for name, value in scores.items() if name.startswith(("best_epoch", "valid_"))}
    folder.cut_metrics(0, 0)
    for row in rows:
        folder.append(row)
    folder.save_best(0, weights, best)
    folder.save_scores(0, scores)  # last: who finds them finds all
