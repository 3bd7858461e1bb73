"""A step of training against PyTorch at its best:   python -m experiments.bench.step [--net …] [--batch …] [--data …]

Forward, loss, backward, clipping (MSTNet) and Nesterov update, both sides with the same weights, the same batch and the
same number of threads, taking turns.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import Any

from experiments.bench import machine, output, workloads
from experiments.bench.timing import interleave
from scratchnet import backend
from scratchnet.nets import TITLES
from scratchnet.network import Network
from scratchnet.training.markdown import markdown

try:
    from experiments.bench import opponents
except ImportError:  # without PyTorch there are our own times alone
    opponents = None  # type: ignore[assignment]

OURS, PRODUCT = "scratchnet", "SGEMM"
SEGMENTS = 300  # of a round's steps, at least


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
            rows += _states(name, batch, states, sounds, rounds or (7 if batch <= 200 else 5))
    return {"rows": rows, "data": sounds.segments.name if sounds else None, "warm": warm, "trained": sorted(networks)}


def _states(
    name: str, batch: int, states: dict[str, Network], sounds: workloads.Sounds | None, rounds: int
) -> list[dict[str, Any]]:
    """One network at one batch size in each state: PyTorch's variants are made, and compiled, once."""
    n_classes = states[workloads.NOISE].spec["n_classes"]
    theirs = opponents.steps(name, n_classes, workloads.CLIP.get(name), backend.threads()) if opponents else {}
    failed: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    for state, net in states.items():
        output.say(f"{name}, batch {batch}: {state}")
        x, target = workloads.batch_for(name, batch, state, sounds, n_classes)
        ours = workloads.Step(net, name, x, target)
        for step in theirs.values():
            step.feed(net, x, target)
        row: dict[str, Any] = {"net": name, "batch": batch, "state": state}
        if theirs:  # now: what counts non-zeros moves the running statistics of a normalisation
            row["logits_differ"] = opponents.same_logits(net, theirs[opponents.EAGER].net, x[:8])
        row["flops"] = batch * sum(sum(count.values()) for count in workloads.flops(net, x).values())
        row["nonzeros_into_dense2"] = workloads.density(net, x)
        ours()  # the first call compiles, and makes the buffers
        if not rows:
            theirs, failed = opponents.working(theirs) if theirs else ({}, {})
        else:  # constants that changed are compiled anew
            for step in theirs.values():
                step()
        rivals = {OURS: ours, **theirs, PRODUCT: machine.matrix_product(backend.threads())}
        on_end = -(-SEGMENTS // batch)  # steps, as training takes them: none wakes the threads, few miss the cache
        times = interleave(rivals, rounds, repeat=on_end, warm=False, always=(OURS, PRODUCT))
        row["times"] = {key: timing.to_dict() for key, timing in times.items()}
        row["times"] |= {key: {"failed": reason} for key, reason in failed.items()}
        rows.append(row)
    del theirs, ours, rivals
    gc.collect()
    return rows


def best(times: dict[str, Any]) -> tuple[str, float] | None:
    """The fastest of PyTorch's variants and its seconds; None where none ran."""
    found = [(t["seconds"], name) for name, t in times.items() if name not in (OURS, PRODUCT) and "seconds" in t]
    return min(found)[::-1] if found else None


def table(result: dict[str, Any]) -> str:
    """Markdown: the times, the ratio to the fastest PyTorch, and our speed in multiplications and additions."""
    variants = list(dict.fromkeys(v for row in result["rows"] for v in row["times"] if v not in (OURS, PRODUCT)))
    columns = ["network, batch", "input, weights", "scratchnet", *variants, "the best PyTorch / scratchnet", "GFLOP",
               "GFLOPS", "of SGEMM's"]  # fmt: skip
    zeros = any(row["nonzeros_into_dense2"] is not None for row in result["rows"])
    columns += ["non-zeros into dense2"] if zeros else []
    lines = []
    for row in result["rows"]:
        times, rival = row["times"], best(row["times"])
        ours, product = times[OURS]["seconds"], machine.PRODUCT_FLOPS / times[PRODUCT]["seconds"]
        speed = row["flops"] / ours
        lines.append([
            f"{TITLES[row['net']]}, {row['batch']}", row["state"], output.timed(times[OURS]),
            *(output.timed(times.get(v)) for v in variants), f"**{rival[1] / ours:.2f}**" if rival else "–",
            f"{row['flops'] / 1e9:.3g}", f"{speed / 1e9:.0f}", f"{100 * speed / product:.0f} %",
            *([_percent(row["nonzeros_into_dense2"])] if zeros else []),
        ])  # fmt: skip
    return f"{markdown(columns, lines, numbers=True)}{workloads.caption(result)}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def main(argv: Sequence[str] | None = None) -> int:
    """Read the options, measure, print and write."""
    parser = output.parser("step", __doc__, data=True, trained=True)
    parser.add_argument("--batch", nargs="+", type=output.positive, default=[100, 1000], help=output.BATCH)
    parser.add_argument("--rounds", type=output.positive, help="default: 5, or 7 up to batch 200")
    return output.run(parser, argv, lambda a: measure(a.net, a.batch, a.rounds, a.data, a.trained, a.warm), table)


if __name__ == "__main__":
    sys.exit(main())
