import json

import numpy as np
import pytest

from scratchnet import train
from scratchnet.errors import InputError
from scratchnet.nets import NETS, heurinet
from scratchnet.sound import Augmentation, SoundSettings
from scratchnet.training import config
from scratchnet.training import resolve as resolving
from scratchnet.training.config import Config
from scratchnet.training.conflicts import idle
from scratchnet.training.presets import PRESETS, PRESETS_OF_NET
from scratchnet.training.resolve import from_dict, from_toml, resolve


def test_every_preset_and_every_network_gives_a_valid_configuration():
    for preset in PRESETS:
        for net in NETS:
            made = resolve(({"preset": preset, "net": net}, None))
            assert (made.preset, made.net) == (preset, net)
    assert {preset for preset, _ in PRESETS_OF_NET} <= set(PRESETS)
    assert {net for _, net in PRESETS_OF_NET} <= set(NETS)


def test_quick_heurinet_on_synthetic_sounds_is_what_no_option_means():
    made = resolve()
    assert (made.preset, made.net, made.init, made.data) == ("quick", "heurinet", "icebreaker", None)


def test_the_paper_preset_is_the_published_setting():
    made = resolve(({"preset": "paper"}, None))
    assert (made.batch_size, made.momentum, made.optimizer, made.weight_decay) == (1000, 0.9, "nesterov", 0.0)
    assert [made.epochs_of(phase) for phase in (0, 1, 2, 3, "random", "forcing")] == [300, 100, 100, 100, 300, 300]
    assert [made.lr_of(phase) for phase in (0, 1, 2, 3, "forcing")] == [2e-3, 2e-3, 2e-3, 2e-3, 3e-4]
    assert (made.clip_norm, made.short, made.standardize, made.lr_final) == (None, "drop", "none", None)
    mst = resolve(({"preset": "paper", "net": "mstnet"}, None))
    assert [mst.lr_of(phase) for phase in (0, 1, 2, 3, "random")] == [2e-3, 5e-3, 5e-3, 5e-3, 5e-3]
    assert (mst.clip_norm, mst.clip_per) == (3.0, "parameter")


def test_piczaks_preset_is_piczaks():
    made = resolve(({"preset": "piczak2015", "net": "piczaknet"}, None))
    assert (made.weight_init, made.pool_ceil, made.weight_decay) == ("piczak2015", True, 0.001)
    assert (made.augment, made.augment_epoch, made.augment_limits) == (4, "draw", "class")
    assert (made.deltas, resolve(({"preset": "piczak2015", "net": "heurinet"}, None)).deltas) == ("librosa031", None)


def test_the_command_line_wins_over_toml_and_toml_over_the_preset():
    made = resolve(({"preset": "paper", "batch_size": 7, "seed": 3}, "a.toml"), ({"seed": "4"}, None))
    assert (made.preset, made.batch_size, made.seed, made.short) == ("paper", 7, 4, "drop")


def test_epochs_and_lr_override_every_phase_but_not_the_rate_of_forcing():
    made = resolve(({"epochs": "2", "lr": "0.5", "net": "mstnet"}, None))
    assert [made.epochs_of(phase) for phase in (0, 1, 2, 3, "random", "forcing")] == [2] * 6
    assert [made.lr_of(phase) for phase in (0, 1, 2, 3, "random")] == [0.5] * 5
    assert made.lr_of("forcing") == made.forcing_lr


def test_settings_survive_json():
    made = resolve(({"preset": "piczak2015", "top_db": "none", "data": "x"}, None))
    assert made.top_db is None
    assert from_dict(json.loads(json.dumps(made.to_dict()))) == made


def test_sound_settings_have_the_same_defaults_and_pass_through():
    assert Config().sound() == SoundSettings()
    assert resolve(({"silence_db": "none", "peak": "segment"}, None)).sound() == SoundSettings(
        silence_db=None, peak="segment"
    )


def test_augmentation_is_among_the_settings():
    assert Config().augmentation() is None
    given = {"augment": 3, "augment_limits": "one", "augment_pitch": 5, "augment_stretch": 0.2, "augment_shift": 0.5}
    made = resolve((given | {"augment_pitch_draw": "highest"}, "own.toml"))
    assert made.augmentation() == Augmentation(3, "one", 5, 0.2, 0.5, "highest")
    assert resolve(({"augment": 4}, None)).augmentation() == Augmentation()


