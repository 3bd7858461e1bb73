"""The slope of a function along a line, with an honest error bar: central differences at two widths.

Everything here sees the forward pass alone, so nothing that a backward pass returns can hide behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# Relative widths, tried from left to right until the slope is known well enough. Central differences in float64 lose
# about width² to curvature and eps/width to rounding: 1e-4 suits smooth functions (1e-8, and 1e-16 once extrapolated;
# rounding 2e-12), the narrow ones step between the kinks of a network, where rounding (2e-9) is still harmless.
WIDTHS = (1e-4, 1e-5, 1e-6, 1e-7)
WIDER = 1e-2, 1.0
# An array of zeros, as a new bias is, or of numbers as small as after its first steps, does not tell how large they
# will be: widths that are not relative, the wider ones last, are tried there too.
SMALL = 1e-3


class Slope(NamedTuple):
    """A derivative, what it is made of and how well it is known."""

    value: float  # Σ_j r_j dy_j/dt
    scale: float  # Σ_j |r_j dy_j/dt|: the size of the terms that make up the value, before they cancel
    error: float  # how far `value` may be from the truth, judged from the forward pass alone


def slope(f: Callable[[float], np.ndarray], y: np.ndarray, r: np.ndarray, width: float) -> Slope:
    """The derivative of t ↦ Σ_j r_j f(t)_j at 0, from f(±width) and f(±width/2); `y` is f(0).

    Differences are taken in every output before they are summed, so that outputs that do not move add no rounding.

    A smooth function has D(h) = D + O(h²), so D(h) and D(h/2) agree. Where a kink lies inside the interval they do
    not. Where it lies exactly at 0 they may, but then the jump between the one-sided slopes stays when h is halved,
    instead of halving too. Both disagreements go into `error`, and so does rounding: the difference of two numbers of
    size |y| is off by eps·|y|, hence its slope by eps·|y|/h, times 4/3, the larger weight of the extrapolation. Where
    some outputs move, those that do not move a bit are taken not to depend on t.
    """
    central, jump, scale, moved = [], [], 0.0, np.zeros(y.shape, bool)
    for h in (width, width / 2):
        above, below = f(h), f(-h)
        difference = r * (above - below) / (2 * h)
        central.append(float(difference.sum()))
        jump.append(float((r * ((above - y) - (y - below))).sum()) / h)
        scale = float(np.abs(difference).sum())
        moved |= (above != y) | (below != y)
    value = (4 * central[1] - central[0]) / 3  # Richardson: the h² terms cancel
    size = float(np.abs(r * y).sum(where=moved if moved.any() else True))
    rounding = 4 / 3 * np.finfo(np.float64).eps * size / width
    error = abs(central[1] - central[0]) + abs(2 * jump[1] - jump[0]) + rounding
    return Slope(value, scale, error)


def best_slope(
    f: Callable[[float], np.ndarray], y: np.ndarray, r: np.ndarray, unit: float, enough: Callable[[Slope], bool]
) -> Slope:
    """The slope at the first of the `WIDTHS` (times `unit`) at which it is known well `enough`, else the best known.

    `unit` is the size of the numbers that are moved.
    """
    widths = [width * unit for width in WIDTHS if unit]
    if unit < SMALL:
        widths += [width for width in WIDTHS + WIDER if width > WIDTHS[0] * unit]
    tried = []
    for width in widths:
        tried.append(slope(f, y, r, width))
        if enough(tried[-1]):
            return tried[-1]
    return min(tried, key=lambda found: found.error)
