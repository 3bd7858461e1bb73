"""The highest memory of a training step, each side in a process of its own:   python -m experiments.bench.memory

Two steps on noise, so that the buffers kept between steps are counted; then what the kernel says was the process's
highest resident memory, and the same less what it held when everything was imported.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from experiments.bench import machine, output
from scratchnet import backend
from scratchnet.errors import InputError
from scratchnet.nets import TITLES
from scratchnet.training.markdown import markdown

OURS, EAGER, LAST = "scratchnet", "eager", "channels-last"  # opponents.py, which needs PyTorch, has the same names
SIDES = (OURS, EAGER, LAST)


def child(side: str, name: str, batch: int, threads: int) -> dict[str, int]:
    """In the process that is measured: bytes after the imports, and at most."""
    from experiments.bench import workloads

    backend.threads(threads)
    backend.kernels_of(workloads.noise(name, 1)[0])  # imported here, not while we measure
    clip = workloads.CLIP.get(name)
    if side != OURS:
        from experiments.bench import opponents

        opponents.torch.set_num_threads(threads)
    imported = machine.memory()
    x, target = workloads.noise(name, batch)
    if side == OURS:
        step = workloads.Step(workloads.fresh(name), name, x, target)
    else:
        step = opponents.Step(name, side, 10, clip)
        step.x, step.target = opponents.tensor(x, side), opponents.torch.from_numpy(target)
    step()
    step()
    return {"imported": imported, "peak": machine.memory("VmHWM")}


def peak(side: str, name: str, batch: int, threads: int) -> dict[str, int]:
    """`child` in a new process."""
    return machine.in_own_process("memory", side, name, batch, threads)


def measure(names: Sequence[str], batches: Sequence[int], sides: Sequence[str] = SIDES) -> dict[str, Any]:
    """Bytes of every network, batch size and side. Ours runs once before, so that no compiler is counted."""
    rows = []
    for name in names:
        for batch in batches:
            row: dict[str, Any] = {"net": name, "batch": batch}
            peak(OURS, name, batch, backend.threads())
            for side in sides:
                output.say(f"{name}, batch {batch}: {side}")
                try:
                    row[side] = peak(side, name, batch, backend.threads())
                except InputError as error:
                    if side == OURS:
                        raise
                    row[side] = {"failed": str(error)}
            rows.append(row)
    return {"rows": rows, "sides": list(sides)}


def _cell(found: dict[str, Any]) -> str:
    if "failed" in found:
        return f"failed: {found['failed']}"
    return f"{found['peak'] / 1e6:.0f} ({(found['peak'] - found['imported']) / 1e6:.0f})"


def table(result: dict[str, Any]) -> str:
    """Markdown: MB of the whole process, MB beyond the imports, and both ratios to the leaner PyTorch."""
    sides = result["sides"]
    columns = ["network, batch", *(f"{side}, MB" for side in sides), "PyTorch / scratchnet", "beyond the imports"]
    lines = []
    for row in result["rows"]:
        cells = [_cell(row[side]) for side in sides]
        ratios = [
            min((of(row[side]) for side in sides if side != OURS and "peak" in row[side]), default=float("nan"))
            / of(row[OURS])
            for of in (lambda m: m["peak"], lambda m: m["peak"] - m["imported"])
        ]
        name = f"{TITLES[row['net']]}, {row['batch']}"
        lines.append([name, *cells, f"**{ratios[0]:.2f}**", f"{ratios[1]:.2f}"])
    return markdown(columns, lines, numbers=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Read the options, measure, print and write."""
    argv = sys.argv[1:] if argv is None else argv
    if list(argv[:1]) == ["--child"]:
        side, name, batch, threads = argv[1:]
        print(json.dumps(child(side, name, int(batch), int(threads))))
        return 0
    parser = output.parser("memory", __doc__)
    parser.add_argument("--batch", nargs="+", type=output.positive, default=[1000], help=output.BATCH)
    return output.run(parser, argv, lambda a: measure(a.net, a.batch), table)


if __name__ == "__main__":
    sys.exit(main())
