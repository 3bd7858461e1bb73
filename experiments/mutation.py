"""How many wrong derivatives would the tests catch? Breaks the kernels and backward passes, one place at a time.

    python -m experiments.mutation                        a sample of 800 mutants (seed 0), on all cores
    python -m experiments.mutation --sample 0             all of them
    python -m experiments.mutation --only conv_sparse --list

Each mutant is one small change of one file (a dropped term, a flipped sign, a shifted index, a swapped axis, ...) that
takes the file's place while a process imports it; the tree itself is never touched. The tests named in `TARGETS` then
run in that process until one fails: killed. Numba's functions run as plain Python, except vectors.py, which is compiled
anew. Needs a system with `fork`, and the test and oracles extras.
"""

from __future__ import annotations

import argparse
import collections
import importlib.machinery
import json
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from experiments.mutants import Mutant, mutants_of

ROOT = Path(__file__).resolve().parents[1]
CPU_SECONDS = {False: 150, True: 300}  # compiled or not: three times what the tests take; over it, a mutant hangs
MEMORY = 12 << 30  # bytes: a wrong shape may ask for any

LAYER_TESTS = "tests/layers tests/oracles/test_torch_layers.py"
CPU_TESTS = "tests/kernels/cpu/test_equal_the_reference.py"


class Target(NamedTuple):
    """Which functions of a file are mutated (a regular expression), and which tests have to notice."""

    functions: str
    tests: str
    backend: str = "reference"  # on which the tests run
    select: str = "not cuda"  # pytest's -k
    compiled: bool = False  # by Numba


def _layer(name: str, test: str) -> Target:
    """The tests of all layers, as far as they are of this one, and its own."""
    tests = f"tests/layers/test_every_layer.py tests/layers/test_{test}.py"
    return Target("forward|backward|next_mask|reseed", tests, select=f"{name} or test_{test}")


CPU_FILES = {
    "conv_dense": "blocks or conv", "conv_forward": "blocks or nan", "conv_sparse": "blocks",
    "convolution": "blocks or conv or nan", "dense": "dense or sparse", "elementwise": "dense or dropout",
    "lowering": "blocks or conv or nan", "maxpool": "pool",
}  # fmt: skip
BATCHNORM_TESTS = "tests/layers/test_batchnorm.py tests/kernels/cpu/test_batchnorm.py tests/test_gradcheck.py"
BATCHNORM_NAMES = "test_batchnorm or passes and (batchnorm or globalaverage)"
UPDATE_TESTS = f"{CPU_TESTS} tests/test_clipping.py tests/test_optimizers.py"

TARGETS: dict[str, list[Target]] = {
    "kernels/reference.py": [
        Target("conv1d_.*", "tests/layers/test_conv1d.py"),
        Target("conv2d_.*", "tests/layers/test_conv2d.py"),
        Target("dense_(for|back).*", "tests/layers/test_dense.py"),
        Target("maxpool.*|pooled_length", "tests/layers/test_maxpool1d.py tests/layers/test_maxpool2d.py"),
        Target("relu_.*|tanh_.*|abs_.*", "tests/layers/test_activations.py"),
        Target("dropout_.*", "tests/kernels/reference tests/layers/test_dropout.py"),
        Target("softmax_.*|mean_.*", "tests/test_losses.py"),
        Target("squared_norms?|clip_by_norms?", "tests/test_clipping.py"),
        Target("nesterov_steps?|adam_steps?", "tests/test_optimizers.py"),
        Target("(conv|dense)_block_.*", f"tests/test_fusion.py {CPU_TESTS}"),
        Target("batchnorm_.*|global_.*", BATCHNORM_TESTS, select=BATCHNORM_NAMES),
    ],
    "kernels/philox.py": [Target("philox", "tests/kernels/reference tests/layers/test_dropout.py")],
    **{f"kernels/cpu/{name}.py": [Target(".*", CPU_TESTS, "cpu", tests)] for name, tests in CPU_FILES.items()},
    "kernels/cpu/update.py": [Target(".*", UPDATE_TESTS, "cpu", "updates or clipping or optimizers")],
    "kernels/cpu/batchnorm.py": [Target(".*", BATCHNORM_TESTS, "cpu", BATCHNORM_NAMES)],
    "kernels/cpu/vectors.py": [Target(".*", CPU_TESTS, "cpu", compiled=True)],
    "scratchnet/layers/geometry.py": [Target("pair|pad_.*", LAYER_TESTS)],
    **{
        f"scratchnet/layers/{name}.py": [_layer(name, test)]
        for name, test in {
            "abs": "activations", "conv1d": "conv1d", "conv2d": "conv2d", "decibel": "spectral", "dense": "dense",
            "dropout": "dropout", "flatten": "shapes", "image": "shapes", "maxpool1d": "maxpool1d",
            "maxpool2d": "maxpool2d", "modulus": "spectral", "reflect": "shapes", "relu": "activations",
            "standardize": "shapes", "tanh": "activations",
        }.items()
    },
    "scratchnet/layers/batchnorm.py": [Target("forward|backward", BATCHNORM_TESTS, select=BATCHNORM_NAMES)],
    "scratchnet/layers/global_avgpool.py": [Target("forward|backward", BATCHNORM_TESTS, select=BATCHNORM_NAMES)],
    "scratchnet/losses.py": [Target("backward", "tests/test_losses.py")],
    "scratchnet/clipping.py": [Target("_?clip.*", "tests/test_clipping.py")],
    "scratchnet/optimizers.py": [Target("step|_update", "tests/test_optimizers.py")],
    "scratchnet/fusion.py": [Target("forward|backward|fuse|_fits", "tests/test_fusion.py tests/test_network.py")],
    "scratchnet/network.py": [Target("backward|_run|reseed|_set_frozen|grads", "tests/test_network.py")],
}  # fmt: skip


