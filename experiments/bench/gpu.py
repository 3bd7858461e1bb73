"""Everything that a GPU is needed for, in under nine minutes:   python -m experiments.bench.gpu --cache FILE

Leaves OUT/gpu.json, OUT/gpu.md and what the parts printed, OUT/gpu.log: all backend tests on the device;
compute-sanitizer's memcheck on every kernel, and racecheck on the same ones with the smallest arrays, in TF32 and in
float32 side by side; training steps against PyTorch at its best (eager and torch.compile, TF32 on both sides) by CUDA
events; where a step's time goes; each kernel against the machine's measured ceilings; memory; the time to the first
step; the paper's whole protocol, and what it takes on 55,000 segments.

Each part runs in a process of its own with a time limit, and one that fails costs no other; what is checked and not
timed runs side by side. So does torch.compile (`gpu_compile`), one process for each network and batch, PiczakNet's
first, then the networks that contain it. `--cache` is a folder of prepared
segments (ESC-10's, as `scratchnet.data.prepare` writes it) or the file that `experiments.bench.gpu_data` made of one to
travel; neither soundfile nor soxr nor a network is needed. `--only step compiled` runs those parts alone and
keeps what OUT/gpu.json has of the others: for what found no time.
Without a GPU it says so and measures nothing; `--dry-run` shows the parts.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from experiments.bench import gpu_compile, gpu_data, gpu_parts, gpu_touch, output
from scratchnet.cli import guard
from scratchnet.errors import InputError
from scratchnet.kernels import cuda
from scratchnet.training.markdown import markdown

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 530.0  # seconds for all parts together
LOG = "log"  # what a part printed: for gpu.log, not for gpu.json
SANITIZER = "compute-sanitizer"
CHECKS = "checks"
COMPILED = "compiled"  # torch.compile: a part for each network and batch
TIDY = 15.0  # seconds that a step under torch.compile is left for its timing
SEGMENTS = 55_000  # about as many as UrbanSound8K has
MAY_BE_MISSING = ("soundfile", "soxr", "librosa", "onnx")  # and so may the tests that import them


class Part(NamedTuple):
    """A command with its time limit in seconds; neighbours of one `group` run side by side."""

    name: str
    limit: float
    command: list[str]
    group: str | None = None


def parts(nets: Sequence[str], batches: Sequence[int], cache: Path | None) -> list[Part]:
    """All parts, the most wanted first."""
    part = [sys.executable, "-m", "experiments.bench.gpu_parts"]
    touch = [sys.executable, "-m", "experiments.bench.gpu_touch"]
    sizes = [str(batch) for batch in batches]
    found = [
        Part("ceilings", 40.0, [*part, "ceilings"]),
        *(Part(f"step {net}", 90.0, [*part, "step", net, *sizes]) for net in nets),
        *(Part(f"profile {net}", 40.0, [*part, "profile", net, sizes[0]]) for net in nets),
        Part("kernels", 60.0, [*part, "kernels"]),
        Part("way", 60.0, [sys.executable, "-m", "experiments.bench.gpu_way"]),
        Part("start cold", 60.0, [*part, "start", "heurinet"]),
        Part("start warm", 30.0, [*part, "start", "heurinet"]),
    ]
    if cache is not None:
        found.append(Part("protocol", 120.0, [*part, "protocol", str(cache.resolve())]))
        found.append(Part("scale", 90.0, [*part, "protocol", str(cache.resolve()), "cuda", "4", str(SEGMENTS)]))
    found += [
        Part("sanity", 110.0, touch, CHECKS),
        Part("tests", 200.0, tests(), CHECKS),
        Part("memcheck", 120.0, [*sanitizer("memcheck"), *touch], CHECKS),
    ]
    small = [*sanitizer("racecheck"), *touch, "--small", "--precision"]
    found += [Part(f"racecheck {precision}", 120.0, [*small, precision], CHECKS) for precision in gpu_touch.PRECISIONS]
    # PiczakNet's layers are in all of them: the second wave finds what the first one left in Inductor's cache.
    waves = [[net for net in nets if net == "piczaknet"], [net for net in nets if net != "piczaknet"]]
    compiler = [sys.executable, "-m", "experiments.bench.gpu_compile"]
    found += [
        Part(f"{COMPILED} {net} {size}", limit, [*compiler, net, size], f"{COMPILED} within {limit:.0f} s")
        for wave, limit in zip(waves, (170.0, LIMIT))
        for net in wave
        for size in sizes
    ]
    return found


def sanitizer(tool: str) -> list[str]:
    """compute-sanitizer with this tool, ahead of the command that it watches; what it finds fails the part."""
    return [SANITIZER, "--tool", tool, "--error-exitcode", "9"]


def tests() -> list[str]:
    """The backend tests on the device, in several processes where pytest-xdist is; without files that cannot load."""
    missing = [name for name in MAY_BE_MISSING if find_spec(name) is None]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-v",  # a part that is stopped has told which tests failed
        "--tb=short",
        "-m",
        "gpu",
        "-p",
        "no:cacheprovider",
        "--continue-on-collection-errors",
        "tests",
    ]
    command += [f"--ignore={path}" for path in sorted(importers(missing))]
    return [*command, "-n", "12"] if find_spec("xdist") else command


def importers(missing: Sequence[str]) -> set[str]:
    """The tests that import one of these modules, themselves or through another test; of a conftest.py, its folder."""
    names, found = list(missing), set()
    sources = {path: path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests").rglob("*.py"))}
    while names:
        pattern = re.compile(rf"^(import|from) ({'|'.join(map(re.escape, names))})\b", re.MULTILINE)
        names = []
        for path in [path for path, text in sources.items() if pattern.search(text)]:
            del sources[path]
            here = (path.parent if path.name == "conftest.py" else path).relative_to(ROOT)
            found.add(str(here))
            names.append(".".join(here.with_suffix("").parts))
    return found


def run_part(command: Sequence[str], limit: float, environment: dict[str, str]) -> dict[str, Any]:
    """The part's result (the last line of JSON that it printed), how long it took and whether it failed."""
    start = time.perf_counter()
    if shutil.which(command[0]) is None:
        return {"failed": f"{command[0]} is not installed", "seconds": 0.0}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "errors": "replace"}
    environment = {**environment, "SCRATCHNET_PART_STARTED": str(time.time())}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, **pipes)
    failed = None
    try:
        out, errors = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with the processes that it started
        try:
            out, errors = process.communicate(timeout=5.0)
        except subprocess.TimeoutExpired as late:  # one that left the group holds the pipes
            out, errors = ((text or b"").decode("utf-8", "replace") for text in (late.output, late.stderr))
        failed = f"not done after {limit:.0f} s"
    result: dict[str, Any] = {"seconds": time.perf_counter() - start, LOG: f"{out}\n{errors}"[-300_000:]}
    lines = out.strip().splitlines()
    result |= _last_json(lines) or {"output": [line[-500:] for line in lines[-3:]]}
    if failed is None and process.returncode:
        last = " / ".join([*errors.strip().splitlines()[-3:], *lines[-1:]])[-600:]
        failed = f"status {process.returncode}: {last}"
    return result | ({"failed": failed} if failed else {})


