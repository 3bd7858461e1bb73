"""Prediction against PyTorch at its best:   python -m experiments.bench.predict [--net …] [--batch …] [--data …]

The forward pass of batches in a row (throughput) and of a single segment (latency), in `inference_mode` on the other
side.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import Any

from experiments.bench import output, workloads
from experiments.bench.step import OURS, best, opponents
from experiments.bench.timing import interleave
from scratchnet import backend
from scratchnet.nets import TITLES
from scratchnet.network import Network
from scratchnet.training.markdown import markdown

SEGMENTS, LATENCIES = 500, 20  # that one turn predicts, in batches and one by one


def measure(
    names: Sequence[str],
    batches: Sequence[int],
    rounds: int | None = None,
    data: str | None = None,
    runs: Sequence[str] = (),
    warm: int = 80,
) -> dict[str, Any]:
    """Times of every network, batch size and state; `warm` 0 and no run: random weights on noise alone."""
    sounds = workloads.open_sounds(data) if warm or runs else None
    networks = workloads.trained(runs, sounds)
    rows = []
    for name in names:
        states = workloads.states(name, sounds, networks, warm)
        for batch in batches:
            rows += _states(name, batch, states, sounds, rounds or (11 if batch <= 200 else 5))
    return {"rows": rows, "data": sounds.segments.name if sounds else None, "warm": warm, "trained": sorted(networks)}


def _states(
    name: str, batch: int, states: dict[str, Network], sounds: workloads.Sounds | None, rounds: int
) -> list[dict[str, Any]]:
    n_classes = states[workloads.NOISE].spec["n_classes"]
    theirs = opponents.forwards(name, n_classes, backend.threads()) if opponents else {}
    failed: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    for state, net in states.items():
        output.say(f"{name}, batch {batch}: {state}")
        x, _ = workloads.batch_for(name, batch, state, sounds, n_classes)
        for forward in theirs.values():
            forward.feed(net, x)
        if not rows:
            theirs, failed = opponents.working(theirs) if theirs else ({}, {})
        rivals = {OURS: lambda net=net, x=x: net.forward(x), **theirs}
        times = interleave(rivals, rounds, repeat=LATENCIES if batch == 1 else -(-SEGMENTS // batch), always=(OURS,))
        row: dict[str, Any] = {"net": name, "batch": batch, "state": state}
        row["times"] = {key: timing.to_dict() for key, timing in times.items()}
        row["times"] |= {key: {"failed": reason} for key, reason in failed.items()}
        rows.append(row)
    del theirs, rivals
    gc.collect()
    return rows


def table(result: dict[str, Any]) -> str:
    """Markdown: the time of a batch, the ratio to the fastest PyTorch, and our segments a second."""
    variants = list(dict.fromkeys(v for row in result["rows"] for v in row["times"] if v != OURS))
    columns = ["network, batch", "input, weights", "scratchnet", *variants, "the best PyTorch / scratchnet",
               "segments a second"]  # fmt: skip
    lines = []
    for row in result["rows"]:
        times, rival = row["times"], best(row["times"])
        ours = times[OURS]["seconds"]
        lines.append([
            f"{TITLES[row['net']]}, {row['batch']}", row["state"], output.timed(times[OURS]),
            *(output.timed(times.get(v)) for v in variants), f"**{rival[1] / ours:.2f}**" if rival else "–",
            f"{row['batch'] / ours:.0f}",
        ])  # fmt: skip
    return f"{markdown(columns, lines, numbers=True)}{workloads.caption(result)}"


def main(argv: Sequence[str] | None = None) -> int:
    """Read the options, measure, print and write."""
    parser = output.parser("predict", __doc__, data=True, trained=True)
    parser.add_argument(
        "--batch", nargs="+", type=output.positive, default=[100, 1], help="1: the latency of a single segment"
    )
    parser.add_argument("--rounds", type=output.positive, help="default: 5, or 11 up to batch 200")
    return output.run(parser, argv, lambda a: measure(a.net, a.batch, a.rounds, a.data, a.trained, a.warm), table)


if __name__ == "__main__":
    sys.exit(main())
