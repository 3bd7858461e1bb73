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
    now = [np.ascontiguousarray(a).reshape(-1).view(np.uint8) for a in arrays]
    if before is None or not all(map(_same, before, now)):
        before, made = [a.copy() for a in now], make()
    _made[key] = before, made  # the latest last
    while len(_made) > LAYERS:
        _made.pop(next(iter(_made)), None)
    return made


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays of bytes are equal; eight at a time where they can be."""
    return bool((a.view(np.uint64) == b.view(np.uint64)).all() if a.nbytes % 8 == 0 else (a == b).all())
