"""Everything that a GPU is needed for, in under nine minutes:   python -m experiments.bench.gpu --cache FOLDER

Leaves OUT/gpu.json and OUT/gpu.md: all backend tests on the device; compute-sanitizer's memcheck and racecheck on every
kernel; training steps against PyTorch at its best (eager and torch.compile, TF32 on both sides) by CUDA events; each
kernel against the machine's measured ceilings; memory; the time to the first step; the paper's whole protocol.

Each part runs in a process of its own with a time limit, and one that fails costs no other. `--cache` is a folder of
prepared segments (ESC-10's, as `scratchnet.data.prepare` writes it); neither soundfile nor soxr is needed. Without a
GPU it says so and measures nothing; `--dry-run` shows the parts.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.bench import gpu_parts, output
from scratchnet.cli import guard
from scratchnet.errors import InputError
from scratchnet.kernels import cuda

LIMIT = 530.0  # seconds for all parts together
SANITIZER = "compute-sanitizer"


def commands(nets: Sequence[str], batches: Sequence[int], cache: Path | None) -> list[tuple[str, float, list[str]]]:
    """(name, time limit in seconds, command) of every part, the most wanted first."""
    python = [sys.executable, "-m"]
    part = [*python, "experiments.bench.gpu_parts"]
    found = [
        ("ceilings", 40.0, [*part, "ceilings"]),
        ("sanity", 60.0, [*part, "touch"]),
        *((f"step {net} {batch}", 60.0, [*part, "step", net, str(batch)]) for net in nets for batch in batches),
        ("kernels", 60.0, [*part, "kernels"]),
        ("start cold", 60.0, [*part, "start", "heurinet"]),
        ("start warm", 30.0, [*part, "start", "heurinet"]),
    ]
    if cache is not None:
        found.append(("protocol", 120.0, [*part, "protocol", str(cache)]))
    found.append(("tests", 100.0, [*python, "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "tests"]))
    found += [
        (tool, 60.0, [SANITIZER, "--tool", tool, "--error-exitcode", "9", *part, "touch"])
        for tool in ("memcheck", "racecheck")
    ]
    found += [(f"compiled {net} {b}", 120.0, [*part, "compiled", net, str(b)]) for b in batches for net in nets]
    return found


def run_part(command: Sequence[str], limit: float, environment: dict[str, str]) -> dict[str, Any]:
    """The part's result (the JSON on its last line, if it prints one), how long it took and whether it failed."""
    start = time.perf_counter()
    if shutil.which(command[0]) is None:
        return {"failed": f"{command[0]} is not installed", "seconds": 0.0}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, env=environment)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {limit:.0f} s", "seconds": limit}
    result: dict[str, Any] = {"seconds": time.perf_counter() - start}
    lines = done.stdout.strip().splitlines()
    for line in reversed(lines):
        if line.startswith("{"):
            result |= json.loads(line)
            break
    else:
        result["output"] = lines[-3:]
    if done.returncode:
        result["failed"] = (
            f"status {done.returncode}: {' / '.join([*lines, *done.stderr.strip().splitlines()][-4:])[-600:]}"
        )
    return result


def measure(nets: Sequence[str], batches: Sequence[int], cache: Path | None, write: Any = None) -> dict[str, Any]:
    """All parts, one after the other, within LIMIT; `write` is called with the results so far after each."""
    begun = time.perf_counter()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as kernels:
        # Inductor's and our compiled kernels start empty: the first start is a newcomer's.
        environment = {
            **os.environ,
            "CUPY_CACHE_DIR": f"{kernels}/cupy",
            "TORCHINDUCTOR_CACHE_DIR": f"{kernels}/inductor",
        }
        for name, limit, command in commands(nets, batches, cache):
            left = LIMIT - (time.perf_counter() - begun)
            if left < 5:
                results[name] = {"failed": "no time left", "seconds": 0.0}
                continue
            output.say(f"{name} …")
            own = environment | ({"CUPY_CACHE_DIR": f"{kernels}/start"} if name.startswith("start") else {})
            if name == "tests":  # their bounds are those of float32
                own = environment | {"SCRATCHNET_TF32": "0"}
            results[name] = run_part(command, min(limit, left), own)
            output.say(f"{name}: {results[name].get('failed', 'done')} ({results[name]['seconds']:.1f} s)")
            if write is not None:
                write({"parts": results, "seconds": time.perf_counter() - begun})
    return {"parts": results, "seconds": time.perf_counter() - begun}


