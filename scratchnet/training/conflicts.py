"""Settings that contradict each other: a run that could not be is refused before it has a folder."""

from __future__ import annotations

from scratchnet.errors import InputError
from scratchnet.nets import NET_OF, RIVALS
from scratchnet.nets.heurinet import frames
from scratchnet.training.config import Config, default, written


def check(config: Config) -> None:
    """Raise `InputError` where settings contradict each other."""
    if config.net == NET_OF["piczak"] and config.back_end != "piczak":
        raise InputError(
            f"--back-end {config.back_end}: --net piczaknet is a back end itself; take --net {config.back_end}"
        )
    if config.net in RIVALS and config.back_end != config.net:
        raise InputError(f"--back-end {config.back_end}: --net {config.net} is a back end itself; leave one out")
    if config.subset and config.data is None:
        raise InputError(f"--subset {config.subset}: the synthetic sounds have none; name the data set with --data")
    if config.init == "forcing" and config.net != "mstnet":
        raise InputError(f"--init forcing: {config.net} has no front end that is forced; take --net mstnet")
    if config.deltas and not config.is_back_end:
        raise InputError(f"--deltas {config.deltas}: a second channel is for --net piczaknet, not {config.net}")
    if not config.is_back_end and config.segment_length != default("segment_length"):
        raise InputError(
            f"--segment-length {config.segment_length}: {config.net} needs 20992; others are for --net piczaknet"
        )
    if config.net == "heurinet" and frames(config.conv1_kernel) != 41:
        widest = next(width for width in range(config.conv1_kernel, 0, -1) if frames(width) == 41)
        raise InputError(
            f"--conv1-kernel {config.conv1_kernel}: leaves {max(0, frames(config.conv1_kernel))} frames of a segment, "
            f"and PiczakNet takes 41; widths from 1 to {widest} fit"
        )
    for name in ("sample_rate", "n_fft", "hop_length", "center") if config.net == "melnet" else ():
        if getattr(config, name) != default(name):
            raise InputError(
                f"{written(name, getattr(config, name))}: melnet's front end starts as the transform with "
                f"{written(name, default(name))}; leave it out"
            )
    if (config.n_mels, config.n_frames) != (60, 41):
        raise InputError(
            f"--n-mels {config.n_mels} --n-frames {config.n_frames}: PiczakNet takes 60 Mel bins by 41 frames"
        )
    if not config.center and config.segment_length < (least := config.n_fft + 40 * config.hop_length):
        raise InputError(
            f"--no-center: 41 windows take {least} samples, not {config.segment_length}; they need --net piczaknet "
            f"--segment-length {least}"
        )
    config.sound()  # raises what is wrong with it before there is a run folder
    if config.cv and (config.test_fold is not None or config.valid_fold is not None):
        raise InputError("--cv tests every fold in turn: leave out --test-fold and --valid-fold")
    if config.test_fold is not None and config.test_fold == config.valid_fold:
        raise InputError(f"--valid-fold {config.valid_fold}: must differ from the test fold")
