"""What starting up costs:   python -m experiments.bench.jit [--net …]

`import scratchnet` in a new process; then, for each network, a process with an empty Numba cache, and a second one that
finds it filled: from the process's start to the end of its first training step.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

from experiments.bench import machine, output
from scratchnet import backend
from scratchnet.nets import TITLES
from scratchnet.training.markdown import markdown

IMPORT = "import time; t = time.perf_counter(); import scratchnet; print(time.perf_counter() - t)"


def child(name: str, batch: int, threads: int) -> dict[str, float]:
    """In the process that is measured: the clock when a network is ready, and after each of two steps."""
    from experiments.bench import workloads

    backend.threads(threads)
    step = workloads.Step(workloads.fresh(name), name, *workloads.noise(name, batch))
    clocks = {"ready": time.time()}
    for which in ("first", "second"):
        step()
        clocks[which] = time.time()
    return clocks


def started(name: str, batch: int, cache: str) -> dict[str, float]:
    """Seconds of a new process: until a network is ready, of its first step, of its second."""
    start = time.time()
    clocks = machine.in_own_process("jit", name, batch, backend.threads(), NUMBA_CACHE_DIR=cache)
    ends = [start, clocks["ready"], clocks["first"], clocks["second"]]
    return dict(zip(("ready", "first", "second"), (b - a for a, b in zip(ends, ends[1:]))))


def measure(names: Sequence[str], batch: int, repeats: int = 5) -> dict[str, Any]:
    """The import, and every network's first and second process."""
    command = [sys.executable, "-c", IMPORT]
    imports = [
        float(subprocess.run(command, cwd=machine.ROOT, capture_output=True, text=True, check=True).stdout)
        for _ in range(repeats)
    ]
    rows = []
    for name in names:
        output.say(name)
        with tempfile.TemporaryDirectory() as cache:
            rows.append({"net": name, "empty": started(name, batch, cache), "filled": started(name, batch, cache)})
    return {"import": median(imports), "batch": batch, "rows": rows}


def table(result: dict[str, Any]) -> str:
    """Markdown: seconds until ready, of the steps, and until training runs: all but one ordinary step."""
    columns = [f"batch {result['batch']}", "process, imports, weights", "first step", "second step",
               "until training runs"]  # fmt: skip
    lines = []
    for row in result["rows"]:
        for key, title in (("empty", "the first process ever"), ("filled", "every later process")):
            t = row[key]
            times = t["ready"], t["first"], t["second"], t["ready"] + t["first"] - t["second"]
            lines.append([f"{TITLES[row['net']]}, {title}", *map(output.seconds, times)])
    return f"`import scratchnet` takes {output.seconds(result['import'])}.\n\n{markdown(columns, lines, numbers=True)}"


def main(argv: Sequence[str] | None = None) -> int:
    """Read the options, measure, print and write."""
    argv = sys.argv[1:] if argv is None else argv
    if list(argv[:1]) == ["--child"]:
        name, batch, threads = argv[1:]
        print(json.dumps(child(name, int(batch), int(threads))))
        return 0
    parser = output.parser("jit", __doc__)
    parser.add_argument("--batch", type=output.positive, default=100, help=output.BATCH)
    return output.run(parser, argv, lambda a: measure(a.net, a.batch), table)


if __name__ == "__main__":
    sys.exit(main())