# What may be read otherwise, with the reading that is not taken unasked: the paper's, its code's, or Piczak's.
READINGS = {
    "segments of Piczak's length": {"segment_length": 20480, "segment_hop": 10240},
    "windows not centred, as eq. 1 has them": {"center": False, "segment_length": 21504},
    "no window function, as eq. 1 has none": {"window": "rectangular"},
    "no floor under the decibels, as eq. 2 has none": {"top_db": "none"},
    "peak of every segment": {"peak": "segment"},
    "silent segments stay": {"silence_db": "none"},
    "short clips go": {"short": "drop"},
    "spectrograms as they are": {"standardize": "none"},
    "deltas of librosa today": {"deltas": "savgol"},
    "Piczak's deltas": {"deltas": "librosa031"},
    "Piczak's augmentation": {"augment": 10, "augment_epoch": "all"},
    "his slip in it": {"augment": 10, "augment_pitch_draw": "highest"},
    "the paper's forcing target": {"net": "mstnet", "forcing_target": "paper"},
    "its code's": {"net": "mstnet", "forcing_target": "code"},
    "a longer forcing that stops early": {"net": "mstnet", "forcing_epochs": 800, "forcing_patience": 50},
    "forcing in small batches": {"net": "mstnet", "forcing_batch_size": 100},
    "gradients clipped per layer": {"net": "mstnet", "clip_norm": 3.0, "clip_per": "layer"},
    "a rate that decays": {"lr_final": 1e-4},
    "all weights trained at once from random ones": {"net": "mstnet", "init": "random"},
    "cross-validation": {"split": "cv"},
    "classes equally frequent": {"balanced": True},
}


@pytest.mark.parametrize("given", READINGS.values(), ids=READINGS)
def test_every_reading_is_a_line_of_toml_and_stands_in_config_json(given, tmp_path):
    file = tmp_path / "reading.toml"
    file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in given.items()))
    made = resolve(({"net": "piczaknet"}, "a preset"), (from_toml(file), "reading.toml"))
    stored = json.loads(json.dumps(made.to_dict()))
    for name, value in given.items():
        assert stored[name] == resolving.convert(name, value) != config.default(name)
    assert from_dict(stored) == made


def test_toml(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text('net = "mstnet"\nlr = 1\nforcing-epochs = 3\ntop_db = "none"\ncv = true\nbalanced = true\n')
    made = resolve((from_toml(file), "own.toml"))
    assert (made.net, made.lr, made.forcing_epochs, made.top_db, made.cv, made.balanced) == (
        "mstnet",
        1.0,
        3,
        None,
        True,
        True,
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("batchsize = 3", ["batchsize", "did you mean batch_size"]),
        ("lr = ", ["not TOML"]),
        ("[train]\nlr = 1", ["under no heading", "[train]"]),
        ("seed = 1.5", ["seed", "1.5"]),
        ("strict = 1", ["strict", "true or false"]),
        ('epochs = "many"', ["epochs", "many"]),
        ("net = 3", ["net"]),
        ("lr = nan", ["lr"]),
        ("epochs = inf", ["epochs", "whole number"]),
        (f"epochs = {'9' * 5000}", ["not TOML"]),
        ('out = "a\\u0000b"', ["out", "control characters"]),
    ],
)
def test_bad_toml_is_named(tmp_path, text, words):
    file = tmp_path / "own.toml"
    file.write_text(text)
    with pytest.raises(InputError) as error:
        resolve((from_toml(file), f"--config {file}"))
    assert all(word in str(error.value) for word in ["own.toml", *words])
    assert "\n" not in str(error.value).strip()


