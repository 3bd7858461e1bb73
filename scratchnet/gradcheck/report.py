"""What a gradient check found, and how it says so: which array, where in it, both values."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from scratchnet.gradcheck.differences import Slope


@dataclass
class Worst:
    """The largest error of one array's wrong elements; where none is, of its elements and directions."""

    index: tuple[int, ...] | None  # None: along the random direction
    analytic: float
    numeric: float
    error: float
    is_wrong: bool = False  # an element that is


@dataclass
class ArrayReport:
    """How the gradient of one array (the input or a parameter) fared."""

    name: str
    shape: tuple[int, ...]
    tolerance: float
    checked: int = 0
    wrong: int = 0
    left_out: int = 0  # coordinates whose slope the forward pass does not tell: beside a kink, or lost in rounding
    direction: str = ""  # the random directions whose slopes were compared too, which see what was not sampled
    note: str = ""  # what is right, and yet to be known
    worst: Worst | None = None  # an element, where one is wrong: of a direction's slope the ratio says little
    largest: float = 0.0  # error, of elements and directions
    ratios: tuple[float, float] | None = None  # backward's slope over the true one, least and most of wrong elements
    complaint: str = ""  # what is wrong with the gradient as a whole, if anything

    def add(self, index: tuple[int, ...] | None, analytic: float, found: Slope) -> None:
        """Compare one coordinate (None: the random direction)."""
        size = max(found.scale, abs(found.value), abs(analytic))
        error = abs(analytic - found.value) / size if size > 0 else 0.0
        self.largest = max(self.largest, error)
        is_wrong = index is not None and error > self.tolerance
        if index is not None:
            self.checked += 1
            self.wrong += is_wrong
        if is_wrong:
            ratio = analytic / found.value + 0.0 if found.value else math.inf
            least, most = self.ratios or (ratio, ratio)
            self.ratios = min(least, ratio), max(most, ratio)
        if self.worst is None or (is_wrong, error) > (self.worst.is_wrong, self.worst.error):
            self.worst = Worst(index, analytic, found.value, error, is_wrong)

    @property
    def error(self) -> float:
        """The largest relative error; infinite where the gradient as a whole is not one."""
        if self.complaint:
            return float("inf")
        return self.largest

    def __str__(self) -> str:
        name = f"{self.name} {self.shape}"
        if self.complaint:
            return f"{name}: {self.complaint}"
        left_out = f", {self.left_out} beside kinks or lost in rounding left out" if self.left_out else ""
        counts = f"{self.checked} checked{left_out}"
        direction = f" and {self.direction}" if self.direction else "; no direction: the others are unseen"
        if self.checked == math.prod(self.shape) and not self.direction:
            direction = ""
        worst = self.worst
        if worst is None or self.error <= self.tolerance:
            note = f"; {self.note}" if self.note else ""
            return f"{name}: ok, worst relative error {self.error:.1e} ({counts}{direction}){note}"
        where = "along a random direction" if worst.index is None else f"at {list(worst.index)}"
        ratio = f", ratio {worst.analytic / worst.numeric:.6g}" if worst.numeric else ""
        if self.ratios and self.wrong > 1:
            least, most = self.ratios
            same = least == most or most - least <= 1e-3 * abs(most)
            ratio = f", ratio {most:.3g} everywhere" if same else f"{ratio}, all from {least:.3g} to {most:.3g}"
        return (
            f"{name}: WRONG at {self.wrong} of {counts}; worst {where}: backward gives {worst.analytic:.9g}, "
            f"central differences {worst.numeric:.9g} (relative error {worst.error:.1e}{ratio})"
        )


@dataclass
class GradcheckResult:
    """What `gradcheck` found: print it. For programs: `ok`, the relative `max_error`, `worst` (that array's report)."""

    subject: str
    tolerance: float
    arrays: list[ArrayReport] = field(default_factory=list)
    hint: str = ""  # where to look, of a network

    @property
    def max_error(self) -> float:
        """The largest relative error of all arrays."""
        return max((report.error for report in self.arrays), default=0.0)

    @property
    def ok(self) -> bool:
        """Is every gradient right (and was there any)?"""
        return bool(self.arrays) and self.max_error <= self.tolerance

    @property
    def worst(self) -> ArrayReport | None:
        """The report of the array with the largest error."""
        return max(self.arrays, key=lambda report: report.error, default=None)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        verdict = f"ok, worst relative error {self.max_error:.1e}" if self.ok else "WRONG GRADIENT"
        if not self.arrays:
            verdict = "NO GRADIENT: all is frozen, and nothing asks for that of the input"
        hint = [self.hint] if self.hint else []
        return "\n  ".join([f"{self.subject}: {verdict}", *map(str, self.arrays), *hint])
