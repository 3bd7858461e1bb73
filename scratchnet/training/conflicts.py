"""Settings that contradict each other, or would change nothing: told before the run has a folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from scratchnet.errors import InputError
from scratchnet.nets import NET_OF, RIVALS
from scratchnet.sound.io import SLOWEST
from scratchnet.training.config import OF_A_PHASE, Config, default, option, written
from scratchnet.training.phases import FORCED, phases_for

OWN = {  # settings of one network alone
    "heurinet": ("conv1_channels", "conv1_kernel"),
    "mstnet": ("mst_batch_norm", "mst_padding"),
    "melnet": ("mel_power",),
}
BACK = f"--net {' or '.join(NET_OF.values())}"
WIDEST = 332  # HeuriNet's first kernels, in samples
WHOLE = 0.95  # of a segment, which its windows have to reach: the last are left out
FRAMES = ("hop_length", "segment_length", "n_fft")  # what decides how many frames a segment has


def conflicts(config: Config, given: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    """(setting, what is wrong with it) for settings that no run could use, or that contradict each other.

    `given`: settings that are not the preset's -> the file that they are from; None: the command line.
    """
    yield from _of_networks(config, given)
    yield from _of_sound(config, given)
    if config.subset and config.data is None:
        yield "subset", f"--subset {config.subset}: the synthetic sounds have none; name the data set with --data"
    if config.cv and (config.test_fold is not None or config.valid_fold is not None):
        yield "split", "--cv tests every fold in turn: leave out --test-fold and --valid-fold"
    if config.test_fold is not None and config.test_fold == config.valid_fold:
        yield "valid_fold", f"--valid-fold {config.valid_fold}: must differ from the test fold"
    final = config.lr_final if "lr_final" in given else None
    for phase in phases_for(config) if final is not None else ():
        rate, name = config.lr_of(phase.name), config.lr_setting(phase.name)
        if phase.name != FORCED and final is not None and final > rate:
            words = f"above the rate it decays from, {option(name)} {rate}; take at most that"
            yield "lr_final", f"--lr-final {final}: {words}"


def _of_networks(config: Config, given: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    if config.net == NET_OF["piczak"] and config.back_end != "piczak":
        words = f"--net piczaknet is a back end itself; take --net {config.back_end}"
        yield "back_end", f"--back-end {config.back_end}: {words}"
    if config.net in RIVALS and config.back_end != config.net:
        yield "back_end", f"--back-end {config.back_end}: --net {config.net} is a back end itself; leave one out"
    if config.init == "forcing" and config.net != "mstnet":
        yield "init", f"--init forcing: {config.net} has no front end that is forced; take --net mstnet"
    if config.deltas and not config.is_back_end:
        yield "deltas", f"--deltas {config.deltas}: a second channel is for {BACK}, not {config.net}"
    if config.net == "heurinet" and config.conv1_kernel > WIDEST:
        words = f"from 1 to {WIDEST} leave the 41 frames that PiczakNet takes"
        yield "conv1_kernel", f"--conv1-kernel {config.conv1_kernel}: too wide; {words}"
    for net, names in OWN.items():
        for name in names:
            value = getattr(config, name)
            told = given.get(name, "by the preset") is None  # a file may be for several networks
            if config.net != net and told and value != default(name):
                yield name, f"{written(name, value)}: a setting of --net {net}, not {config.net}; leave it out"


def _of_sound(config: Config, given: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    if config.sample_rate < SLOWEST:
        yield "sample_rate", f"--sample-rate {config.sample_rate}: takes hertz, {SLOWEST} or more"
    if not config.is_back_end and config.segment_length != default("segment_length"):
        words = f"{config.net} needs 20992; others are for {BACK}"
        yield "segment_length", f"--segment-length {config.segment_length}: {words}"
    for name in ("sample_rate", "n_fft", "hop_length", "center") if config.net == "melnet" else ():
        if (value := getattr(config, name)) != (unasked := default(name)):
            words = f"melnet's front end starts as the transform with {written(name, unasked)}; leave it out"
            yield name, f"{written(name, value)}: {words}"
    for name, needed in {"n_mels": 60, "n_frames": 41}.items():
        if (value := getattr(config, name)) != needed:
            yield name, f"{written(name, value)}: PiczakNet takes 60 Mel bins by 41 frames"
    if not config.center and config.segment_length < (least := config.n_fft + 40 * config.hop_length):
        words = f"41 windows take {least} samples, not {config.segment_length}"
        yield "center", f"--no-center: {words}; they need --net piczaknet --segment-length {least}"
    try:
        sound = config.sound()
    except InputError as error:  # which begins with a setting, and it may be another that is too large for it
        yield next(name for name in (*FRAMES, str(error).split()[0]) if name in given), str(error)
        return
    if config.n_fft > config.segment_length:
        words = f"a window of --n-fft {config.n_fft} is longer than a segment of {config.segment_length} samples"
        name = "n_fft" if "n_fft" in given else "segment_length"
        yield name, f"{written(name, getattr(config, name))}: {words}"
    samples = config.n_frames * config.hop_length + (0 if config.center else config.n_fft - config.hop_length)
    heard, whole = (n / config.sample_rate for n in (samples, config.segment_length))
    if sound.frames_available > config.n_frames and heard < WHOLE * whole:
        length = config.segment_length - (0 if config.center else config.n_fft)
        words = f"{config.n_frames} windows reach {heard:.2f} s into a segment of {whole:.2f} s"
        name = next(name for name in FRAMES if name in given)
        said = f"{written(name, getattr(config, name))}: {words}"
        yield name, f"{said}; take --hop-length {-(-length // config.n_frames)}"


def idle(config: Config, given: Iterable[str]) -> str | None:
    """What is wrong with the first of the settings `given` that would change nothing in this run; None: all matter."""
    phases = phases_for(config)
    of_forcing = {"forcing_epochs", "forcing_lr", "forcing_batch_size", "forcing_patience"}
    here = {"epochs_random", "lr_random"} if config.init == "random" and not config.is_back_end else set()
    here |= {f"{what}_phase{phase.name}" for what in OF_A_PHASE for phase in phases}
    here |= of_forcing if any(phase.name == FORCED for phase in phases) else set()
    of_phases = of_forcing.union(*OF_A_PHASE.values())
    for name in given:
        said = written(name, getattr(config, name))
        if name in of_phases - here:
            names = ", ".join(phase.title for phase in phases)
            return f"{said}: this run has {'the phases ' * (len(phases) > 1)}{names} alone; leave it out"
        if name.startswith("augment_") and config.augment == 0:
            return f"{said}: no variant is made without --augment; add --augment 4, or leave it out"
        if name == "momentum" and config.optimizer == "adam":
            return f"{said}: --optimizer adam has no such momentum; leave it out"
        if name == "clip_per" and config.clip_norm is None:
            return f"{said}: nothing is clipped without --clip-norm; add it, or leave this out"
        if name == "forcing_target" and config.net != "mstnet":
            return f"{said}: a setting of --net mstnet, not {config.net}; leave it out"
        if name in ("pool_ceil", "weight_init") and config.back_end != "piczak":
            return f"{said}: a setting of PiczakNet, not {config.back_end}; leave it out"
    return None
