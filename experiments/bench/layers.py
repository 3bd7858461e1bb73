"""Where a training step's time goes, layer by layer:   python -m experiments.bench.layers [--net …] [--batch 1000]

The fused passes of a network run one after the other, forward and backward, as `Network` runs them. Operations are
counted as if nothing were skipped, so a pass that skips zeros may seem faster than the machine's own matrix product.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from experiments.bench import machine, output, workloads
from experiments.bench.timing import PAUSE
from scratchnet import backend
from scratchnet.clipping import clip_by_norm
from scratchnet.fusion import fuse
from scratchnet.nets import TITLES
from scratchnet.network import Network
from scratchnet.training.markdown import markdown

LOSS, CLIPPING, UPDATE = "loss", "clipping", "Nesterov update"


def measure(
    names: Sequence[str],
    batch: int,
    rounds: int,
    data: str | None = None,
    runs: Sequence[str] = (),
    warm: int = 80,
    fused: bool = True,
) -> dict[str, Any]:
    """Median seconds of every pass of every network, in the last state that `workloads.states` gives."""
    sounds = workloads.open_sounds(data) if warm or runs else None
    networks = workloads.trained(runs, sounds)
    found = []
    for name in names:
        output.say(f"{name}, batch {batch}")
        states = workloads.states(name, sounds, networks, warm)
        state, net = list(states.items())[-1]
        x, target = workloads.batch_for(name, batch, state, sounds, net.spec["n_classes"])
        rows, product = profile(net, workloads.Step(net, name, x, target), rounds, fused)
        found.append({"net": name, "batch": batch, "state": state, "passes": rows, "product_flops": product})
    data_name = sounds.segments.name if sounds else None
    return {"networks": found, "fused": fused, "data": data_name, "warm": warm, "trained": sorted(networks)}


def profile(net: Network, step: workloads.Step, rounds: int, fused: bool) -> tuple[list[dict[str, Any]], float]:
    """Every pass with its seconds forward and backward and its operations; and SGEMM's operations a second."""
    names = {id(layer): name for name, layer in net.layers.items()}
    passes = fuse(list(net.layers.values()), fused)
    titles = [_title([names[id(layer)] for layer in each.layers]) for each in passes]
    counts = workloads.flops(net, step.x)
    times: dict[tuple[str, str], list[float]] = defaultdict(list)

    def timed(title: str, way: str, call: Callable[..., Any], *arguments: Any) -> Any:
        start = time.perf_counter()
        result = call(*arguments)
        times[title, way].append(time.perf_counter() - start)
        return result

    product = machine.matrix_product(backend.threads())
    lowest = next(i for i, each in enumerate(passes) if any(layer.params for layer in each.layers))
    for _ in range(rounds + 1):
        y = step.x
        for title, each in zip(titles, passes):
            y = timed(title, "forward", each.forward, y, True)
        timed(LOSS, "forward", step.loss.forward, y, step.target)
        dy = timed(LOSS, "backward", step.loss.backward)
        for i in reversed(range(lowest, len(passes))):
            passes[i].need_dx = i > lowest
            dy = timed(titles[i], "backward", passes[i].backward, dy)
        grads = net.grads
        if step.clip:
            timed(CLIPPING, "backward", clip_by_norm, grads, step.clip)
        timed(UPDATE, "backward", step.optimizer.step, net.params, grads)
        timed("", "product", product)
        time.sleep(PAUSE)

    def seconds(title: str, way: str) -> float | None:
        return median(times[title, way][1:]) if (title, way) in times else None  # the first compiles

    rows = []
    for title, each in [*zip(titles, passes), *((t, None) for t in (LOSS, CLIPPING, UPDATE))]:
        row: dict[str, Any] = {
            "pass": title,
            "forward": seconds(title, "forward"),
            "backward": seconds(title, "backward"),
        }
        if row["forward"] is None and row["backward"] is None:
            continue
        layers = [names[id(layer)] for layer in each.layers] if each else []
        for way in ("forward", "backward"):
            row[f"{way}_flops"] = len(step.x) * sum(counts[layer][way] for layer in layers if layer in counts)
        rows.append(row)
    return rows, machine.PRODUCT_FLOPS / seconds("", "product")


def _title(names: Sequence[str]) -> str:
    """`piczak: conv1 + relu1 + pool1`."""
    return f"{names[0].partition('.')[0]}: {' + '.join(name.partition('.')[2] for name in names)}"


def table(result: dict[str, Any]) -> str:
    """Markdown: a table for each network."""
    return "\n\n".join(_network(found) for found in result["networks"]) + workloads.caption(result)


def _network(found: dict[str, Any]) -> str:
    total = sum(row[way] or 0 for row in found["passes"] for way in ("forward", "backward"))
    columns = [f"{TITLES[found['net']]}, {found['batch']}, {found['state']}", "forward", "GFLOPS", "backward",
               "GFLOPS", "of the step"]  # fmt: skip
    lines = []
    for row in found["passes"]:
        cells = []
        for way in ("forward", "backward"):
            took, flops = row[way], row[f"{way}_flops"]
            cells += [output.seconds(took) if took else "–", f"{flops / took / 1e9:.0f}" if took and flops else "–"]
        share = sum(row[way] or 0 for way in ("forward", "backward")) / total
        lines.append([row["pass"], *cells, f"{100 * share:.1f} %"])
    sums = [sum(row[way] or 0 for row in found["passes"]) for way in ("forward", "backward")]
    lines.append(["together", output.seconds(sums[0]), "", output.seconds(sums[1]), "", output.seconds(total)])
    lines.append([f"SGEMM of this machine: {found['product_flops'] / 1e9:.0f} GFLOPS", "", "", "", "", ""])
    return markdown(columns, lines, numbers=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Read the options, measure, print and write."""
    parser = output.parser("layers", __doc__, data=True, trained=True)
    parser.add_argument("--batch", type=output.positive, default=1000, help=output.BATCH)
    parser.add_argument("--rounds", type=output.positive, default=5, help=output.ROUNDS)
    parser.add_argument("--plain", action="store_true", help="one layer after the other, nothing fused")
    return output.run(
        parser, argv, lambda a: measure(a.net, a.batch, a.rounds, a.data, a.trained, a.warm, not a.plain), table
    )


if __name__ == "__main__":
    sys.exit(main())
