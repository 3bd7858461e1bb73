"""Does training wait for its data?   python -m experiments.bench.waiting [--net …] [--data …] [--segments 1000]

Epochs over prepared segments of a data set, from the cache: an epoch's seconds, and how many of them the network stood
waiting for a mini-batch.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.bench import output, workloads
from scratchnet.data import Batches
from scratchnet.nets import TITLES
from scratchnet.training.markdown import markdown


def epochs(
    name: str, segments: Any, count: int, batch: int, number: int, mean: float, std: float
) -> list[dict[str, float]]:
    """Seconds and seconds waited of each of `number` epochs of training over `count` segments."""
    feature = "logmel" if name in workloads.SPECTROGRAMS else "waveform"
    indices = np.arange(min(count, len(segments)))
    batches = Batches(segments, indices, batch, feature=feature, mean=mean, std=std, rng=np.random.default_rng(0))
    step = workloads.Step(workloads.fresh(name, len(segments.classes)), name, *workloads.noise(name, 1))
    found = []
    for _ in range(number):
        start = time.perf_counter()
        for step.x, step.target in batches:
            step()
        found.append({"seconds": time.perf_counter() - start, "waited": batches.waited})
    return found


def measure(names: Sequence[str], data: str | None, count: int, batch: int, number: int = 3) -> dict[str, Any]:
    """Every network's epochs."""
    sounds = workloads.open_sounds(data)
    rows = []
    for name in names:
        output.say(name)
        mean, std = sounds.norms.get(name, (0.0, 1.0))
        rows.append({"net": name, "epochs": epochs(name, sounds.segments, count, batch, number, mean, std)})
    return {"data": sounds.segments.name, "segments": min(count, len(sounds.segments)), "batch": batch, "rows": rows}


def table(result: dict[str, Any]) -> str:
    """Markdown: the first epoch, and the later ones on average."""
    columns = [f"{result['data']}, {result['segments']} segments, batch {result['batch']}", "first epoch", "waited",
               "a later epoch", "waited", "share"]  # fmt: skip
    lines = []
    for row in result["rows"]:
        first, *later = row["epochs"]
        took, waited = (float(np.mean([epoch[key] for epoch in later])) for key in ("seconds", "waited"))
        lines.append([
            TITLES[row["net"]], output.seconds(first["seconds"]), output.seconds(first["waited"]),
            output.seconds(took), output.seconds(waited), f"{100 * waited / took:.2f} %",
        ])  # fmt: skip
    return markdown(columns, lines, numbers=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Read the options, measure, print and write."""
    parser = output.parser("waiting", __doc__, data=True)
    parser.add_argument("--segments", type=output.positive, default=1000, help="of an epoch (default 1000)")
    parser.add_argument("--batch", type=output.positive, default=100, help=output.BATCH)
    return output.run(parser, argv, lambda a: measure(a.net, a.data, a.segments, a.batch), table)


if __name__ == "__main__":
    sys.exit(main())