class Job(NamedTuple):
    """A mutant (None: the file as it is), the file it belongs to and how it is tried."""

    file: str
    target: Target
    mutant: Mutant | None


def jobs_of(only: str) -> list[Job]:
    """All mutants of all targets whose file name contains `only`."""
    return [
        Job(file, target, mutant)
        for file, targets in TARGETS.items()
        if only in file
        for target in targets
        for mutant in mutants_of((ROOT / file).read_text(encoding="utf-8"), target.functions)
    ]


def try_in_this_process(job: Job) -> int:
    """Run the tests with the mutant in its file's place.  → pytest's exit status: 0 where nothing was noticed"""
    import pytest

    if job.mutant is not None:
        path = (ROOT / job.file).resolve()
        text = job.mutant.apply(path.read_text(encoding="utf-8"))
        original = importlib.machinery.SourceFileLoader.get_code

        def get_code(loader: Any, name: str) -> Any:
            if Path(loader.path).resolve() == path:
                return compile(text, str(path), "exec")
            return original(loader, name)

        importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
    quiet = ["-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", "-k", job.target.select]
    return int(pytest.main([*quiet, *job.target.tests.split()]))


def start(job: Job, log: Path) -> int:
    """Fork a process that tries the job, its output in `log`.  → its id"""
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.chdir(ROOT)
        seconds = CPU_SECONDS[job.target.compiled]
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        if not job.target.compiled:
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        os.environ["SCRATCHNET_TEST_BACKENDS"] = job.target.backend
        if job.target.compiled:  # a new interpreter, for Numba reads its settings once
            index = -1 if job.mutant is None else jobs_of(job.file).index(job)
            cache = log.with_suffix(".cache")
            environment = {**os.environ, "NUMBA_DISABLE_JIT": "0", "NUMBA_CACHE_DIR": str(cache)}
            arguments = ["-m", "experiments.mutation", "--try", job.file, str(index)]
            os.execve(sys.executable, [sys.executable, *arguments], environment)
        status = try_in_this_process(job)
        sys.stdout.flush()
    except BaseException as error:  # noqa: B036 - a mutant may raise anything; the child must end here
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        status = 1
    os._exit(status)


