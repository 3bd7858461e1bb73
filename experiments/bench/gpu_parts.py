"""The parts of `experiments.bench.gpu`, each in a process of its own:   python -m experiments.bench.gpu_parts PART …

A part prints its result as one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from experiments.bench import workloads
from scratchnet import backend
from scratchnet.cli import Parser, guard
from scratchnet.kernels import cuda
from scratchnet.training.host import installed

STARTED = float(os.environ.get("SCRATCHNET_PART_STARTED", time.time()))  # by the clock of `gpu`, which started it
QUEUED = 5  # calls between two events
TURNS = 3
MEMORY = {"scratchnet": "memory", "eager": "eager_memory"}
NONE = (0, 0), (0, 0)
LAYERS = {  # x without its batch, weights, stride, padding, pool, dx?: the convolutions of Tables 1, 2 and of PiczakNet
    "HeuriNet conv1": ((1, 1, 20992), (80, 1, 1, 155), (1, 10), NONE, ((1, 9), (1, 3)), False),
    "HeuriNet conv2": ((80, 1, 692), (60, 80, 1, 15), (1, 4), NONE, ((1, 9), (1, 4)), True),
    "MSTNet conv1": ((1, 1, 20992), (512, 1, 1, 1024), (1, 512), ((0, 0), (256, 256)), None, False),
    "MSTNet conv2": ((512, 1, 41), (256, 512, 1, 3), (1, 1), ((0, 0), (1, 1)), None, True),
    "MSTNet conv3": ((256, 1, 41), (60, 256, 1, 3), (1, 1), ((0, 0), (1, 1)), None, True),
    "PiczakNet conv1": ((1, 60, 41), (80, 1, 57, 6), (1, 1), NONE, ((4, 3), (1, 3)), True),
    "PiczakNet conv2": ((80, 1, 12), (80, 80, 1, 3), (1, 1), NONE, ((1, 3), (1, 3)), True),
}


def describe() -> dict[str, Any]:
    """The GPU and the versions."""
    import cupy

    about = {"gpu": cuda.gpu_name(), "driver": cupy.cuda.runtime.driverGetVersion()}
    versions = installed("scratchnet", "cupy-cuda12x", "cupy-cuda13x", "torch", "numpy", "numba")
    return {**about, "versions": versions, "date": time.strftime("%Y-%m-%d")}


def event_times(call: Callable[[], Any], rounds: int = 10, warm: int = 5, seconds: float = 3.0) -> float:
    """Median seconds of a call on the device, by CUDA events around QUEUED calls at a time, so that the host runs ahead
    as it does in training; at most `rounds` times, or `seconds` in all."""
    import cupy

    for _ in range(warm):
        call()
    cupy.cuda.Device().synchronize()
    times, begun = [], time.perf_counter()
    while len(times) < rounds and (len(times) < 3 or time.perf_counter() - begun < seconds):
        first, last = cupy.cuda.Event(), cupy.cuda.Event()
        first.record()
        for _ in range(QUEUED):
            call()
        last.record()
        last.synchronize()
        times.append(cupy.cuda.get_elapsed_time(first, last) / 1e3 / QUEUED)
    return median(times)


def ceilings() -> dict[str, Any]:
    """What this GPU can do: bytes a second of a large copy (read and written), FLOPS of a large TF32 product."""
    import cupy

    from scratchnet.kernels.cuda import device

    source = cupy.random.standard_normal((2**28,), dtype=cupy.float32)
    target = cupy.empty_like(source)
    copy = 2 * source.nbytes / event_times(lambda: cupy.copyto(target, source))
    a, b = source[: 2**26].reshape(8192, 8192), source[2**26 : 2**27].reshape(8192, 8192)
    out = target[: 2**26].reshape(8192, 8192)
    found = {}
    for name, on in (("tf32", True), ("float32", False)):
        cuda.use_tf32(on)
        found[name] = 2 * 8192**3 / event_times(lambda: device.current().product(a, b, out))
    return {"copy": copy, **found}


def step(name: str, *batches: int) -> dict[str, Any]:
    """A training step of ours and of PyTorch eager at its best, taking turns, with both sides' memory, by batch; the
    same weights and batch. What is known so far is printed after each measurement."""
    import torch

    backend.use("cpu")
    net = workloads.fresh(name)
    theirs = twin(name, net)
    net = net.to("cuda")
    found: dict[str, Any] = {}
    for batch in batches:
        at = found[str(batch)] = {}
        x, target = workloads.noise(name, batch)
        sides = {
            "scratchnet": workloads.Step(net, name, backend.asarray(x), backend.asarray(target)),
            "eager": eager(name, theirs, torch.from_numpy(x).cuda(), torch.from_numpy(target).cuda()),
        }
        times: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(TURNS):
            for side, call in sides.items():
                if not times[side]:
                    at[MEMORY[side]] = _memory(side, call)
                times[side].append(event_times(call))
                at[side], at[f"{side}_turns"] = median(times[side]), times[side]
                _so_far(found)
    return found


def _memory(side: str, call: Callable[[], Any]) -> int:
    """Bytes that a side's own allocator holds for its steps, without what only the first ones tried."""
    import cupy
    import torch

    for _ in range(3):
        call()
    torch.cuda.synchronize()
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return pool.total_bytes() if side == "scratchnet" else torch.cuda.max_memory_allocated()


