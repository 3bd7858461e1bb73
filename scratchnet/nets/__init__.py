"""The networks of the paper, and their rivals, as data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scratchnet.nets.back_ends import BACK_ENDS, NET_OF, back_end_group
from scratchnet.nets.heurinet import heurinet
from scratchnet.nets.melnet import melnet
from scratchnet.nets.minivgg import minivgg
from scratchnet.nets.mstnet import mstnet
from scratchnet.nets.piczaknet import piczaknet
from scratchnet.nets.sbcnn import sbcnn
from scratchnet.network import Network

NETS: dict[str, Callable[..., Network]] = {
    "piczaknet": piczaknet,
    "heurinet": heurinet,
    "mstnet": mstnet,
    "melnet": melnet,
}
RIVALS: dict[str, Callable[..., Network]] = {"sbcnn": sbcnn, "minivgg": minivgg}  # of PiczakNet: spectrograms in
TITLES = {
    "piczaknet": "PiczakNet",
    "heurinet": "HeuriNet",
    "mstnet": "MSTNet",
    "melnet": "MelNet",
    "sbcnn": "SB-CNN",
    "minivgg": "MiniVGG",
}


def build(name: str, n_classes: int = 10, **options: Any) -> Network:
    """The network of that name; `build(**net.spec)` makes one like `net`. Raises ValueError for an unknown name."""
    known = {**NETS, **RIVALS}
    if name not in known:
        raise ValueError(f"unknown network {name!r}: choose one of {', '.join(known)}")
    return known[name](n_classes, **options)


__all__ = [
    "BACK_ENDS",
    "NETS",
    "NET_OF",
    "RIVALS",
    "TITLES",
    "back_end_group",
    "build",
    "heurinet",
    "melnet",
    "minivgg",
    "mstnet",
    "piczaknet",
    "sbcnn",
]