def verdict(status: int, log: Path) -> tuple[str, str]:
    """→ "survived", "killed" or "hung", and by which test."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return ("hung", "") if number in (signal.SIGXCPU, signal.SIGKILL) else ("killed", signal.Signals(number).name)
    if os.WEXITSTATUS(status) == 0:
        return "survived", ""
    if os.WEXITSTATUS(status) == 5:
        raise SystemExit(f"no test was selected: {log.read_text(errors='replace')[-500:]}")
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", log.read_text(errors="replace"), re.MULTILINE)
    return "killed", failed[1] if failed else "it does not import"


def run(jobs: list[Job], workers: int, report: Any) -> list[dict[str, Any]]:
    """Try all jobs, `workers` at a time."""
    results, running, waiting = [], {}, list(jobs)[::-1]
    with tempfile.TemporaryDirectory() as folder:
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.pop()
                log = Path(folder) / f"{len(results) + len(running)}-{id(job)}.log"
                running[start(job, log)] = job, log, time.time()
            child, status = os.waitpid(-1, 0)
            if child not in running:
                continue
            job, log, began = running.pop(child)
            outcome, by = verdict(status, log)
            mutant = job.mutant
            where = (
                {}
                if mutant is None
                else {key: getattr(mutant, key) for key in ("function", "line", "kind", "before", "after")}
            )
            results.append(
                {"file": job.file, **where, "outcome": outcome, "by": by, "seconds": round(time.time() - began, 1)}
            )
            report(results[-1], job, len(results), log)
    return results


def main(argv: list[str] | None = None) -> int:
    """→ 0 where at least 95 % of the mutants were killed, else 1"""
    parser = argparse.ArgumentParser(prog="python -m experiments.mutation", description=__doc__.split("\n")[0])
    parser.add_argument("--sample", type=int, default=800, help="how many mutants, drawn at random (0: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--only", default="", help="files whose path contains this")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--list", action="store_true", help="print the mutants and stop")
    parser.add_argument("--json", type=Path, help="write every mutant and its fate here")
    parser.add_argument("--try", nargs=2, dest="job", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.job:
        file, index = options.job[0], int(options.job[1])
        return try_in_this_process(Job(file, TARGETS[file][0], None) if index < 0 else jobs_of(file)[index])
    jobs = jobs_of(options.only)
    total = len(jobs)
    if options.sample and options.sample < total:
        jobs = [jobs[i] for i in sorted(random.Random(options.seed).sample(range(total), options.sample))]
    print(f"{total} mutants, {len(jobs)} of them tried", flush=True)
    if options.list:
        print(*(f"{job.file}:{job.mutant}" for job in jobs), sep="\n")
        return 0
    _prepare()
    baseline = {(target.tests, target.backend): Job(file, target, None) for file, target, _ in jobs}
    run(list(baseline.values()), options.workers, _must_pass)
    random.Random(options.seed).shuffle(jobs)  # so that slow files do not come at once
    results = run(jobs, options.workers, _progress(len(jobs)))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return _table(results)


def _prepare() -> None:
    """Import here what no mutant changes, so that the forked processes need not; and say how they run."""
    os.environ.update(NUMBA_DISABLE_JIT="1", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", SCRATCHNET_THREADS="1")
    os.environ["HYPOTHESIS_PROFILE"] = "fail at once"
    sys.dont_write_bytecode = True
    for name in (
        "numpy",
        "scipy.signal",
        "scipy.special",
        "numba",
        "hypothesis",
        "hypothesis.extra.numpy",
        "pytest",
        "threadpoolctl",
    ):
        __import__(name)


def _must_pass(result: dict[str, Any], job: Job, done: int, log: Path) -> None:
    if result["outcome"] != "survived":
        raise SystemExit(f"the tests fail without any mutant:\n{log.read_text(errors='replace')[-2000:]}")


def _progress(total: int) -> Any:
    def report(result: dict[str, Any], job: Job, done: int, log: Path) -> None:
        if result["outcome"] == "survived":
            print(f"  survived: {job.file}:{job.mutant}", flush=True)
        if done % 50 == 0:
            print(f"{done} of {total}", flush=True)

    return report


def _table(results: list[dict[str, Any]]) -> int:
    fates: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for result in results:
        fates[result["file"]][result["outcome"]] += 1
    print(f"\n{'file':<36} {'mutants':>7} {'killed':>7} {'hung':>5} {'survived':>8} {'score':>7}")
    for file, fate in [*sorted(fates.items()), ("all", sum(fates.values(), collections.Counter()))]:
        score = 1 - fate["survived"] / fate.total()
        print(f"{file:<36} {fate.total():>7} {fate['killed']:>7} {fate['hung']:>5} {fate['survived']:>8} {score:>7.1%}")
    return 0 if score >= 0.95 else 1


if __name__ == "__main__":
    sys.exit(main())
