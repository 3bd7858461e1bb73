"""Fair times on a machine that is never quite quiet: the rivals take turns, and medians count."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

PAUSE = 0.1  # seconds between two rivals: the threads of the one spin for about 0.05 s before they go to sleep


@dataclass(frozen=True)
class Timing:
    """Seconds of one thing, measured in several rounds."""

    times: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return median(self.times)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; `seconds` is the median."""
        return {"seconds": self.median, "least": min(self.times), "most": max(self.times), "rounds": len(self.times)}


def interleave(
    rivals: Mapping[str, Callable[[], Any]],
    rounds: int,
    *,
    repeat: int = 1,
    warm: bool = True,
    always: Collection[str] = (),
    slow: float = 1.4,
) -> dict[str, Timing]:
    """Each rival in turn, `rounds` times over; a round takes `repeat` calls on end and counts their mean.

    `warm`: every rival runs once before, uncounted (it compiles, and makes its buffers). To save time, a rival that
    took more than `slow` times the fastest in the first round stays with that one measurement; those in `always` run
    every round, and are no measure for the others.
    """
    times: dict[str, list[float]] = {name: [] for name in rivals}
    if warm:
        for call in rivals.values():
            call()
    racing = list(rivals)
    for number in range(rounds):
        for name in racing:
            gc.collect()
            time.sleep(PAUSE)
            start = time.perf_counter()
            for _ in range(repeat):
                rivals[name]()
            times[name].append((time.perf_counter() - start) / repeat)
        if number == 0:
            fastest = min((t[0] for name, t in times.items() if name not in always), default=0.0)
            racing = [name for name in rivals if name in always or times[name][0] <= slow * fastest]
    return {name: Timing(tuple(t)) for name, t in times.items()}
