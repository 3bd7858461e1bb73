"""What a run says on the screen: what it is about to do, and what came out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scratchnet.data.source import codes
from scratchnet.errors import listed, printable, quoted, say
from scratchnet.nets import NET_OF
from scratchnet.training import dataset
from scratchnet.training.config import Config
from scratchnet.training.phases import phases_for
from scratchnet.training.runfolder import PAGE, READINGS, RunFolder
from scratchnet.training.screen import Screen

if TYPE_CHECKING:
    from scratchnet.data import Segments

WIDEST = 20  # classes that a confusion matrix shows as numbers
CLEARLY = 0.1  # of balanced accuracy
LOUD = ("copies", "absent")  # remarks that a quiet run makes, too


def announce(
    config: Config,
    segments: Segments,
    splits: list[tuple[int, int]],
    notes: list[tuple[str, str]],
    folder: RunFolder,
    screen: Screen,
    used: str,
) -> None:
    """The beginning of a run on the screen: what it learns from, how, and where it goes; `notes`: its `remarks`."""
    taken = 0 if config.phase0 is not None else None
    phases = [phase for phase in phases_for(config) if phase.name != taken]
    epochs = ", ".join(f"{phase.title}: {config.epochs_of(phase.name)}" for phase in phases)
    test = "every fold in turn" if config.cv else f"fold {splits[0][0]}"
    valid = "the fold before it" if config.cv else f"fold {splits[0][1]}"
    counts = f"{len(segments.clips)} clips, {len(segments.originals)} segments, {len(segments.classes)} classes"
    taken_for_one = f": {listed(segments.classes)}" if segments.name == "folder" else ""
    screen.say(f"data     {dataset.called(segments.name, config.data)}: {counts}{taken_for_one}")
    if segments.augmentation is not None:
        how = "an epoch draws one of each clip" if config.augment_epoch == "draw" else "an epoch has them all"
        screen.say(f"augment  {config.augment} variants of every training clip besides the recording; {how}")
    screen.say(f"folds    test on {test}, validate on {valid}, train on the others")
    for head, words in notes:
        (say if screen.quiet and head in LOUD else screen.say)(f"{head:<8} {words}")
    screen.say(f"network  {title(config)}, {'random' if config.is_back_end else config.init} initialisation, on {used}")
    if config.phase0 is not None:
        screen.say(f"phase 0  from {config.phase0}")
    screen.say(f"epochs   {epochs}; mini-batches of {config.batch_size} segments")
    learned = min(np.sum(~np.isin(segments.fold[segments.originals], split)) for split in splits)
    if learned <= config.batch_size and not config.balanced and config.augment_epoch != "all":
        screen.say(
            f"batches  hold all {learned} training segments: an epoch is one step; a smaller --batch-size makes more"
        )
    screen.say(f"folder   {folder.path}; how the paper is read: {READINGS} there")
    if used == "cpu" and not kernels_compiled():
        screen.say("Numba compiles the kernels now, once: the first mini-batches take up to a minute")


def kernels_compiled() -> bool:
    """Whether Numba left compiled kernels from an earlier run, where this user's are."""
    from scratchnet.kernels.cpu.transpose import copy_transposed

    stats = getattr(copy_transposed, "stats", None)  # None where NUMBA_DISABLE_JIT says so: there is nothing to compile
    return stats is None or any(Path(stats.cache_path).glob("*.nbi"))


def title(config: Config) -> str:
    """The network in words: its name, and its back end where that is not the paper's."""
    return config.net if config.is_back_end or config.back_end == "piczak" else f"{config.net} with {config.back_end}"


def phase_title(config: Config, name: str) -> str:
    """A phase of result.json and the network that it trained, in words: phase 0 (piczaknet)."""
    phase = f"phase {name}" if name.isdecimal() else name
    return f"{phase} ({NET_OF[config.back_end] if name == '0' else title(config)})"


def line(test: dict[str, Any]) -> str:
    """Test scores in one line."""

    def score(name: str) -> str:
        spread = f" ± {test['std'][name]:.3f}" if "std" in test else ""
        return f"{test[name]:.3f}{spread}"

    return (
        f"balanced accuracy of segments {score('segment_balanced_accuracy')} (plain {score('segment_accuracy')}), "
        f"of clips by majority {score('clip_accuracy_majority')}, by probability {score('clip_accuracy_probability')}"
    )


def confusion_text(test: dict[str, Any]) -> str:
    """The confusion matrix of segments, rows true; of so many classes that it would be too wide, a line for each."""
    confusion, names = np.array(test["confusion"]), [printable(name) for name in test["classes"]]
    if len(names) > WIDEST:
        return _confusion_list(confusion, names)
    short = codes(test["classes"])
    width = max(4, len(str(confusion.max())) + 1, *(len(code) + 1 for code in short))
    lines = ["true \\ predicted", " " * width + "".join(f"{code:>{width}}" for code in short)]
    for code, name, row in zip(short, names, confusion):
        lines.append(f"{code:>{width}}" + "".join(f"{n:>{width}}" for n in row) + f"   {name}")
    return "\n".join(lines)


def _confusion_list(confusion: np.ndarray, names: list[str]) -> str:
    """Of each class how many segments were right, and what the others were most often taken for."""
    width = max(map(len, names))
    lines = [f"{'true':<{width}}  right      most often taken for"]
    for k, (name, row) in enumerate(zip(names, confusion)):
        wrong = np.where(np.arange(len(row)) == k, 0, row)
        worst = sorted(np.flatnonzero(wrong), key=lambda other: -wrong[other])[:3]
        others = ", ".join(f"{names[other]} {wrong[other]}" for other in worst)
        lines.append(f"{name:<{width}}  {f'{row[k]} of {row.sum()}':<9}  {others}".rstrip())
    return "\n".join(lines)


def report(config: Config, folder: RunFolder, result: dict[str, Any], screen: Screen) -> None:
    """The end of a run on the screen."""
    for name, scores in result["phases"].items() if len(result["phases"]) > 1 else ():
        screen.say(f"test     {phase_title(config, name)}: {line(scores)}")
    screen.say(f"{title(config)}: {line(result['test'])}", always=True)
    for words in _failures(config, result):
        screen.say(words)
    screen.say(f"results, model and pictures: {folder.path}")
    if (folder.path / PAGE).is_file():  # not of a run of an older version
        screen.say(f"all of it on one page: {folder.path / PAGE}")
    screen.say(f"try:  python -m scratchnet.predict {quoted(folder.path)} FILE")


def _failures(config: Config, result: dict[str, Any]) -> Iterator[str]:
    """What is plainly wrong with a network that was trained, and what may help."""
    confusion = np.array(result["test"]["confusion"])
    heard, there = np.flatnonzero(confusion.sum(axis=0)), np.flatnonzero(confusion.sum(axis=1))
    other = "more epochs, a smaller --lr" + ("" if config.is_back_end else f", or --net {NET_OF[config.back_end]}")
    if len(heard) == 1 and len(there) > 1:
        yield f"it takes every segment for {printable(result['test']['classes'][heard[0]])}: try {other}"
        return
    before, after = result["phases"].get("0", {}), result["test"]
    first, last = (scores.get("valid_balanced_accuracy") for scores in (before, after))
    if first is not None and last is not None and first > last + CLEARLY:
        words = f"in validation phase 0's {NET_OF[config.back_end]} was better, {first:.3f} beside {last:.3f}"
        yield f"{words}: try {other}"
