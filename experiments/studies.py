"""Every experiment as data: a question, and the systems whose runs answer it.

A system states only what differs from its scale; a scale says how much effort there is. `experiments.reproduce` runs
them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from scratchnet.errors import InputError, nearest
from scratchnet.training.config import OF_A_PHASE, Config
from scratchnet.training.presets import PRESETS
from scratchnet.training.resolve import resolve


class Scale(NamedTuple):
    """How much effort: settings of every run, and seeds (`many` where a study lives on them)."""

    about: str
    settings: Mapping[str, Any]
    seeds: int
    many: int


SCALES = {
    "paper": Scale(
        "the published setting: 300/100/100/100 epochs, batches of 1000, every fold, three seeds; for a GPU",
        {"preset": "paper", "split": "cv"},
        seeds=3,
        many=3,
    ),
    # Batches of 50 and few epochs go with the standardised input and the rates of Piczak's preset: the paper's unscaled
    # decibels diverge at such rates. Deltas and augmentation are left to the study that asks about them.
    "short": Scale(
        "Piczak's preset: 40/10/10/10 epochs, batches of 50, every fold, one seed; for a CPU",
        {"preset": "piczak2015", "deltas": None, "augment": 0, "split": "cv"},
        seeds=1,
        many=3,
    ),
    "tiny": Scale(
        "one epoch, one fold, one seed: whether everything runs; the scores mean nothing",
        {"preset": "piczak2015", "deltas": None, "augment": 0, "epochs": 1, "batch_size": 8, "forcing_batch_size": 8},
        seeds=1,
        many=2,
    ),
}


TIMES = "_times"  # at the end of a name: see `System`


class System(NamedTuple):
    """What is trained: its name in tables, and its settings where they differ from the scale's.

    What ends with `_times` is no setting of a run: `lr_times` multiplies all learning rates of the scale, those of
    forcing apart; `epochs_phase3_times` the epochs of Phase 3, and `epochs_phase0_times` those before a front end
    learns, which are all that there are without one.
    """

    name: str
    settings: Mapping[str, Any]


PICZAKNET = System("PiczakNet", {"net": "piczaknet"})
HEURINET = System("HeuriNet, IceBreaker", {"net": "heurinet"})
MSTNET = System("MSTNet, IceBreaker", {"net": "mstnet", "grad_norms": True})
HEURINET_LONG = System("HeuriNet, IceBreaker, Phase 3 4 times as long", {"net": "heurinet", "epochs_phase3_times": 4})
HEURINET_RANDOM = System("HeuriNet, random init", {"net": "heurinet", "init": "random"})
MSTNET_RANDOM = System("MSTNet, random init", {"net": "mstnet", "init": "random", "grad_norms": True})
MSTNET_FORCED = System("MSTNet, forcing alone", {"net": "mstnet", "init": "forcing"})
MELNET = System("MelNet, |·|²", {"net": "melnet", "mel_power": 2, "grad_norms": True})
MELNET_MODULUS = System("MelNet, |·|", {"net": "melnet", "mel_power": 1, "grad_norms": True})
FIVE = (PICZAKNET, HEURINET, MSTNET, HEURINET_RANDOM, MSTNET_RANDOM)


AT_PEAK = tuple(System(f"{s.name}, peak segment", {**s.settings, "peak": "segment"}) for s in FIVE[:3])

WITH_VARIANTS = tuple(System(f"{s.name}, augmentation", {**s.settings, "augment": 4}) for s in FIVE[:3])


def _piczak2015(name: str, deltas: str | None, augment: int = PRESETS["piczak2015"]["augment"]) -> System:
    return System(name, {"net": "piczaknet", "preset": "piczak2015", "deltas": deltas, "augment": augment})


PLAIN = _piczak2015("Piczak 2015, neither", None, 0)
DELTAS = _piczak2015("Piczak 2015, deltas", "librosa031", 0)
AUGMENTED = _piczak2015("Piczak 2015, augmentation", None)
BOTH = _piczak2015("Piczak 2015, deltas and augmentation", "librosa031")


def _versions(base: System, **values: tuple[Any, ...]) -> tuple[System, ...]:
    """`base` and, for each value of a setting, a system with it."""
    changed = [
        System(f"{base.name}, {name} {value}", {**base.settings, name: value})
        for name, those in values.items()
        for value in those
    ]
    return (base, *changed)


@dataclass(frozen=True)
class Study:
    """A question of the paper. `pairs`: systems to test against each other; `many`: it lives on several seeds;
    `phases`: its figures need the weights of every phase.
    """

    question: str
    systems: tuple[System, ...]
    pairs: tuple[tuple[System, System], ...] = ()
    many: bool = False
    phases: bool = False


RIVALS = {"SB-CNN": "sbcnn", "MiniVGG": "minivgg"}


def _behind(front: System, rival: str) -> System:
    """The system with a rival in PiczakNet's place; on spectrograms, the rival is the whole network."""
    if front is PICZAKNET:
        return System(rival, {"net": RIVALS[rival]})
    return System(f"{front.name}, {rival}", {**front.settings, "back_end": RIVALS[rival]})