def _so_far(found: dict[str, Any]) -> None:
    """A part that is stopped at its limit has told what it knew."""
    print(json.dumps(found), flush=True)


def twin(name: str, net: Any) -> Any:
    """The same network in PyTorch, on the GPU, TF32 on, channels last."""
    import torch

    from experiments.bench import opponents

    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.fp32_precision = "tf32"  # what the convolutions that Inductor makes go by
    torch.backends.cudnn.benchmark = True
    made = opponents.network(name, opponents.LAST, 10)
    opponents.load(made, net)
    return made.cuda().train()


def eager(name: str, net: Any, x: Any, target: Any, compile_it: bool = False) -> Callable[[], Any]:
    """PyTorch's step: forward, loss, backward, clipping (MSTNet), fused SGD; nothing waits for the GPU."""
    import torch
    from torch.nn import functional as F

    if x.ndim == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=workloads.STILL, momentum=0.9, nesterov=True, fused=True)
    forward = torch.compile(net, mode="max-autotune", dynamic=False) if compile_it else net
    clip = workloads.CLIP.get(name)

    def call() -> None:
        if compile_it:
            torch.compiler.cudagraph_mark_step_begin()
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(forward(x), target).backward()
        if clip:
            for parameter in net.parameters():
                torch.nn.utils.clip_grad_norm_(parameter, clip, foreach=True)
        optimizer.step()

    return call  # both libraries queue on the legacy default stream, where CuPy's events stand


def profile(name: str, batch: int) -> dict[str, Any]:
    """Where a step's time goes: each launch and product in turn between two events, and what queueing takes the host.

    Events round each launch keep kernels from overlapping, so the sum is a little more than a step.
    """
    from unittest.mock import patch

    import cupy

    from scratchnet.kernels.cuda import device

    net = workloads.fresh(name).to("cuda")
    call = workloads.Step(net, name, *map(backend.asarray, workloads.noise(name, batch)))
    for _ in range(5):
        call()
    cupy.cuda.Device().synchronize()
    queued = []
    for _ in range(10):
        before = time.perf_counter()
        call()
        queued.append(time.perf_counter() - before)
        cupy.cuda.Device().synchronize()
    rounds: list[list[tuple[str, Any, Any]]] = []

    def between_events(label: Callable[..., str], run: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **more: Any) -> Any:
            first, last = cupy.cuda.Event(), cupy.cuda.Event()
            first.record()
            result = run(*args, **more)
            last.record()
            rounds[-1].append((label(*args, **more), first, last))
            return result

        return timed

    def launched(_file: str, kernel: str, grid: int, _block: int, _args: Any, defines: Any, shared: int = 0) -> str:
        macros = ",".join(f"{key}={value}" for key, value in defines.items() if key != "REAL")
        return f"{kernel} {grid} {shared} {macros}"

    gpu = device.current()
    with (
        patch.object(gpu, "launch", between_events(launched, gpu.launch)),
        patch.object(gpu, "product", between_events(lambda a, b, out: f"cuBLAS {a.shape} {b.shape}", gpu.product)),
    ):
        for _ in range(10):
            rounds.append([])
            call()
    cupy.cuda.Device().synchronize()
    rows = []
    for same in zip(*rounds, strict=True):
        rows.append((same[0][0], median(cupy.cuda.get_elapsed_time(first, last) / 1e3 for _, first, last in same)))
    return {"batch": batch, "host": median(queued), "device": event_times(call), "rows": rows}


