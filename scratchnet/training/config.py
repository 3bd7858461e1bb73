"""Every setting of a run in one flat record; presets, TOML files and the command line state only differences."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cache
from typing import Any, get_args, get_type_hints

from scratchnet.backend import BACKENDS
from scratchnet.nets import BACK_ENDS, NET_OF, NETS, RIVALS
from scratchnet.sound import Augmentation, SoundSettings
from scratchnet.sound.settings import CHOICES
from scratchnet.training.phases import FORCED
from scratchnet.training.presets import PRESETS

Check = tuple[Callable[[Any], bool], str]
POSITIVE: Check = (lambda v: v > 0, "above 0")
NOT_NEGATIVE: Check = (lambda v: v >= 0, "0 or more")
FRACTION: Check = (lambda v: 0 <= v < 1, "at least 0 and below 1")


def _setting(default: Any, text: str, *, choices: Iterable[str | None] = (), check: Check | None = None) -> Any:
    return field(default=default, metadata={"help": text, "choices": tuple(filter(None, choices)), "check": check})


@dataclass(frozen=True)
class Config:
    """Settings of one run. Defaults are the readings that `scratchnet` takes unasked; names are the options' names."""

    # -- the run
    data: str | None = _setting(None, "folder of recordings; none: the synthetic urban sounds")
    subset: str | None = _setting(None, "part of the data set: esc10 of an ESC-50 folder", choices=("esc10",))
    net: str = _setting("heurinet", "network to train", choices=(*NETS, *RIVALS))
    back_end: str = _setting("piczak", "what follows the front end: PiczakNet, or a rival", choices=tuple(BACK_ENDS))
    init: str = _setting(
        "icebreaker",
        "four phases from PiczakNet, all weights at once, or forcing alone (mstnet)",
        choices=("icebreaker", "random", "forcing"),
    )
    phase0: str | None = _setting(
        None, "finished run of PiczakNet, or of --back-end, that is Phase 0 already; none: train it"
    )
    preset: str = _setting("quick", "bundle of settings to start from", choices=tuple(PRESETS))
    backend: str = _setting("auto", "where to compute", choices=BACKENDS)
    threads: int | None = _setting(None, "CPU threads; none: all cores", check=POSITIVE)
    seed: int = _setting(0, "seed of weights, order and dropout", check=NOT_NEGATIVE)
    split: str = _setting("single", "one test fold, or every fold in turn", choices=("single", "cv"))
    test_fold: int | None = _setting(None, "fold to test on; none: the last")
    valid_fold: int | None = _setting(None, "fold to validate on; none: the one before the test fold")
    out: str | None = _setting(None, "run folder; none: runs/NET-DATA-N")
    strict: bool = _setting(False, "stop at the first bad file")
    quiet: bool = _setting(False, "print only the result")

    # -- the training of every phase but forcing, which has the epochs and the gradient norms alone
    epochs: int | None = _setting(None, "epochs of every phase; none: those of each phase", check=POSITIVE)
    batch_size: int = _setting(1000, "segments in a mini-batch", check=POSITIVE)
    optimizer: str = _setting("nesterov", "update rule", choices=("nesterov", "adam"))
    lr: float | None = _setting(
        None, "learning rate of every phase but forcing; none: that of each phase", check=POSITIVE
    )
    lr_final: float | None = _setting(None, "decay the rate exponentially to this; none: keep it", check=POSITIVE)
    momentum: float = _setting(0.9, "Nesterov momentum", check=FRACTION)
    weight_decay: float = _setting(0.0, "adds this times the sum of squared weights to the cost", check=NOT_NEGATIVE)
    clip_norm: float | None = _setting(None, "clip gradients to this L2 norm; none: do not", check=POSITIVE)
    clip_per: str = _setting("parameter", "what the norm is taken over", choices=("parameter", "layer"))
    balanced: bool = _setting(False, "oversample so that classes are equally frequent in training, but for forcing")
    patience: int | None = _setting(
        None, "stop a phase after this many epochs without improvement; none: do not", check=POSITIVE
    )
    grad_norms: bool = _setting(
        False, "record each parameter's gradient norm in metrics.jsonl: mean and largest of an epoch"
    )

    # -- augmentation of the training clips (Piczak 2015)
    augment: int = _setting(0, "variants of every training clip: pitch, stretch, delay", check=NOT_NEGATIVE)
    augment_epoch: str = _setting(
        "draw", "an epoch is one variant of each clip, drawn anew, or all of them", choices=("draw", "all")
    )
    augment_limits: str = _setting(
        "class", "Piczak's limits for the classes he names, or one range for all", choices=("class", "one")
    )
    augment_pitch: int = _setting(
        2, "that range: semitones up or down at most", check=(lambda v: 0 <= v <= 24, "from 0 to 24")
    )
    augment_stretch: float = _setting(
        0.1, "that range: faster or slower by this share at most", check=(lambda v: 0 <= v <= 0.5, "from 0 to 0.5")
    )
    augment_shift: float = _setting(1.0, "seconds of delay at most", check=(lambda v: 0 <= v <= 60, "from 0 to 60"))
    augment_pitch_draw: str = _setting(
        "range", "semitones between the limits, or the upper one as his code took", choices=("range", "highest")
    )
    mixup: float | None = _setting(
        None, "mix pairs of training segments in shares from Beta(this, this); none: do not", check=POSITIVE
    )

    # -- phases of the IceBreaker, and the rival that trains all weights from random ones
    epochs_phase0: int = _setting(300, "epochs of Phase 0: PiczakNet on spectrograms", check=POSITIVE)
    epochs_phase1: int = _setting(100, "epochs of Phase 1: DeepFourier alone", check=POSITIVE)
    epochs_phase2: int = _setting(100, "epochs of Phase 2: DeepFourier and PiczakNet's first layer", check=POSITIVE)
    epochs_phase3: int = _setting(100, "epochs of Phase 3: everything", check=POSITIVE)
    epochs_random: int = _setting(300, "epochs of --init random", check=POSITIVE)
    lr_phase0: float = _setting(2e-3, "learning rate of Phase 0", check=POSITIVE)
    lr_phase1: float = _setting(2e-3, "learning rate of Phase 1", check=POSITIVE)
    lr_phase2: float = _setting(2e-3, "learning rate of Phase 2", check=POSITIVE)
    lr_phase3: float = _setting(2e-3, "learning rate of Phase 3", check=POSITIVE)
    lr_random: float = _setting(2e-3, "learning rate of --init random", check=POSITIVE)

    # -- spectrogram forcing of MSTNet's front end
    forcing_epochs: int = _setting(300, "epochs of spectrogram forcing", check=POSITIVE)
    forcing_batch_size: int = _setting(1000, "segments in a mini-batch of forcing", check=POSITIVE)
    forcing_lr: float = _setting(3e-4, "learning rate of forcing (Adam)", check=POSITIVE)
    forcing_patience: int | None = _setting(None, "early stopping of forcing; none: do not", check=POSITIVE)
    forcing_target: str = _setting("minmax", "how the target is normalised", choices=("minmax", "paper", "code"))

    # -- the network
    dropout: float = _setting(0.5, "probability of dropping an activation", check=FRACTION)
    dropout_in_evaluation: bool = _setting(False, "drop in validation and test too, as the original code did")
    pool_ceil: bool = _setting(False, "PiczakNet's pools keep the last, incomplete window")
    weight_init: str = _setting("xavier", "PiczakNet's initial weights", choices=("xavier", "piczak2015"))
    conv1_channels: int = _setting(80, "kernels of HeuriNet's first layer", check=POSITIVE)
    conv1_kernel: int = _setting(155, "width in samples of HeuriNet's first kernels", check=POSITIVE)
    mel_power: int = _setting(
        2, "MelNet's modulus: 2 its square as in eq. 1, 1 itself", check=(lambda v: v in (1, 2), "1 or 2")
    )
    mst_batch_norm: bool = _setting(False, "MSTNet's front end with batch normalisation, folded after training")
    mst_padding: str = _setting(
        "same",
        "MSTNet's padding: zeros at both ends, or aligned with the spectrogram's frames",
        choices=("same", "aligned"),
    )
    standardize: str = _setting(
        "train", "what PiczakNet sees, by the spectrograms' mean and deviation in training", choices=("train", "none")
    )

    # -- sound
    sample_rate: int = _setting(22050, "resample to, in hertz", check=POSITIVE)
    segment_length: int = _setting(20992, "samples in a segment", check=POSITIVE)
    segment_hop: int = _setting(10496, "samples from segment to segment", check=POSITIVE)
    n_fft: int = _setting(1024, "samples in a window of the STFT", check=POSITIVE)
    hop_length: int = _setting(512, "samples from window to window", check=POSITIVE)
    n_mels: int = _setting(60, "Mel bins", check=POSITIVE)
    n_frames: int = _setting(41, "frames of a spectrogram", check=POSITIVE)
    window: str = _setting("hann", "window of the STFT", choices=CHOICES["window"])
    center: bool = _setting(True, "centre the windows, padding by reflection")
    top_db: float | None = _setting(80.0, "floor so many dB under a segment's maximum; none: no floor", check=POSITIVE)
    amin: float = _setting(1e-10, "least power before the logarithm", check=POSITIVE)
    peak: str = _setting("clip", "what is scaled to full range by itself", choices=CHOICES["peak"])
    silence_db: float | None = _setting(-70.0, "drop segments whose mean log-Mel in dB is at most this; none: keep all")
    short: str = _setting("pad", "what to do with clips shorter than a segment", choices=CHOICES["short"])
    deltas: str | None = _setting(None, "second channel, for a back end alone", choices=CHOICES["deltas"])

    @property
    def cv(self) -> bool:
        """Whether every fold is tested on in turn."""
        return self.split == "cv"

    @property
    def is_back_end(self) -> bool:
        """Whether the network has no front end: it is fed with stored spectrograms."""
        return self.net in NET_OF.values()

    def epochs_of(self, phase: int | str) -> int:
        """Epochs of `phase`: 0..3, "random" or "forcing"; `epochs` overrides them all."""
        if self.epochs is not None:
            return self.epochs
        return getattr(self, _phase_key("epochs", phase))

    def lr_of(self, phase: int | str) -> float:
        """Learning rate at the start of `phase`; `lr` overrides all but that of forcing."""
        return getattr(self, self.lr_setting(phase))

    def lr_setting(self, phase: int | str) -> str:
        """The setting that `lr_of` reads."""
        return "lr" if self.lr is not None and phase != FORCED else _phase_key("lr", phase)

    def to_dict(self) -> dict[str, Any]:
        """Every setting, ready for JSON."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def sound(self) -> SoundSettings:
        """The `SoundSettings` among the settings."""
        names = [f.name for f in fields(SoundSettings)]
        return SoundSettings(**{name: getattr(self, name) for name in names})

    def augmentation(self) -> Augmentation | None:
        """The `Augmentation` among the settings; None where there is none."""
        if self.augment == 0:
            return None
        names = [f.name for f in fields(Augmentation) if f.name != "variants"]
        return Augmentation(self.augment, **{name: getattr(self, f"augment_{name}") for name in names})

    def with_(self, **changes: Any) -> Config:
        """A copy with some settings changed; the values are not checked. Raises TypeError for an unknown name."""
        return replace(self, **changes)


PATHS = ("data", "out", "phase0")
# What `epochs` and `lr` stand in for
OF_A_PHASE = {
    "epochs": {*(f"epochs_phase{k}" for k in range(4)), "epochs_random", "forcing_epochs"},
    "lr": {*(f"lr_phase{k}" for k in range(4)), "lr_random"},
}


def _phase_key(what: str, phase: int | str) -> str:
    if phase == FORCED:
        return f"forcing_{what}"
    return f"{what}_random" if phase == "random" else f"{what}_phase{phase}"


def option(name: str) -> str:
    """A setting's name as option of the command line."""
    return "--" + name.replace("_", "-")


def written(name: str, value: Any) -> str:
    """A setting as one writes it on the command line: --lr 0.01, --no-balanced."""
    if isinstance(value, bool):
        return option(name if value else f"no_{name}")
    return f"{option(name)} {'none' if value is None else value}"


@cache
def kinds() -> dict[str, tuple[type, bool]]:
    """Setting -> (type, whether it may be none)."""
    table = {}
    for name, hint in get_type_hints(Config).items():
        parts = get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        table[name] = (next(p for p in parts if p is not types.NoneType), types.NoneType in parts)
    return table


def default(name: str) -> Any:
    """The default of a setting."""
    value = Config.__dataclass_fields__[name].default
    assert value is not MISSING
    return value