ALL_FRONTS = (PICZAKNET, HEURINET, MSTNET, MELNET)
BEHIND = tuple((_behind(front, rival), front) for front in ALL_FRONTS for rival in RIVALS)
MIXUP = {"mixup": 0.4}
MIXUP_AUGMENTED = {**MIXUP, "augment": 4}
LONG = {**MIXUP_AUGMENTED, "epochs_phase0_times": 5}
STRONGER = (
    *(
        System(f"{rival}, {name}", {"net": net, **settings})
        for rival, net in RIVALS.items()
        for name, settings in {"mixup": MIXUP, "mixup and augmentation": MIXUP_AUGMENTED}.items()
    ),
    System("SB-CNN, mixup and augmentation, 5 times as long", {"net": "sbcnn", **LONG}),
    _behind(MELNET, "SB-CNN"),
    System(
        "MelNet, |·|², SB-CNN, mixup and augmentation, Phase 0 5 times as long",
        {**_behind(MELNET, "SB-CNN").settings, **LONG},
    ),
)
FORCED = _versions(MSTNET_FORCED, forcing_target=("minmax", "paper", "code"))[1:]
RATES = _versions(HEURINET, lr_times=(0.25, 4.0))
WIDTHS = _versions(HEURINET, conv1_kernel=(55, 310))
COUNTS = _versions(HEURINET, conv1_channels=(40, 160))

STUDIES = {
    "systems": Study(
        "Does a learned front end do as well as the Mel-spectrogram, and does it need the IceBreaker? (fig. 4)",
        FIVE,
        pairs=(
            (HEURINET, PICZAKNET),
            (MSTNET, PICZAKNET),
            (HEURINET, HEURINET_RANDOM),
            (MSTNET, MSTNET_RANDOM),
        ),
        phases=True,
    ),
    "icebreaker": Study(
        "IceBreaker or random initialisation, over several seeds",
        FIVE,
        pairs=((HEURINET, HEURINET_RANDOM), (MSTNET, MSTNET_RANDOM)),
        many=True,
    ),
    "longer": Study(
        "Was HeuriNet trained for long enough? Its last phase four times as long",
        (PICZAKNET, HEURINET, HEURINET_LONG),
        pairs=((HEURINET_LONG, HEURINET), (HEURINET_LONG, PICZAKNET)),
    ),
    "peak": Study(
        "Do front ends without a logarithm need every segment at full range, as the paper has it, and not every clip?",
        (*(system for pair in zip(AT_PEAK, FIVE) for system in pair),),
        pairs=(*zip(AT_PEAK, FIVE), (AT_PEAK[1], AT_PEAK[0]), (AT_PEAK[2], AT_PEAK[0])),
    ),
    "variants": Study(
        "Do learned front ends lack training data? The same with four augmented variants of each recording",
        (*(system for pair in zip(WITH_VARIANTS, FIVE) for system in pair),),
        pairs=(*zip(WITH_VARIANTS, FIVE), *((front, WITH_VARIANTS[0]) for front in WITH_VARIANTS[1:])),
    ),
    "piczak2015": Study(
        "What do Piczak's deltas and his augmentation bring to his network?",
        (PLAIN, DELTAS, AUGMENTED, BOTH),
        pairs=((DELTAS, PLAIN), (AUGMENTED, PLAIN), (BOTH, PLAIN)),
    ),
    "forcing": Study(
        "How near does MSTNet's front end come to the Mel-spectrogram when forced, by the target's normalisation? "
        "Does the training that follows bring anything?",
        (MSTNET, *FORCED),
        pairs=tuple((MSTNET, forced) for forced in FORCED),
    ),
    "melnet": Study(
        "H2: does a front end that starts as the Mel transform beat it? Does its square make gradients explode?",
        (PICZAKNET, MELNET, MELNET_MODULUS),
        pairs=((MELNET, PICZAKNET), (MELNET_MODULUS, PICZAKNET), (MELNET, MELNET_MODULUS)),
    ),
    "back_ends": Study(
        "H1: is PiczakNet the bottleneck? Two others from the literature behind the same front ends",
        (*ALL_FRONTS, *(system for system, _ in BEHIND)),
        pairs=BEHIND,
    ),
    "best": Study(
        "What is the best that these questions lead to? To be chosen by the validation folds, not by the test folds",
        (PICZAKNET, *(_behind(PICZAKNET, rival) for rival in RIVALS), *STRONGER),
        pairs=tuple((system, PICZAKNET) for system in STRONGER),
    ),
    "heurinet": Study(
        "Hyper-parameters of HeuriNet: learning rate, width and number of the first layer's kernels",
        (PICZAKNET, *RATES, *WIDTHS[1:], *COUNTS[1:]),
        pairs=tuple((system, HEURINET) for system in (*RATES[1:], *WIDTHS[1:], *COUNTS[1:])),
    ),
}


