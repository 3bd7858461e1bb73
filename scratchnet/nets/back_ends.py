"""What may follow a front end: PiczakNet, as in the paper, or a rival (hypothesis H1: is PiczakNet the bottleneck?)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scratchnet.nets.minivgg import minivgg_group
from scratchnet.nets.piczaknet import piczak_group
from scratchnet.nets.sbcnn import sbcnn_group
from scratchnet.network import Group

# Name of the group, as in `piczak.conv1.weight` → what makes it. The first convolution is called conv1 in all of them.
BACK_ENDS: dict[str, Callable[..., Group]] = {"piczak": piczak_group, "sbcnn": sbcnn_group, "minivgg": minivgg_group}
NET_OF = {"piczak": "piczaknet", "sbcnn": "sbcnn", "minivgg": "minivgg"}  # the back end alone, behind spectrograms


def back_end_group(n_classes: int = 10, back_end: str = "piczak", **options: Any) -> Group:
    """The layers of that back end. x (N, 1, 60, 41) → logits (N, n_classes). Raises ValueError for an unknown name."""
    if back_end not in BACK_ENDS:
        raise ValueError(f"unknown back end {back_end!r}: choose one of {', '.join(BACK_ENDS)}")
    return BACK_ENDS[back_end](n_classes, **options)
