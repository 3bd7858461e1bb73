"""The IceBreaker as data: which weights each phase trains, and where every weight comes from (paper, section 2.3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from scratchnet.nets import NET_OF

FRESH = "fresh"  # as the network was built: Xavier, Piczak's initialisation, or MelNet's Mel transform
FORCED = "forcing"  # the phase of spectrogram forcing; as an origin of weights, its best ones
PhaseName = int | str


@dataclass(frozen=True)
class Phase:
    """One phase: `trains` and the keys of `starts` are dotted prefixes of parameter names; the longest one decides.

    `net` None is the run's own network; `starts` maps to FRESH, FORCED or the number of the phase whose best weights
    are taken.
    """

    name: PhaseName
    trains: tuple[str, ...]
    starts: Mapping[str, PhaseName]
    net: str | None = None

    @property
    def title(self) -> str:
        """How the phase is called on the screen."""
        return f"phase {self.name}" if isinstance(self.name, int) else str(self.name)


# "piczak" stands for the back end, whichever a run has; norm1 is the batch normalisation of conv1, where there is one.
PHASE0 = Phase(0, net="piczaknet", trains=("piczak",), starts={"piczak": FRESH})
BEHIND_ITS_FRONT = Phase(0, trains=("piczak",), starts={"deepfourier": FRESH, "piczak": FRESH})
ICEBREAKER = (
    PHASE0,
    Phase(1, trains=("deepfourier",), starts={"deepfourier": FRESH, "piczak": 0}),
    Phase(2, trains=("deepfourier", "piczak.conv1", "piczak.norm1"), starts={"deepfourier": 1, "piczak": 0}),
    Phase(
        3,
        trains=("deepfourier", "piczak"),
        starts={"deepfourier": 2, "piczak.conv1": 2, "piczak.norm1": 2, "piczak": 0},
    ),
)
RANDOM = Phase("random", trains=("deepfourier", "piczak"), starts={"deepfourier": FRESH, "piczak": FRESH})
# It learns without a back end; Phase 0's stands behind what it has learned.
FORCING = Phase(FORCED, trains=("deepfourier",), starts={"deepfourier": FRESH, "piczak": 0})


def phases_for(config: Any) -> tuple[Phase, ...]:
    """`phases_of` a run's settings."""
    return phases_of(config.net, config.init, config.back_end, config.mel_power)


def phases_of(net: str, init: str, back_end: str = "piczak", mel_power: int = 2) -> tuple[Phase, ...]:
    """The phases that a run goes through, in order.

    Forcing comes right after Phase 0 for MSTNet; where `init` is "forcing", nothing comes after it. Where MelNet starts
    from magnitudes (`mel_power` 1), its Phase 0 runs behind its own frozen front end: the spectrograms that are stored
    are those of powers.
    """
    for name, alone in NET_OF.items():
        if net == alone:
            return (_behind(PHASE0, name),)
    return tuple(_behind(phase, back_end) for phase in _of_front_end(net, init, mel_power))


def _behind(phase: Phase, back_end: str) -> Phase:
    """The phase with another back end's name in place of "piczak"."""

    def name(prefix: str) -> str:
        return back_end + prefix.removeprefix("piczak") if under("piczak", prefix) else prefix

    return replace(
        phase,
        trains=tuple(map(name, phase.trains)),
        starts={name(prefix): origin for prefix, origin in phase.starts.items()},
        net=NET_OF[back_end] if phase.net else None,
    )


def _of_front_end(net: str, init: str, mel_power: int) -> tuple[Phase, ...]:
    if init == "random":
        return (RANDOM,)
    if net == "melnet" and mel_power == 1:
        return (BEHIND_ITS_FRONT, *ICEBREAKER[1:])
    if net != "mstnet":
        return ICEBREAKER
    first = Phase(1, trains=ICEBREAKER[1].trains, starts={**ICEBREAKER[1].starts, "deepfourier": FORCED})
    return (PHASE0, FORCING) if init == "forcing" else (PHASE0, FORCING, first, *ICEBREAKER[2:])


def under(prefix: str, name: str) -> bool:
    """Whether parameter `name` lies under the dotted `prefix`."""
    return name == prefix or name.startswith(prefix + ".")


def trains(phase: Phase, name: str) -> bool:
    """Whether `phase` trains parameter `name`."""
    return any(under(prefix, name) for prefix in phase.trains)


def source(phase: Phase, name: str) -> PhaseName:
    """Where `phase` takes parameter `name` from."""
    fitting = [prefix for prefix in phase.starts if under(prefix, name)]
    return phase.starts[max(fitting, key=len)]


def start_weights(
    phase: Phase, fresh: Mapping[str, Any], best: Mapping[PhaseName, Mapping[str, Any]]
) -> dict[str, Any]:
    """Every weight at the start of `phase`.

    `fresh`: the network's weights as built; `best`: per finished phase, the best values of the weights that it trained.
    """
    weights = {}
    for name, array in fresh.items():
        origin = source(phase, name)
        weights[name] = array if origin == FRESH else best[origin][name]
    return weights
