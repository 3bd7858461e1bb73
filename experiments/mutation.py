"""How many wrong derivatives would the tests catch?   python -m experiments.mutation [--sample N] [--only FILE]

Breaks the kernels and backward passes, one place at a time.

    python -m experiments.mutation                        a sample of 800 mutants (seed 0), on all cores
    python -m experiments.mutation --sample 0             all of them
    python -m experiments.mutation --only conv_sparse --list

Each mutant is one small change of one file (a dropped term, a flipped sign, a shifted index, a swapped axis, ...) that
takes the file's place while a process reads it; the tree itself is never touched. The tests named in `TARGETS` then
run in that process until one fails: killed. Those that killed mutants nearby go first. Survivors that
docs/mutation-survivors.md explains are known to do what the original does. Numba's functions run as plain Python,
except vectors.py, which is compiled anew. The CUDA kernels are compiled by g++ and run on the host; programs that no
mutant changes are built once, and kept for the next time in the folder SCRATCHNET_TEST_BUILD, if that is set. Needs a
system with `fork`, and the test and oracles extras.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from experiments import mutants, mutants_cuda
from experiments.mutation_survivors import entry_of, explained
from experiments.mutation_targets import TARGETS
from experiments.mutation_try import BUILD, DOES_NOT_COMPILE, HANGS, MEMORY, ROOT, Job, try_in_this_process

# By what is compiled: three times what the tests take; over it, a mutant hangs. Each program of g++'s has its own time.
CPU_SECONDS = {"": 150, "numba": 300, "g++": 40}


def jobs_of(only: str | re.Pattern[str]) -> list[Job]:
    """All mutants of all targets whose path matches `only`, a regular expression."""
    return [
        Job(file, target, mutant)
        for file, targets in TARGETS.items()
        if re.search(only, file)
        for target in targets
        for mutant in _mutants_of(file)((ROOT / file).read_text(encoding="utf-8"), target.functions)
    ]


def _mutants_of(file: str) -> Any:
    return (mutants if file.endswith(".py") else mutants_cuda).mutants_of


def start(job: Job, log: Path, first: list[str]) -> int:
    """Fork a process that tries the job, the tests `first` before the others, its output in `log`.  → its id"""
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
        signal.alarm(job.target.patience)
        if job.target.compiled != "g++":  # a sanitizer reserves more
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        os.environ["SCRATCHNET_TEST_BACKENDS"] = job.target.backend
        if job.target.compiled == "g++" and job.mutant is not None:  # what it builds is nobody else's
            own = log.with_suffix(".build")
            shutil.copytree(os.environ[BUILD], own, copy_function=os.link, ignore=shutil.ignore_patterns("*.cpp"))
            os.environ[BUILD] = str(own)
        if job.target.compiled == "numba":  # a new interpreter, for Numba reads its settings once
            index = -1 if job.mutant is None else jobs_of(job.file).index(job)
            cache = log.with_suffix(".cache")
            environment = {**os.environ, "NUMBA_DISABLE_JIT": "0", "NUMBA_CACHE_DIR": str(cache)}
            arguments = ["-m", "experiments.mutation", "--try", job.file, str(index)]
            os.execve(sys.executable, [sys.executable, *arguments], environment)
        status = try_in_this_process(job, first)
        sys.stdout.flush()
    except BaseException as error:  # noqa: B036 - a mutant may raise anything; the child must end here
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        status = 1
    os._exit(status)


def verdict(status: int, log: Path) -> tuple[str, str]:
    """→ "survived", "killed", "hung" or "does not compile", and by which test."""
    if os.WIFSIGNALED(status):
        number = signal.Signals(os.WTERMSIG(status))
        hung = number in (signal.SIGXCPU, signal.SIGKILL, signal.SIGALRM)
        return ("hung", "") if hung else ("killed", number.name)
    if os.WEXITSTATUS(status) == DOES_NOT_COMPILE:
        return "does not compile", ""
    if os.WEXITSTATUS(status) == HANGS:
        return "hung", ""
    if os.WEXITSTATUS(status) == 0:
        return "survived", ""
    if os.WEXITSTATUS(status) == 5:
        raise SystemExit(f"no test was selected: {log.read_text(errors='replace')[-500:]}")
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", log.read_text(errors="replace"), re.MULTILINE)
    return "killed", failed[1] if failed else "it does not import"


def run(jobs: list[Job], workers: int, report: Any) -> list[dict[str, Any]]:
    """Try all jobs, `workers` at a time."""
    results, running, waiting = [], {}, list(jobs)[::-1]
    killers: dict[str, dict[str, int]] = collections.defaultdict(dict)  # file → test → a line where it killed
    with tempfile.TemporaryDirectory() as folder:
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.pop()
                log = Path(folder) / f"{len(results) + len(running)}-{id(job)}.log"
                running[start(job, log, _likely(killers[job.file], job))] = job, log
            child, status, used = os.wait4(-1, 0)
            if child not in running:
                continue
            job, log = running.pop(child)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)  # a kernel that runs on
            shutil.rmtree(log.with_suffix(".build"), ignore_errors=True)
            outcome, by = verdict(status, log)
            mutant = job.mutant
            if mutant is not None and "::" in by:
                killers[job.file][by] = mutant.line
            where = (
                {}
                if mutant is None
                else {key: getattr(mutant, key) for key in ("function", "line", "kind", "before", "after")}
            )
            results.append(
                {
                    "file": job.file,
                    **where,
                    "outcome": outcome,
                    "by": by,
                    "seconds": round(used.ru_utime + used.ru_stime, 1),
                }
            )
            report(results[-1], job, len(results), log)
    return results


def _likely(killers: dict[str, int], job: Job) -> list[str]:
    """The tests that killed mutants of the same file, those whose last one was nearest first."""
    line = 0 if job.mutant is None else job.mutant.line
    return sorted(killers, key=lambda test: abs(killers[test] - line))


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text}: no regular expression ({error})") from None


def main(argv: list[str] | None = None) -> int:
    """→ 0 where at least 95 % of the mutants were killed and every survivor is explained, else 1"""
    parser = argparse.ArgumentParser(prog="python -m experiments.mutation", description=__doc__.split("   ")[0])
    parser.add_argument(
        "--sample", type=int, default=800, metavar="N", help="how many mutants, drawn at random (default 800; 0: all)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the draw (default 0)")
    parser.add_argument("--only", type=_pattern, default="", help="files whose path matches this regular expression")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: the cores)")
    parser.add_argument("--list", action="store_true", help="print the mutants and stop")
    parser.add_argument("--json", type=Path, help="write every mutant and its fate here")
    parser.add_argument("--try", nargs=2, dest="job", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.job:
        file, index = options.job[0], int(options.job[1])
        return try_in_this_process(Job(file, TARGETS[file][0], None) if index < 0 else jobs_of(file)[index], [])
    jobs = jobs_of(options.only)
    if not jobs:
        parser.error(f"--only {options.only.pattern}: no file with mutants is called so")
    total = len(jobs)
    if options.sample and options.sample < total:
        jobs = [jobs[i] for i in sorted(random.Random(options.seed).sample(range(total), options.sample))]
    print(f"{total} mutants, {len(jobs)} of them tried", flush=True)
    if options.list:
        print(*(f"{job.file}:{job.mutant}" for job in jobs), sep="\n")
        return 0
    _prepare()
    baseline = {(target.tests, target.backend): Job(file, target, None) for file, target, _ in jobs}
    on_host = [job._replace(target=job.target._replace(select="test")) for job in baseline.values() if _is_built(job)]
    random.Random(options.seed).shuffle(jobs)  # so that slow files do not come at once
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault(BUILD, folder)
        run([job for job in baseline.values() if not _is_built(job)], options.workers, _must_pass)
        run(on_host, 1, _must_pass)  # one at a time: they build side by side
        return _table(run(jobs, options.workers, _progress(len(jobs), options.json)))


def _is_built(job: Job) -> bool:
    return job.target.compiled == "g++"


def _prepare() -> None:
    """Import here what no mutant changes, so that the forked processes need not; and say how they run."""
    os.environ.update(NUMBA_DISABLE_JIT="1", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", SCRATCHNET_THREADS="1")
    os.environ["HYPOTHESIS_PROFILE"] = "fail at once"
    os.environ["ASAN_OPTIONS"] = "detect_leaks=0:symbolize=0"
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


def _progress(total: int, path: Path | None) -> Any:
    results, known = [], explained()

    def report(result: dict[str, Any], job: Job, done: int, log: Path) -> None:
        result["explained"] = result["outcome"] == "survived" and entry_of(job.file, job.mutant) in known
        results.append(result)
        if path:  # anew each time: whoever stops it loses nothing
            path.write_text(json.dumps(results, indent=1) + "\n")
        if result["outcome"] == "survived":
            print(f"  survived{', explained' * result['explained']}: {job.file}:{job.mutant}", flush=True)
        if done % 50 == 0:
            print(f"{done} of {total}", flush=True)

    return report


def _table(results: list[dict[str, Any]]) -> int:
    fates: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for result in results:
        fates[result["file"]][result["outcome"]] += 1
    columns = "killed", "hung", "survived", "does not compile"
    print(f"\n{'file':<42} {'mutants':>7} {'  '.join(columns)} {'score':>7}")
    for file, fate in [*sorted(fates.items()), ("all", sum(fates.values(), collections.Counter()))]:
        tried = fate.total() - fate["does not compile"]
        score = 1 - fate["survived"] / max(tried, 1)
        counts = "  ".join(f"{fate[name]:>{len(name)}}" for name in columns)
        print(f"{file:<42} {tried:>7} {counts} {score:>7.1%}")
    unexplained = sum(result["outcome"] == "survived" and not result["explained"] for result in results)
    print(f"survivors that docs/mutation-survivors.md does not explain: {unexplained}")
    return 0 if score >= 0.95 and not unexplained else 1


if __name__ == "__main__":
    sys.exit(main())