def table(result: dict[str, Any]) -> str:
    """Markdown: steps against PyTorch, kernels against the ceilings, and what else was found."""
    parts = result["parts"]
    rows = []
    for name, part in parts.items():
        if name.startswith("step "):
            compiled = parts.get(name.replace("step", "compiled"), {})
            ours, eager, best = part.get("scratchnet"), part.get("eager"), compiled.get("compiled")
            rows.append([
                name.removeprefix("step "), *(output.seconds(t) if t else "–" for t in (ours, eager, best)),
                *(f"**{t / ours:.2f}**" if t and ours else "–" for t in (eager, best)),
                *(f"{part[key] / 2**30:.2f} GB" if part.get(key) else "–" for key in ("memory", "eager_memory")),
            ])  # fmt: skip
    columns = [
        "network, batch",
        "scratchnet",
        "eager",
        "torch.compile",
        "eager / ours",
        "compile / ours",
        "memory",
        "eager's",
    ]
    text = ["## Training steps", output.markdown(columns, rows)]
    ceilings = parts.get("ceilings", {})
    if "copy" in ceilings:
        text.append(
            f"Ceilings: copy {ceilings['copy'] / 1e12:.2f} TB/s, TF32 product {ceilings['tf32'] / 1e12:.0f} TFLOPS."
        )
        rows = [
            [r["name"], output.seconds(r["seconds"]), f"{r['bytes'] / r['seconds'] / ceilings['copy']:.0%}",
             f"{r['flops'] / r['seconds'] / ceilings['tf32']:.0%}"]
            for r in parts.get("kernels", {}).get("rows", [])
        ]  # fmt: skip
        text += [
            "## Kernels, batch 1000",
            output.markdown(["kernel", "time", "of the copy's speed", "of the product's"], rows),
        ]
    others = [name for name in parts if not name.startswith(("step ", "compiled "))]
    rows = [
        [name, f"{parts[name]['seconds']:.1f} s", parts[name].get("failed") or _short(parts[name])] for name in others
    ]
    text += ["## Everything else", output.markdown(["part", "took", "result"], rows)]
    return "\n\n".join(text)


def _short(part: dict[str, Any]) -> str:
    """A part's own figures in one line."""
    found = {key: value for key, value in part.items() if isinstance(value, (int, float, str)) and key != "seconds"}
    words = [f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in found.items()] + part.get("output", [])[
        -1:
    ]
    return "; ".join(words) or "done"


def main(argv: Sequence[str] | None = None) -> int:
    """Read the options, measure, write OUT/gpu.json and OUT/gpu.md, print the table."""
    options = output.parser("gpu", __doc__)
    options.add_argument("--batch", nargs="+", type=int, default=[1000, 100])
    options.add_argument("--cache", type=Path, help="a folder of prepared segments, for the paper's protocol")
    options.add_argument("--dry-run", action="store_true", help="show the parts and their time limits")

    def command() -> int:
        a = options.parse(argv)
        if a.dry_run:
            for name, limit, line in commands(a.net, a.batch, a.cache):
                print(f"{name:24} {limit:4.0f} s   {' '.join(line)}")
            return 0
        there, reason = cuda.available()
        if not there:
            raise InputError(f"experiments.bench.gpu: {reason}")
        a.out.mkdir(parents=True, exist_ok=True)
        about = gpu_parts.describe()

        def write(result: dict[str, Any]) -> None:
            (a.out / "gpu.json").write_text(json.dumps({**result, "machine": about}, indent=1) + "\n", encoding="utf-8")
            text = f"{table(result)}\n\n{about['gpu']}; {', '.join(f'{k} {v}' for k, v in about['versions'].items())}\n"
            (a.out / "gpu.md").write_text(text, encoding="utf-8")

        result = measure(a.net, a.batch, a.cache, write)
        write(result)
        print((a.out / "gpu.md").read_text(encoding="utf-8"))
        return int(any("failed" in part for part in result["parts"].values()))

    return guard(command)


if __name__ == "__main__":
    sys.exit(main())
