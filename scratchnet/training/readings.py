"""How a run reads what the paper leaves open, or says otherwise than its code and Piczak's: RUN/readings.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scratchnet.training.config import Config, option
from scratchnet.training.markdown import markdown
from scratchnet.training.phases import FORCED, phases_for


@dataclass(frozen=True)
class Reading:
    """A question, the settings that decide it, a run's answer in words, and which runs it is asked of."""

    question: str
    settings: tuple[str, ...]
    answer: Callable[[Config], str]
    asked: Callable[[Config], bool] = lambda c: True


def _mstnet(c: Config) -> bool:
    return c.net == "mstnet"


def _forced(c: Config) -> bool:
    return _mstnet(c) and c.init != "random"


def _targeted(c: Config) -> bool:
    """Whether forcing's target matters: from random weights, for what stands between front end and PiczakNet alone."""
    return _forced(c) or (_mstnet(c) and c.standardize == "train")


def _piczaknet(c: Config) -> bool:
    return c.back_end == "piczak"


def _course(c: Config, what: Callable[[int | str], float], after: Callable[[int | str], str] = lambda phase: "") -> str:
    phases = [phase for phase in phases_for(c) if phase.name != FORCED]
    return ", ".join(f"{phase.title}: {what(phase.name):g}{after(phase.name)}" for phase in phases)


def _augmentation(c: Config) -> str:
    if not c.augment:
        return "none"
    drawn = f"the recording or one of {c.augment} variants of it, drawn anew in each epoch"
    every = f"the recording and {c.augment} variants of it, all in every epoch"
    one = f"±{c.augment_pitch} semitones, ±{100 * c.augment_stretch:g} % of speed"
    limits = f"{one}; Piczak's limits for the classes he names" if c.augment_limits == "class" else one
    pitch = "pitch between its limits" if c.augment_pitch_draw == "range" else "pitch at its upper limit"
    variants = drawn if c.augment_epoch == "draw" else every
    return f"{variants}: {limits}; {pitch}, up to {c.augment_shift:g} s later"


def _decibels(c: Config) -> str:
    floor = "no floor" if c.top_db is None else f"a floor {c.top_db:g} dB under the segment's maximum"
    if c.net == "melnet" and c.mel_power == 1:
        return f"20·log10 of magnitude, at least {c.amin**0.5:g}; {floor}"
    return f"10·log10 of power, at least {c.amin:g}; {floor}"


def _seen(c: Config) -> str:
    """`inputs.normalisation` and `normalisation_inside` in words."""
    how = "standardised by the training folds" if c.standardize == "train" else "in decibels as they are"
    if c.net == "mstnet" and c.standardize == "none":
        how = "as its front end is forced to give them"
        if c.init == "random":
            return "what its front end gives, as it is"
    if c.net == "heurinet":
        front = "what its front end gives, as it is"
        return front if c.init == "random" else f"in Phase 0 spectrograms {how}; then {front}"
    return f"spectrograms {how}" + ("" if c.is_back_end else "; what its front end gives likewise")


WHOLLY = "files of zeros alone are skipped, and named"


def _silence(c: Config) -> str:
    if c.silence_db is None:
        return f"kept; {WHOLLY}"
    return f"left out where the mean log-Mel is at or under {c.silence_db:g} dB, but for a clip's loudest; {WHOLLY}"


def _deltas(c: Config) -> str:
    return {None: "none", "savgol": "Savitzky–Golay", "librosa031": "as librosa 0.3.1 made them"}[c.deltas]


def _target(c: Config) -> str:
    return {
        "minmax": "scaled to ±1 by the training folds' range",
        "paper": "centred and divided by the range of all folds",
        "code": "scaled to 0…1 by the range of all folds",
    }[c.forcing_target]


def _rate(c: Config) -> str:
    def decay(phase: int | str) -> str:
        return " kept" if c.lr_final is None or c.lr_final >= c.lr_of(phase) else f" decaying to {c.lr_final:g}"

    rule = f"Nesterov {c.momentum:g}" if c.optimizer == "nesterov" else "Adam"
    return f"{rule}, batches of {c.batch_size}; {_course(c, c.lr_of, decay)}"


def _clip(c: Config) -> str:
    return "none" if c.clip_norm is None else f"to L2 norm {c.clip_norm:g} per {c.clip_per}"


def _split(c: Config) -> str:
    if c.cv:
        return "every fold in turn, validated on the one before it"
    test = "the last fold" if c.test_fold is None else f"fold {c.test_fold}"
    valid = "the one before it" if c.valid_fold is None else f"fold {c.valid_fold}"
    return f"tested on {test}, validated on {valid}"