def kernels(batch: int = 1000) -> dict[str, Any]:
    """Every layer's kernels by themselves: time, bytes that must move, multiply-adds twice."""
    import cupy

    rows = [row for name, layer in LAYERS.items() for row in _layer(name, layer, batch)]
    x, weight = (cupy.random.standard_normal(s, dtype=cupy.float32) for s in ((batch, 5000), (5000, 5000)))
    bias, flops = cupy.zeros(5000, cupy.float32), 2.0 * batch * 5000**2
    y = cuda.dense_block_forward(x, weight, bias, 0.5, 1, 2)
    moved = 2 * x.nbytes + weight.nbytes
    rows.append(_row("dense2 forward", lambda: cuda.dense_block_forward(x, weight, bias, 0.5, 1, 2), moved, flops))
    rows.append(
        _row(
            "dense2 backward", lambda: cuda.dense_block_backward(x, y, x, weight, 0.5, True, True), 2 * moved, 2 * flops
        )
    )
    arrays = [[weight, bias]] + [[cupy.zeros_like(weight), cupy.zeros_like(bias)] for _ in range(2)]
    rows.append(
        _row("Nesterov, 25 M weights", lambda: cuda.nesterov_steps(*arrays, 1e-6, 0.9, 0.0), 5 * weight.nbytes, 0.0)
    )
    return {"rows": rows}


