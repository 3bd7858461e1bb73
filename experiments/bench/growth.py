"""Time and memory as batches and data sets grow:   python -m experiments.bench.growth [--net heurinet] [--sizes …]

Per segment, a training step should cost the same in a batch of 100 and of 2000; and an epoch over a data set sixteen
times as large should cost as much for each segment and hold no more memory. Each data set is measured in a process of
its own; its memory is what the process holds beside memory-mapped files, which the system gives back when it needs to.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.bench import machine, memory, output, workloads
from experiments.bench.timing import interleave
from experiments.bench.waiting import epochs
from scratchnet import backend
from scratchnet.data import Segments
from scratchnet.nets import TITLES
from scratchnet.sound import SoundSettings
from scratchnet.training.markdown import markdown

SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
TIMES = (1, 2, 4, 8, 16)


def noise_segments(folder: Path, n: int) -> Segments:
    """n half-overlapping segments of noise, memory-mapped from `folder` as the cache's are; written piece by piece."""
    settings, rng = SoundSettings(), np.random.default_rng(0)
    shape = settings.n_mels, settings.n_frames
    samples = (n - 1) * settings.segment_hop + settings.segment_length
    waveform = np.lib.format.open_memmap(folder / "waveform.npy", "w+", np.float32, (samples,))
    logmel = np.lib.format.open_memmap(folder / "logmel.npy", "w+", np.float32, (n, *shape))
    for i in range(0, samples, 1 << 20):
        waveform[i : i + (1 << 20)] = 0.1 * rng.standard_normal(min(1 << 20, samples - i), dtype=np.float32)
    for i in range(0, n, 256):
        logmel[i : i + 256] = rng.standard_normal((min(256, n - i), *shape), dtype=np.float32)
    waveform.flush()
    logmel.flush()
    zeros = np.zeros(n, np.int64)
    return Segments(
        waveform=np.load(folder / "waveform.npy", mmap_mode="r"), logmel=np.load(folder / "logmel.npy", mmap_mode="r"),
        start=np.arange(n) * settings.segment_hop, scale=np.ones(n, np.float32), label=np.arange(n) % 10, variant=zeros,
        fold=zeros, clip=zeros, clips=["noise"], contents=[""], clip_label=zeros[:1], clip_fold=zeros[:1], skipped=[],
        fingerprint="", settings=settings, classes=tuple("abcdefghij"), codes=tuple("abcdefghij"),
        name="noise", folder=folder,
    )  # fmt: skip


def child(name: str, count: int, batch: int, threads: int) -> dict[str, float]:
    """In the process that is measured: the second epoch's seconds and waiting, and the most memory of both."""
    backend.threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        segments = noise_segments(Path(folder), count)
        with machine.PeakMemory() as memory_used:
            first, second = epochs(name, segments, count, batch, 2, 0.0, 1.0)
    return {**second, "peak": memory_used.peak}


def batches(name: str, sizes: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    """The time of a step at each batch size: one network, and the first segments of one array."""
    x, target = workloads.noise(name, max(sizes))
    step = workloads.Step(workloads.fresh(name), name, x, target)

    def of_size(size: int) -> None:
        step.x, step.target = x[:size], target[:size]
        step()

    times = interleave({str(size): partial(of_size, size) for size in sizes}, rounds, slow=np.inf)
    return [{"batch": size, "time": times[str(size)].to_dict()} for size in sizes]


def measure(
    names: Sequence[str], sizes: Sequence[int], base: int, times: Sequence[int], rounds: int, batch: int = 100
) -> dict[str, Any]:
    """Every network over batch sizes, and over data sets of `base` segments times `times`."""
    threads = backend.threads()
    found = []
    for name in names:
        output.say(f"{name}: batches")
        rows: list[dict[str, Any]] = batches(name, sizes, rounds)
        for row in rows:
            memory.peak(memory.OURS, name, row["batch"], threads)  # compiles what this size needs
            row["memory"] = memory.peak(memory.OURS, name, row["batch"], threads)
        data = []
        for factor in times:
            output.say(f"{name}: data set × {factor}")
            words = name, base * factor, batch, threads
            data.append({"times": factor, "segments": base * factor, **machine.in_own_process("growth", *words)})
        found.append({"net": name, "batches": rows, "data": data})
    return {"networks": found, "batch": batch}


def table(result: dict[str, Any]) -> str:
    """Markdown: for each network, a table over batch sizes and one over data sets."""
    parts = []
    for found in result["networks"]:
        title = TITLES[found["net"]]
        lines = []
        for row in found["batches"]:
            each, held = row["time"]["seconds"] / row["batch"], row["memory"]["peak"] - row["memory"]["imported"]
            lines.append([row["batch"], output.seconds(row["time"]["seconds"]), output.seconds(each),
                          f"{held / 1e6:.0f}"])  # fmt: skip
        parts.append(
            markdown([f"{title}, batch", "step", "a segment", "memory beyond the imports, MB"], lines, numbers=True)
        )
        lines = []
        for row in found["data"]:
            lines.append([f"× {row['times']}: {row['segments']}", output.seconds(row["seconds"]),
                          output.seconds(row["seconds"] / row["segments"]), output.seconds(row["waited"]),
                          f"{row['peak'] / 1e6:.0f}"])  # fmt: skip
        columns = [f"{title}, segments, batch {result['batch']}", "epoch", "a segment", "waited for data",
                   "memory without mapped files, MB"]  # fmt: skip
        parts.append(markdown(columns, lines, numbers=True))
    return "\n\n".join(parts)


def main(argv: Sequence[str] | None = None) -> int:
    """Read the options, measure, print and write."""
    argv = sys.argv[1:] if argv is None else argv
    if list(argv[:1]) == ["--child"]:
        name, *numbers = argv[1:]
        print(json.dumps(child(name, *map(int, numbers))))
        return 0
    parser = output.parser("growth", __doc__, nets=("heurinet",))
    parser.add_argument("--sizes", nargs="+", type=output.positive, default=SIZES, help="sizes of batches")
    parser.add_argument(
        "--base", type=output.positive, default=200, help="segments of the smallest data set (default 200)"
    )
    parser.add_argument(
        "--times", nargs="+", type=output.positive, default=TIMES, help="how much larger the data sets get"
    )
    parser.add_argument("--batch", type=output.positive, default=100, help="in the epochs over the data sets")
    parser.add_argument("--rounds", type=output.positive, default=3, help=output.ROUNDS)
    return output.run(parser, argv, lambda a: measure(a.net, a.sizes, a.base, a.times, a.rounds, a.batch), table)


if __name__ == "__main__":
    sys.exit(main())