def test_a_missing_toml_file_is_named(tmp_path):
    with pytest.raises(InputError, match="absent.toml"):
        from_toml(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"net": "heurinett"}, ["--net", "did you mean heurinet?", "piczaknet"]),
        ({"lr": "-1"}, ["--lr", "above 0"]),
        ({"lr": "inf"}, ["--lr"]),
        ({"batch_size": "0"}, ["--batch-size", "above 0"]),
        ({"momentum": "1"}, ["--momentum", "below 1"]),
        ({"dropout": "1.0"}, ["--dropout"]),
        ({"epochs": "1.5"}, ["--epochs", "whole number"]),
        ({"seed": "none"}, ["--seed"]),
        ({"deltas": "savgol", "net": "heurinet"}, ["--deltas", "piczaknet"]),
        ({"segment_length": "20480"}, ["--segment-length", "20992"]),
        ({"n_mels": "40"}, ["--n-mels", "60"]),
        ({"split": "cv", "test_fold": "3"}, ["--cv", "--test-fold"]),
        ({"test_fold": "3", "valid_fold": "3"}, ["--valid-fold 3"]),
        ({"lr": "0.01", "lr_final": "0.1"}, ["--lr-final 0.1", "--lr 0.01"]),
        ({"lr_final": "0.5"}, ["--lr-final 0.5", "--lr-phase0 0.01"]),
        ({"lr_final": "0.02", "lr_phase0": "0.1", "lr_phase1": "0.1", "lr_phase2": "0.1"}, ["--lr-phase3 0.01"]),
        ({"lr_final": "0.02", "init": "random"}, ["--lr-final 0.02", "--lr-random 0.01"]),
        ({"out": "caf\udce9"}, ["--out", r"caf\xe9", "not UTF-8"]),
        ({"mel_power": "3"}, ["--mel-power"]),
        ({"conv1_kernel": "333"}, ["--conv1-kernel 333", "from 1 to 332", "41 frames"]),
        (
            {"net": "mstnet", "conv1_kernel": "99"},
            ["--conv1-kernel 99", "of --net heurinet, not mstnet"],
        ),
        ({"net": "melnet", "mst_padding": "aligned"}, ["--mst-padding aligned", "of --net mstnet, not melnet"]),
        ({"net": "piczaknet", "sample_rate": "44"}, ["--sample-rate 44", "100 or more"]),
        ({"mel_power": "1"}, ["--mel-power 1", "of --net melnet, not heurinet"]),
        ({"augment": "-1"}, ["--augment", "0 or more"]),
        ({"augment_pitch": "25"}, ["--augment-pitch", "from 0 to 24"]),
        ({"augment_stretch": "0.9"}, ["--augment-stretch", "from 0 to 0.5"]),
        ({"augment_shift": "-1"}, ["--augment-shift"]),
        ({"augment_epoch": "some"}, ["--augment-epoch", "draw, all"]),
        ({"center": False}, ["--no-center", "--segment-length 21504"]),
        ({"net": "piczaknet", "segment_length": "20000"}, ["n_frames 41", "20000"]),
        ({"net": "piczaknet", "hop_length": "100000"}, ["n_frames 41", "lower hop_length, now 100000"]),
        ({"net": "piczaknet", "segment_length": "9" * 20}, ["--segment-length", "under 2147483648"]),
        ({"seed": "9" * 20}, ["--seed", "under 9223372036854775808"]),
        ({"seed": "-" + "9" * 20}, ["--seed", "0 or more"]),
        ({"amin": "1e-60"}, ["amin", "1.18e-38"]),
    ],
)
def test_settings_that_no_run_could_use_are_named(given, words):
    with pytest.raises(InputError) as error:
        resolve((given, None))
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize("width", [1, 55, 155, 310, 332, 333])
def test_every_width_of_heurinets_kernels_that_fits_is_taken(width):
    front = heurinet(conv1_channels=1, conv1_kernel=width).groups["deepfourier"]
    x = np.zeros((1, 1, 20992), np.float32)
    for _, layer in front:
        x = layer.forward(x)
    assert x.shape[-1] == (41 if width <= 332 else 40)
    if width <= 332:
        assert resolve(({"conv1_kernel": width}, None)).conv1_kernel == width


def test_every_setting_has_words_for_help_and_a_checked_default():
    for name, setting in Config.__dataclass_fields__.items():
        assert setting.metadata["help"]
        assert resolving.convert(name, config.default(name)) == config.default(name)


@pytest.mark.parametrize("option, said", [
    ("--batch-size", "quick: 32, paper: 1000, piczak2015: 50"),
    ("--momentum", "default: 0.9"),
    ("--clip-norm", "default: none, mstnet: 3.0, melnet: 3.0"),
    ("--lr-phase1", "quick: 0.01, paper: 0.002, piczak2015: 0.01, paper with mstnet: 0.005"),
    ("--deltas", "default: none, piczak2015 with piczaknet: librosa031"),
    ("--center", "default: on"),
    ("--pool-ceil", "quick: off, paper: off, piczak2015: on"),
])  # fmt: skip
def test_help_says_what_the_presets_make_of_a_setting(option, said):
    words = next(action.help for action in train.parser()._actions if option in action.option_strings)
    assert words.endswith(f"({said})")


