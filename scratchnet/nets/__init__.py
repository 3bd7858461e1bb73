"""The networks of the paper, as data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scratchnet.nets.heurinet import heurinet
from scratchnet.nets.melnet import melnet
from scratchnet.nets.mstnet import mstnet
from scratchnet.nets.piczaknet import piczaknet
from scratchnet.network import Network

NETS: dict[str, Callable[..., Network]] = {
    "piczaknet": piczaknet,
    "heurinet": heurinet,
    "mstnet": mstnet,
    "melnet": melnet,
}


def build(name: str, n_classes: int = 10, **options: Any) -> Network:
    """The network of that name; `build(**net.spec)` makes one like `net`. Raises ValueError for an unknown name."""
    if name not in NETS:
        raise ValueError(f"unknown network {name!r}: choose one of {', '.join(NETS)}")
    return NETS[name](n_classes, **options)


__all__ = ["NETS", "build", "heurinet", "melnet", "mstnet", "piczaknet"]