@dataclass(frozen=True)
class Job:
    """One run: the folder's name is what it is. `keep`: weights of every phase are wanted, not of the last alone."""

    name: str
    config: Config
    keep: bool = False


def choose(names: list[str] | None) -> dict[str, Study]:
    """The studies of these names, all where there are none. Raises `InputError` for an unknown name."""
    for name in names or ():
        if name not in STUDIES:
            raise InputError(f"--only {name}: no such study{nearest(name, STUDIES)} (one of {', '.join(STUDIES)})")
    return {name: study for name, study in STUDIES.items() if not names or name in names}


def job(system: System, scale: str, seed: int, changes: Mapping[str, Any] | None = None) -> Job:
    """The run of a system at a scale; `changes`: what the user asks of all runs. Equal runs have equal names."""
    common = {**SCALES[scale].settings, **(changes or {})}
    settings = {**system.settings}
    times = {name: settings.pop(name) for name in [*settings] if name.endswith(TIMES)}
    config = resolve(({**common, **settings, "seed": seed}, None))
    plain = resolve(({**common, "net": config.net, "preset": config.preset}, None))
    name = "-".join(_words(config, plain, SCALES[scale].settings["preset"], times))
    for what, factor in times.items():
        stem = what.removesuffix(TIMES)
        if stem.startswith("epochs_") and config.epochs is not None:  # one number for all phases, which this one leaves
            config = config.with_(**dict.fromkeys(OF_A_PHASE["epochs"], config.epochs), epochs=None)
        names = [name for name in config.to_dict() if name.startswith(stem)]
        scaled = {name: getattr(config, name) * factor for name in names if getattr(config, name) is not None}
        config = config.with_(**scaled)
    return Job(name, config)


UNNAMED = ("init", "seed", "grad_norms")  # named first or last; what is recorded changes no result


def _words(config: Config, plain: Config, preset: str, times: Mapping[str, float]) -> Iterator[str]:
    """heurinet, icebreaker, conv1_kernel, 55, seed2: what the run is, where it is not what its preset makes of it."""
    yield config.net
    if not config.is_back_end:
        yield config.init
    if config.preset != preset:
        yield config.preset
    for name, value in config.to_dict().items():
        if name not in UNNAMED and value != getattr(plain, name):
            yield f"{name}-{value}"
    for what, factor in times.items():
        yield f"{what}-{factor:g}"
    yield f"seed{config.seed}"


def seeds(study: Study, scale: str, told: int | None = None) -> range:
    """The seeds of a study's runs."""
    return range(told or (SCALES[scale].many if study.many else SCALES[scale].seeds))


def jobs(studies: Mapping[str, Study], scale: str, told: int | None, changes: Mapping[str, Any]) -> Iterator[Job]:
    """Every run of these studies once, first seeds first: a stopped reproduction has a bit of everything."""
    plan: dict[str, Job] = {}
    drawn = {job(s, scale, 0, changes).name for study in STUDIES.values() if study.phases for s in study.systems}
    for study in studies.values():
        for system in study.systems:
            for seed in seeds(study, scale, told):
                made = job(system, scale, seed, changes)
                plan[made.name] = Job(made.name, made.config, keep=made.name in drawn)
    return iter(sorted(plan.values(), key=lambda made: made.config.seed))