@pytest.mark.parametrize("given, words", [
    ({"epochs": 1, "epochs_phase0": 2}, "--epochs-phase0: --epochs 1 is that of every phase; leave one of the two out"),
    ({"net": "mstnet", "epochs": 5, "forcing_epochs": 50}, "--forcing-epochs: --epochs 5 is that of every phase;"),
    ({"lr": 0.1, "lr_phase3": 0.2, "lr_final": 0.01}, "--lr-phase3: --lr 0.1 is that of every phase; leave one"),
    ({"subset": "esc10"}, "--subset esc10: the synthetic sounds have none; name the data set with --data"),
    ({"net": "melnet", "center": False}, "--no-center: melnet's front end starts as the transform with --center;"),
])  # fmt: skip
def test_what_contradicts_itself_is_refused(given, words):
    with pytest.raises(InputError, match=f"^{words}"):
        resolve((given, None))


def test_what_a_file_contradicts_is_looked_for_in_the_file():
    bins = r"--n-mels 61: PiczakNet takes 60 Mel bins"
    with pytest.raises(InputError, match=f"^--config a.toml: {bins}"):
        resolve(({"n_mels": 61}, "--config a.toml"))
    with pytest.raises(InputError, match=r"^--config a.toml: --no-center: melnet's front end"):
        resolve(({"center": False}, "--config a.toml"), ({"net": "melnet"}, None))
    with pytest.raises(InputError, match=r"^--config a.toml: --lr-final 9.0: above the rate"):
        resolve(({"lr_final": 9}, "--config a.toml"))
    with pytest.raises(InputError, match=r"^--config a.toml: --n-frames 40: PiczakNet takes"):
        resolve(({"n_frames": 40}, "--config a.toml"))
    with pytest.raises(InputError, match=r"^--config a.toml: n_frames 41 is more than"):
        resolve(({"net": "piczaknet", "hop_length": 20000}, "--config a.toml"))
    with pytest.raises(InputError, match=r"^--config a.toml: --cv tests every fold in turn"):
        resolve(({"cv": True}, "--config a.toml"), ({"test_fold": 3}, None))
    with pytest.raises(InputError, match=r"^--config a.toml: batch_size is given twice"):
        resolve(({"batch-size": 5, "batch_size": 6}, "--config a.toml"))
    for both in ({"split": "single", "cv": True}, {"cv": True, "split": "single"}):
        with pytest.raises(InputError, match=r"^--config a.toml: cv and split = 'single' contradict each other"):
            resolve((both, "--config a.toml"))
    assert resolve(({"split": "cv", "cv": True}, "--config a.toml")).cv
    assert resolve(({"split": "single", "cv": False}, "--config a.toml")).split == "single"
    # A file may be for several networks; and a run of an older version opens, whatever its network made no use of.
    assert resolve(({"mel_power": 1, "mst_padding": "aligned"}, "--config a.toml")).mel_power == 1
    assert from_dict({"net": "piczaknet", "conv1_kernel": 500, "sample_rate": 50}).conv1_kernel == 500
    with pytest.raises(InputError, match=f"^{bins}"):
        resolve(({"n_mels": 62}, "--config a.toml"), ({"n_mels": 61}, None))


def test_the_epochs_of_every_phase_go_over_those_of_a_file_and_not_the_other_way_round():
    """A try of one epoch with one's own settings."""
    file = {"epochs_phase0": 30, "lr_phase0": 0.1, "lr_final": 0.01}
    made = resolve((file, "--config a.toml"), ({"epochs": 1}, None))
    assert made.epochs_of(0) == 1 and made.lr_of(0) == 0.1
    with pytest.raises(InputError, match=r"^--epochs-phase0: epochs = 9 is that of every phase; leave one"):
        resolve(({"epochs": 9}, "--config a.toml"), ({"epochs_phase0": 2}, None))
    with pytest.raises(InputError, match=r"^--config a.toml: epochs_phase0: epochs = 9 is that of every phase"):
        resolve((file | {"epochs": 9}, "--config a.toml"))
    assert resolve(({"epochs": 9}, "--config a.toml"), ({"epochs": "none", "epochs_phase0": 2}, None)).epochs_of(0) == 2
    assert resolve((file | {"epochs": 9}, "--config a.toml"), ({"epochs": "none"}, None)).epochs_of(0) == 30
    assert resolve((file | {"epochs": 9}, "--config a.toml"), ({"epochs": 1}, None)).epochs_of(0) == 1


