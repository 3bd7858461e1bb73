"""What was made of a layer's weights, for as long as these are the same: a prediction asks for it batch after batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

LAYERS = 16  # remembered, the latest asked for

_made: dict[tuple, tuple[list[np.ndarray], Any]] = {}


def of(weights: list[np.ndarray | None], what: tuple, make: Callable[[], Any]) -> Any:
    """`make()`, or what it gave the last time, if every number of the weights is what it was then.

    Weights change in place, so they are compared and not trusted: that is a small part of making anything of them.
    `what` tells apart what is made of the same weights.
    """
    arrays = [a for a in weights if a is not None]
    key = (*what, *((a.__array_interface__["data"][0], a.shape, a.strides, a.dtype.str) for a in arrays))
    before, made = _made.pop(key, (None, None))
    now = [np.ascontiguousarray(a).view(np.uint32) for a in arrays]  # bits: NaN is the same as itself, −0 is not 0
    if before is None or not all(map(np.array_equal, before, now)):
        before, made = [a.copy() for a in now], make()
    _made[key] = before, made  # the latest last
    for old in list(_made)[:-LAYERS]:
        _made.pop(old, None)
    return made
