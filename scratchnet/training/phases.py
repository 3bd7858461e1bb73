"""The IceBreaker as data: which weights each phase trains, and where every weight comes from (paper, section 2.3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FRESH = "fresh"  # as the network was built: Xavier, Piczak's initialisation, or MelNet's Mel transform
FORCED = "forcing"  # best weights of spectrogram forcing
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


PHASE0 = Phase(0, net="piczaknet", trains=("piczak",), starts={"piczak": FRESH})
ICEBREAKER = (
    PHASE0,
    Phase(1, trains=("deepfourier",), starts={"deepfourier": FRESH, "piczak": 0}),
    Phase(2, trains=("deepfourier", "piczak.conv1"), starts={"deepfourier": 1, "piczak": 0}),
    Phase(3, trains=("deepfourier", "piczak"), starts={"deepfourier": 2, "piczak.conv1": 2, "piczak": 0}),
)
RANDOM = Phase("random", trains=("deepfourier", "piczak"), starts={"deepfourier": FRESH, "piczak": FRESH})
FORCING = Phase("forcing", trains=("deepfourier",), starts={"deepfourier": FRESH})


def phases_of(net: str, init: str) -> tuple[Phase, ...]:
    """The phases that a run goes through, in order; forcing comes right after Phase 0 for MSTNet."""
    if net == "piczaknet":
        return (PHASE0,)
    if init == "random":
        return (RANDOM,)
    if net != "mstnet":
        return ICEBREAKER
    first = Phase(1, trains=ICEBREAKER[1].trains, starts={**ICEBREAKER[1].starts, "deepfourier": FORCED})
    return (PHASE0, FORCING, first, *ICEBREAKER[2:])


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