def test_configuration_of_another_version_is_refused():
    with pytest.raises(InputError, match=r"config.json.*telepathy"):
        from_dict({"telepathy": 1})


@pytest.mark.parametrize(
    "given, words",
    [
        ({"net": "piczaknet", "epochs_phase3": 4}, "--epochs-phase3 4: this run has phase 0 alone"),
        ({"init": "random", "lr_phase1": 0.1}, "--lr-phase1 0.1: this run has random alone"),
        ({"epochs_random": 4}, "--epochs-random 4: this run has the phases phase 0, phase 1, phase 2, phase 3 alone"),
        ({"forcing_epochs": 4}, "--forcing-epochs 4: this run has the phases phase 0, phase 1"),
        ({"net": "mstnet", "init": "random", "forcing_lr": 0.1}, "--forcing-lr 0.1: this run has random"),
        ({"augment_pitch": 3}, "--augment-pitch 3: no variant is made without --augment"),
        ({"optimizer": "adam", "momentum": 0.5}, "--momentum 0.5: --optimizer adam has no such momentum"),
        ({"clip_per": "layer"}, "--clip-per layer: nothing is clipped without --clip-norm"),
        (
            {"net": "heurinet", "forcing_target": "paper"},
            "--forcing-target paper: a setting of --net mstnet, not",
        ),
        ({"net": "minivgg", "pool_ceil": True}, "--pool-ceil: a setting of PiczakNet, not minivgg; leave it out"),
        ({"net": "mstnet", "clip_per": "layer"}, None),  # whose preset clips
        ({"net": "mstnet", "forcing_epochs": 4, "epochs_phase3": 4, "lr_phase0": 0.1}, None),
        ({"net": "mstnet", "init": "random", "forcing_target": "paper", "epochs_random": 3}, None),
        ({"net": "sbcnn", "epochs_phase0": 4, "preset": "piczak2015", "augment_pitch": 3, "momentum": 0.5}, None),
        ({"epochs": 4, "lr": 0.1, "epochs_phase2": "5"} | {"epochs": "none"}, None),
    ],
)
def test_what_would_change_nothing_is_told(given, words):
    """On the command line; in a file it may be for other runs."""
    found = idle(resolve((given, None)), given)
    assert found is None if words is None else found is not None and found.startswith(words)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"segment_length": 44100}, "--segment-length 44100: 41 windows reach 0.95 s into a segment of 2.00 s; take "),
        ({"segment_length": 1000, "hop_length": 24}, "--segment-length 1000: a window of --n-fft 1024 is longer than"),
        (
            {"segment_length": 60000, "center": False},
            "--segment-length 60000: 41 windows reach 0.98 s into a segment of 2.72 s; take --hop-length 1439",
        ),
        (
            {"hop_length": 100},
            "--hop-length 100: 41 windows reach 0.19 s into a segment of 0.95 s; take ",
        ),
        ({"n_fft": 30000}, "--n-fft 30000: a window of --n-fft 30000 is longer than a segment of 20992 samples"),
    ],
)
def test_a_segment_is_heard_as_a_whole(given, words):
    assert resolve(({"net": "piczaknet", "segment_length": 22050}, None))  # a twentieth may be left out
    with pytest.raises(InputError) as caught:
        resolve(({"net": "piczaknet", **given}, None))
    assert str(caught.value).startswith(words)
    if hint := str(caught.value).partition("take --hop-length ")[2]:
        assert resolve(({"net": "piczaknet", **given, "hop_length": int(hint)}, None)).hop_length == int(hint)


def test_the_final_rate_is_that_of_the_phases_that_there_are():
    assert resolve(({"lr_final": "0.02", "net": "piczaknet", "lr_phase0": "0.1"}, None)).lr_final == 0.02
    assert resolve(({"lr_final": "5e-3", "net": "mstnet"}, None)).lr_final == 5e-3  # forcing, at 1e-3, has its own
    assert resolve(({"lr": "1e-4"}, None)).lr_final == 1e-3  # the preset's gives way