TABLE = (
    Reading(
        "segments",
        ("segment_length", "segment_hop", "sample_rate"),
        lambda c: f"{c.segment_length} samples, one every {c.segment_hop}, at {c.sample_rate} Hz",
    ),
    Reading(
        "frames",
        ("center", "n_frames", "n_fft", "hop_length"),
        lambda c: (
            f"{c.n_frames} of {c.n_fft} samples, one every {c.hop_length}, "
            + ("centred, the ends reflected" if c.center else "not centred")
        ),
    ),
    Reading("window", ("window",), lambda c: {"hann": "Hann, periodic", "rectangular": "rectangular"}[c.window]),
    Reading("Mel bins", ("n_mels",), lambda c: f"{c.n_mels}, Slaney's scale, triangles of equal area"),
    Reading("decibels", ("amin", "top_db"), _decibels),
    Reading("scaled to full range", ("peak",), lambda c: f"every {c.peak}"),
    Reading("silent segments", ("silence_db",), _silence),
    Reading(
        "clips shorter than a segment",
        ("short",),
        lambda c: {"pad": "padded with zeros", "drop": "left out"}[c.short],
    ),
    Reading("what the back end sees", ("standardize",), _seen),
    Reading("deltas, a second channel", ("deltas",), _deltas, lambda c: c.is_back_end),
    Reading(
        "augmentation",
        (
            "augment",
            "augment_epoch",
            "augment_limits",
            "augment_pitch",
            "augment_stretch",
            "augment_shift",
            "augment_pitch_draw",
        ),
        _augmentation,
    ),
    Reading(
        "mixup", ("mixup",), lambda c: "none" if c.mixup is None else f"shares from Beta({c.mixup:g}, {c.mixup:g})"
    ),
    Reading(
        "pools' last, incomplete window",
        ("pool_ceil",),
        lambda c: "kept" if c.pool_ceil else "dropped",
        _piczaknet,
    ),
    Reading(
        "dropout",
        ("dropout", "dropout_in_evaluation"),
        lambda c: f"{c.dropout:g}, " + ("in evaluation too" if c.dropout_in_evaluation else "in training alone"),
    ),
    Reading(
        "weight decay",
        ("weight_decay",),
        lambda c: f"{c.weight_decay:g} · Σw² in the cost" if c.weight_decay else "none",
    ),
    Reading(
        "PiczakNet's initial weights",
        ("weight_init",),
        lambda c: {"xavier": "Xavier, uniform", "piczak2015": "Piczak's"}[c.weight_init],
        _piczaknet,
    ),
    Reading(
        "HeuriNet's first layer",
        ("conv1_channels", "conv1_kernel"),
        lambda c: f"{c.conv1_channels} kernels of {c.conv1_kernel} samples",
        lambda c: c.net == "heurinet",
    ),
    Reading(
        "MSTNet's batch normalisation",
        ("mst_batch_norm",),
        lambda c: "before every activation, folded after training" if c.mst_batch_norm else "none",
        _mstnet,
    ),
    Reading(
        "MSTNet's padding",
        ("mst_padding",),
        lambda c: {"same": "zeros at both ends", "aligned": "aligned with the spectrogram's frames"}[c.mst_padding],
        _mstnet,
    ),
    Reading(
        "MelNet's modulus",
        ("mel_power",),
        lambda c: {2: "squared, as in eq. 1", 1: "not squared, footnote 9"}[c.mel_power],
        lambda c: c.net == "melnet",
    ),
    Reading("forcing's target", ("forcing_target",), _target, _targeted),
    Reading(
        "forcing",
        ("forcing_epochs", "forcing_batch_size", "forcing_lr", "forcing_patience"),
        lambda c: (
            f"{c.epochs_of('forcing')} epochs of Adam at {c.forcing_lr:g}, batches of {c.forcing_batch_size}, "
            "all weights of the front end, the best epoch kept"
            + ("" if c.forcing_patience is None else f", {c.forcing_patience} without a best end it")
        ),
        _forced,
    ),
    Reading(
        "epochs",
        ("init", "epochs", *(f"epochs_{phase}" for phase in ("phase0", "phase1", "phase2", "phase3", "random"))),
        lambda c: _course(c, c.epochs_of),
    ),
    Reading(
        "epoch kept of a phase",
        ("patience",),
        lambda c: (
            "the best in validation, balanced accuracy of segments"
            + ("" if c.patience is None else f"; {c.patience} without a best end the phase")
        ),
    ),
    Reading(
        "steps",
        (
            "optimizer",
            "momentum",
            "batch_size",
            "lr",
            "lr_final",
            *(f"lr_{phase}" for phase in ("phase0", "phase1", "phase2", "phase3", "random")),
        ),
        _rate,
    ),
    Reading("gradients clipped", ("clip_norm", "clip_per"), _clip),
    Reading(
        "classes in a mini-batch",
        ("balanced",),
        lambda c: "oversampled to equal shares" if c.balanced else "as frequent as they are",
    ),
    Reading("folds", ("split", "test_fold", "valid_fold"), _split),
)


def readings(configs: Sequence[Config]) -> list[tuple[str, str, str]]:
    """(question, answer, options) of every question that some of these runs are asked; where they answer it
    differently, all answers."""
    rows = []
    for reading in TABLE:
        answers = dict.fromkeys(reading.answer(c) for c in configs if reading.asked(c))
        if answers:
            rows.append((reading.question, "; or: ".join(answers), " ".join(map(option, reading.settings))))
    return rows


def readings_markdown(configs: Sequence[Config]) -> str:
    """The same as a Markdown table."""
    return markdown(("question", "reading", "options"), readings(configs)) + "\n"


def page(config: Config) -> str:
    """readings.md of a run."""
    text = (
        "# How this run reads the paper\n\nWhere the paper is silent, or its code or Piczak's does something else.\n\n"
    )
    return text + readings_markdown([config])
