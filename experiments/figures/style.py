"""How the figures look: sizes of a printed page, colours that the colour-blind can tell apart, axes in hertz."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any

from scratchnet import plots
from scratchnet.nets import TITLES

COLUMN, PAGE = 3.5, 7.0  # widths in inches: of a column of two, of a page
MAP = plots.MAP
# Okabe & Ito's palette (without its yellow, too light for lines), and dashes for those who print in grey.
BLUE, ORANGE, GREEN, PURPLE, SKY, RUST, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000",
)  # fmt: skip
PALETTE = (BLUE, RUST, GREEN, PURPLE, ORANGE, SKY, BLACK, "#999999")
OF_NET = {
    "piczaknet": GREEN, "heurinet": BLUE, "mstnet": RUST, "melnet": PURPLE,  # fig. 3: HeuriNet blue, MSTNet red
    "sbcnn": ORANGE, "minivgg": SKY,
}  # fmt: skip
HERTZ = (300, 1000, 3000, 9000)


def colours(systems: Mapping[str, str]) -> dict[str, str]:
    """A colour for each system of a picture, from the systems' networks.

    The first system of a network has the network's own, others have what is left of the palette; random initialisation
    has the IceBreaker's.
    """
    twins = {name: name.replace(", random init", ", IceBreaker") for name in systems}
    found: dict[str, str] = {}
    for name, net in sorted(systems.items(), key=lambda item: "(" in item[0]):  # those that differ from the usual last
        if OF_NET[net] not in found.values():
            found.setdefault(twins[name], OF_NET[net])
    left = cycle([colour for colour in PALETTE if colour not in found.values()] or PALETTE)
    for twin in twins.values():
        if twin not in found:
            found[twin] = next(left)
    return {name: found[twin] for name, twin in twins.items()}


def title(net: str) -> str:
    """A network's name as the paper writes it."""
    return TITLES.get(net, net)


def mel_axis(axis: Any, sound: Mapping[str, Any]) -> None:
    """Hertz on the y axis of an image whose rows are Mel bins."""
    bins = dict(zip(HERTZ, plots.mel_bins(HERTZ, sound)))
    shown = {hertz: place for hertz, place in bins.items() if place < sound["n_mels"]}
    axis.set_yticks([*shown.values()], [f"{hertz:g}" for hertz in shown])


def hertz_axis(axis: Any) -> None:
    """Frequencies in hertz on the y axis, from 0."""
    axis.set_ylabel("frequency in hertz")
    axis.yaxis.set_major_formatter("{x:.0f}")