def _last_json(lines: Sequence[str]) -> dict[str, Any] | None:
    """The last line that is a JSON object; other lines may begin with a brace, too."""
    for line in reversed(lines):
        with suppress(ValueError):
            if isinstance(found := json.loads(line), dict):
                return found
    return None


def measure(chosen: Sequence[Part], write: Any = None, limit: float = LIMIT) -> dict[str, Any]:
    """These parts, one after the other (a group's side by side), within the limit; `write` is called after each."""
    begun = time.perf_counter()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as kernels:
        # Inductor's and our compiled kernels start empty: the first start is a newcomer's.
        environment = {**os.environ, "CUPY_CACHE_DIR": f"{kernels}/cupy", gpu_compile.LOCK: f"{kernels}/lock"}

        def run(part: Part) -> None:
            left = limit - (time.perf_counter() - begun)
            if left < 5:
                results[part.name] = {"failed": "no time left", "seconds": 0.0}
                return
            output.say(f"{part.name} …")
            allowed, own = min(part.limit, left), dict(environment)
            if part.name.startswith(COMPILED):  # the cores are for all of a wave; sizes are part of what is compiled
                beside = sum(other.group == part.group for other in chosen)
                own["TORCHINDUCTOR_COMPILE_THREADS"] = str(max(2, (os.cpu_count() or 1) // beside))
                own["TORCHINDUCTOR_CACHE_DIR"] = f"{kernels}/inductor-{part.name.split()[-1]}"
                own[gpu_compile.UNTIL] = str(time.time() + allowed - TIDY)
            if part.name.startswith("start"):
                own["CUPY_CACHE_DIR"] = f"{kernels}/start"
            if part.name == "tests":  # their bounds are those of float32
                own["SCRATCHNET_TF32"] = "0"
            try:
                result = run_part(part.command, allowed, own)
            except Exception as error:  # whatever it is, the other parts are worth more
                result = {"failed": f"{type(error).__name__}: {error}", "seconds": 0.0}
            results[part.name] = result
            output.say(f"{part.name}: {result.get('failed', 'done')} ({result['seconds']:.1f} s)")

        for group in grouped(chosen):
            with ThreadPoolExecutor(len(group)) as pool:
                list(pool.map(run, group))
            if write is not None:
                write({"parts": results, "seconds": time.perf_counter() - begun})
    return {"parts": results, "seconds": time.perf_counter() - begun}


def grouped(chosen: Sequence[Part]) -> list[list[Part]]:
    """Neighbours of one group together, every other part by itself."""
    groups: list[list[Part]] = []
    for part in chosen:
        if part.group and groups and groups[-1][-1].group == part.group:
            groups[-1].append(part)
        else:
            groups.append([part])
    return groups


def table(result: dict[str, Any]) -> str:
    """Markdown: steps against PyTorch, kernels against the ceilings, and what else was found."""
    found = result["parts"]
    rows = []
    for name, part in found.items():
        for batch, at in part.items() if name.startswith("step ") else ():
            if not isinstance(at, dict):
                continue
            net = name.removeprefix("step ")
            ours, eager = at.get("scratchnet"), at.get("eager")
            best = found.get(f"{COMPILED} {net} {batch}", {}).get("step")
            rows.append([
                f"{net} {batch}", *(output.seconds(t) if t else "–" for t in (ours, eager, best)),
                *(f"**{t / ours:.2f}**" if t and ours else "–" for t in (eager, best)),
                *(f"{at[key] / 2**30:.2f} GB" if at.get(key) else "–" for key in ("memory", "eager_memory")),
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
    text = ["### Training steps", markdown(columns, rows, numbers=True)]
    ceilings = found.get("ceilings", {})
    if "copy" in ceilings:
        text.append(
            f"Ceilings: copy {ceilings['copy'] / 1e12:.2f} TB/s, TF32 product {ceilings['tf32'] / 1e12:.0f} TFLOPS."
        )
        rows = [
            [r["name"], output.seconds(r["seconds"]), f"{r['bytes'] / r['seconds'] / ceilings['copy']:.0%}",
             f"{r['flops'] / r['seconds'] / ceilings['tf32']:.0%}"]
            for r in found.get("kernels", {}).get("rows", [])
        ]  # fmt: skip
        text += [
            "### Kernels, batch 1000",
            markdown(["kernel", "time", "of the copy's speed", "of the product's"], rows, numbers=True),
        ]
    if "rows" in found.get("way", {}):
        rows = [[name, output.seconds(taken)] for name, taken in found["way"]["rows"]]
        text += [
            "### One kernel's way: HeuriNet conv1, ReLU and pool",
            markdown(["what changes", "time"], rows, numbers=True),
        ]
    for name, part in found.items():
        if name.startswith("profile ") and "rows" in part:
            text += [
                f"### Where a step's time goes: {name.removeprefix('profile ')}, batch {part['batch']}",
                f"On the device {output.seconds(part['device'])}, the host's queueing {output.seconds(part['host'])}.",
                markdown(["kernel", "launches", "time", "share"], _sums(part["rows"]), numbers=True),
            ]
    others = [name for name in found if not name.startswith(("step ", "profile ")) or "failed" in found[name]]
    rows = [
        [name, f"{found[name]['seconds']:.1f} s", found[name].get("failed") or _short(found[name])] for name in others
    ]
    text += ["### Everything else", markdown(["part", "took", "result"], rows, numbers=True)]
    return "\n\n".join(text)


def _sums(rows: Sequence[Sequence[Any]]) -> list[list[str]]:
    """The launches of a step, (kernel, seconds) each, by kernel, the longest first."""
    times: dict[str, list[float]] = {}
    for name, taken in rows:
        times.setdefault(name.split()[0], []).append(taken)
    whole = sum(map(sum, times.values()))
    ordered = sorted(times.items(), key=lambda item: -sum(item[1]))
    return [[n, str(len(t)), output.seconds(sum(t)), f"{sum(t) / whole:.0%}"] for n, t in ordered]


def _short(part: dict[str, Any]) -> str:
    """A part's own figures in one line."""
    found = {key: value for key, value in part.items() if isinstance(value, (int, float, str)) and key != "seconds"}
    words = [f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in found.items()]
    return "; ".join(words + part.get("output", [])[-1:]) or "done"


def note(about: dict[str, Any]) -> str:
    """The GPU in one line."""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return f"{about['gpu']}, driver {about['driver']}; {versions}; {about['date']}."


def earlier(path: Path, about: dict[str, Any]) -> dict[str, Any]:
    """The parts measured before. Raises `InputError` where that was on another GPU, or with other versions: one note
    stands under all."""
    found = json.loads(path.read_text(encoding="utf-8"))
    if {**found["machine"], "date": None} == {**about, "date": None}:
        return found["parts"]
    raise InputError(f"{path}: measured on another GPU or with other versions; move it away, or name another --out")


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Read the options, measure, write OUT/gpu.json and OUT/gpu.md, print the table."""
    options = output.parser("gpu", __doc__)
    options.add_argument("--batch", nargs="+", type=output.positive, default=[1000, 100], help=output.BATCH)
    options.add_argument("--cache", type=Path, help="prepared segments, for the paper's protocol")
    options.add_argument("--only", nargs="+", metavar="PART", help="parts whose names begin so (default: all)")
    options.add_argument(
        "--limit", type=float, default=LIMIT, help=f"seconds for all parts together (default {LIMIT:.0f})"
    )
    options.add_argument("--dry-run", action="store_true", help="show the parts and their time limits")
    a = options.parse(argv)
    if a.cache is not None and not a.cache.exists():
        raise InputError(f"--cache {a.cache}: there is no such file or folder")
    if a.cache is not None and a.cache.is_file():
        gpu_data.read_about(a.cache)  # refused now, not after two minutes
    chosen = [p for p in parts(a.net, a.batch, a.cache) if a.only is None or p.name.startswith(tuple(a.only))]
    if not chosen:
        raise InputError(f"--only {' '.join(a.only)}: no part is called so; --dry-run shows them all")
    if a.dry_run:
        for part in chosen:
            print(f"{part.name:24} {part.limit:4.0f} s   {' '.join(part.command)}")
        return 0
    there, reason = cuda.available()
    if not there:
        raise InputError(f"experiments.bench.gpu: {reason}")
    a.out.mkdir(parents=True, exist_ok=True)
    path = a.out / "gpu.json"
    about = gpu_parts.describe()
    kept = earlier(path, about) if a.only and path.exists() else {}
    if not kept:
        (a.out / "gpu.log").unlink(missing_ok=True)

    def write(result: dict[str, Any]) -> None:
        logs = {name: part.pop(LOG) for name, part in result["parts"].items() if LOG in part}
        with open(a.out / "gpu.log", "a", encoding="utf-8") as log:
            log.writelines(f"==== {name}\n{text}\n" for name, text in logs.items())
        whole = {**result, "parts": {**kept, **result["parts"]}, "machine": about}
        path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
        (a.out / "gpu.md").write_text(f"{table(whole)}\n\n{note(about)}\n", encoding="utf-8")

    result = measure(chosen, write, a.limit)
    print((a.out / "gpu.md").read_text(encoding="utf-8"))
    return int(any("failed" in part for part in result["parts"].values()))


if __name__ == "__main__":
    sys.exit(main())