def _layer(name: str, layer: Any, batch: int) -> list[dict[str, Any]]:
    """Forward, weight gradient and, where the networks need it, input gradient of one convolution and its pool."""
    import cupy

    size, weights, stride, padding, pool, need_dx = layer
    x = cupy.random.standard_normal((batch, *size), dtype=cupy.float32)
    weight = cupy.random.standard_normal(weights, dtype=cupy.float32) / weights[0]
    bias = cupy.zeros(weights[0], cupy.float32)
    y, saved = cuda.conv_block_forward(x, weight, bias, stride, padding, "relu", pool)
    dy = cupy.random.standard_normal(y.shape, dtype=cupy.float32)
    room = [(size[1 + i] + sum(padding[i]) - weights[2 + i]) // stride[i] + 1 for i in range(2)]
    flops = 2.0 * batch * room[0] * room[1] * float(np.prod(weights))
    moved = x.nbytes + weight.nbytes + y.nbytes * (1 if pool is None else 2)  # and the argmax

    def backward(dx: bool, dweight: bool) -> None:
        cuda.conv_block_backward(dy, saved, x, weight, stride, padding, dx, dweight)

    def forward() -> None:
        cuda.conv_block_forward(x, weight, bias, stride, padding, "relu", pool)

    rows = [_row(f"{name} forward", forward, moved, flops)]
    rows.append(_row(f"{name} dweight", lambda: backward(False, True), moved, flops))
    return rows + ([_row(f"{name} dx", lambda: backward(True, False), moved, flops)] if need_dx else [])


def _row(name: str, call: Callable[[], Any], moved: float, flops: float) -> dict[str, Any]:
    return {"name": name, "seconds": event_times(call), "bytes": float(moved), "flops": flops}


def start(name: str) -> dict[str, Any]:
    """Seconds from the start of this process to the end of the first training step (batch 100), and of the second."""
    import cupy

    x, target = workloads.noise(name, 100)
    net = workloads.fresh(name).to("cuda")
    call = workloads.Step(net, name, backend.asarray(x), backend.asarray(target))
    found = {}
    for which in ("first", "second"):
        before = STARTED if which == "first" else time.time()
        call()
        cupy.cuda.Device().synchronize()
        found[f"{which}_step"] = time.time() - before
    return found


def protocol(cache: str, used: str = "cuda", epochs: int = 0, segments: int = 0) -> dict[str, Any]:
    """The paper's protocol for HeuriNet, IceBreaker and all, fold 1 held out, from prepared segments: a cache's folder,
    or the file that `experiments.bench.gpu_data` made of one.

    With `segments`, the data set comes again and again until it has so many. With `epochs`, no more than those of each
    phase: `estimate` is then what the published number would take, by the median epoch of each phase.
    """
    import tempfile
    from unittest.mock import patch

    from experiments.bench.gpu_data import repeat, unpack
    from scratchnet.data import Clip, Source, open_cache
    from scratchnet.training import dataset, run
    from scratchnet.training.resolve import resolve

    with tempfile.TemporaryDirectory() as folder:
        data = open_cache(cache) if Path(cache).is_dir() else unpack(cache, folder)
        if segments:
            data = repeat(data, -(-segments // len(data)), folder)
        labels, folds = data.clip_label.tolist(), data.clip_fold.tolist()
        clips = [Clip(*clip, group=clip[0]) for clip in zip(data.clips, labels, folds)]
        source = Source(data.name, data.folder, data.classes, data.codes, clips, tuple(sorted(set(folds))))
        published = resolve(({"preset": "paper", "net": "heurinet"}, None))
        given: dict[str, Any] = {"preset": "paper", "net": "heurinet", "backend": used, "test_fold": 1, "quiet": True}
        given |= {"out": f"{folder}/run"} | ({"epochs": epochs} if epochs else {})
        settings = resolve((given, None))
        with (
            patch.object(dataset, "open_data", lambda *_: source),
            patch.object(dataset, "prepare_data", lambda *_: data),
        ):
            before = time.perf_counter()
            result = run.start(settings)
        taken = time.perf_counter() - before
        rows = [json.loads(line) for line in (Path(folder) / "run" / "metrics.jsonl").read_text("utf-8").splitlines()]
        by_phase: dict[Any, list[float]] = {}
        for row in rows:
            by_phase.setdefault(row["phase"], []).append(row["seconds"])
        medians = {phase: median(seconds) for phase, seconds in by_phase.items()}
        estimate = {"estimate": sum(s * published.epochs_of(phase) for phase, s in medians.items())} if epochs else {}
        found = {"train_seconds": taken, "segments": len(data), **estimate, **_scores(result["test"])}
        return {**found, "epoch_seconds": {str(phase): seconds for phase, seconds in medians.items()}}


def _scores(test: dict[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in test.items() if "accuracy" in key and isinstance(value, (int, float))}


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    parts: dict[str, Callable[..., dict[str, Any]]] = {
        f.__name__: f for f in (ceilings, step, profile, kernels, start, protocol)
    }
    options = Parser(prog="python -m experiments.bench.gpu_parts", description=(__doc__ or "").split(":   ")[0])
    options.add_argument("part", metavar="PART", choices=parts, help=", ".join(parts))
    options.add_argument("rest", metavar="ARGUMENT", nargs="*", help="its function's: step mstnet 1000 100")
    given = options.parse(argv)
    if "cpu" not in given.rest:  # the protocol can be tried without a GPU
        backend.use("cuda")
    print(json.dumps(parts[given.part](*(int(a) if a.isdigit() else a for a in given.rest))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
