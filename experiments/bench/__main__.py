"""All benchmarks, one after the other, each in a process of its own:   python -m experiments.bench [--data FOLDER]

Half an hour on two cores. `python -m experiments.bench.report` then puts the tables into docs/speed.md.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

from experiments.bench import machine, output
from scratchnet.cli import guard

# name → whether it takes --data, whether it takes --trained and --warm
PARTS = {
    "step": (True, True),
    "rivals": (False, False),
    "layers": (True, True),
    "walk": (False, False),
    "predict": (True, True),
    "memory": (False, False),
    "frontend": (True, False),
    "prepare": (True, False),
    "waiting": (True, False),
    "growth": (False, False),
    "jit": (False, False),
}


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Run the parts; the exit status is the worst of theirs."""
    parser = output.parser("__main__", __doc__, nets=(), data=True, trained=True)
    parser.prog = "python -m experiments.bench"
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="these parts alone")
    a = parser.parse(argv)
    status = 0
    for name in a.only:
        takes_data, takes_runs = PARTS[name]
        words = ["--out", str(a.out)]
        words += ["--threads", str(a.threads)] if a.threads else []
        words += ["--data", a.data] if a.data and takes_data else []
        if takes_runs:
            words += ["--warm", str(a.warm), *(["--trained", *a.trained] if a.trained else [])]
        print(f"\n## {name}\n", flush=True)
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", f"experiments.bench.{name}", *words], cwd=machine.ROOT)
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
        status = max(status, abs(done.returncode))
    print("\npython -m experiments.bench.report puts these tables into docs/speed.md")
    return status


if __name__ == "__main__":
    sys.exit(main())
