"""What every benchmark command shares: its options, its Markdown table, its JSON file."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.bench import machine
from scratchnet import backend
from scratchnet.cli import Parser, guard
from scratchnet.nets import NETS, RIVALS

OUT = "runs/bench"
PAPER = ("heurinet", "mstnet", "piczaknet")  # the paper's networks, in the order of its tables


def positive(word: str) -> int:
    """A whole number above 0."""
    if not word.isdecimal() or int(word) == 0:
        raise argparse.ArgumentTypeError(f"{word!r} is no whole number above 0")
    return int(word)


def not_negative(word: str) -> int:
    """A whole number, 0 or more."""
    return 0 if word.strip("0") == "" != word else positive(word)


BATCH, ROUNDS = (
    "segments in a mini-batch (default %(default)s)",
    "times that each side is measured (default %(default)s)",
)


def parser(
    name: str, doc: str | None, *, nets: Sequence[str] = PAPER, data: bool = False, trained: bool = False
) -> Parser:
    """The options `--out` and `--threads`, and where they mean something the others."""
    options = Parser(prog=f"python -m experiments.bench.{name}", description=(doc or "").split("   ")[0].rstrip(":"))
    options.set_defaults(name=name)
    options.add_argument("--out", type=Path, default=Path(OUT), help=f"folder for the JSON (default {OUT})")
    options.add_argument("--threads", type=positive, help="threads of either side (default: the cores)")
    if nets:
        options.add_argument(
            "--net", nargs="+", choices=(*NETS, *RIVALS), default=nets, help=f"default {' '.join(nets)}"
        )
    if data:
        options.add_argument("--data", metavar="FOLDER", help="a data set, as for training (default: synthetic)")
    if trained:
        options.add_argument("--trained", nargs="+", default=[], metavar="RUN", help="run folders of trained networks")
        options.add_argument("--warm", type=not_negative, default=80, metavar="STEPS",
                             help="where no RUN has the network, train it so long on the data (default 80; "
                             "0 and no RUN: measure random weights on noise alone)")  # fmt: skip
    return options


@guard
def run(
    options: Parser,
    argv: Sequence[str] | None,
    measure: Callable[[Any], dict[str, Any]],
    table: Callable[[dict[str, Any]], str],
) -> int:
    """Read the options, measure, write OUT/name.json, print the table; returns the exit status."""
    arguments = options.parse(argv)
    threads = backend.threads(arguments.threads)
    before = machine.load_average()
    result = measure(arguments)
    result["machine"] = {**machine.describe(threads), "load": [before, machine.load_average()]}
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"{arguments.name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{table(result)}\n\n{note(result['machine'])}\n{path}")
    return 0


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def note(about: dict[str, Any]) -> str:
    """The machine in one line."""
    versions = ", ".join(f"{name} {v}" for name, v in about["versions"].items() if name != "scratchnet")
    before, after = about["load"]
    return (
        f"{about['processor']}, {about['cores']} cores, {about['threads']} threads, {about['blas']}; {versions}; "
        f"load average {before} before and {after} after; commit {about['commit']}, {about['date']}."
    )


def seconds(value: float) -> str:
    """A time in the unit that suits it, three digits."""
    for unit, factor in (("s", 1), ("ms", 1e3)):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e6:.3g} µs"


def timed(timing: dict[str, Any] | None) -> str:
    """A median with its least and most."""
    if timing is None:
        return "–"
    if "failed" in timing:
        return f"failed: {timing['failed']}"
    if timing["rounds"] == 1:
        return seconds(timing["seconds"])
    return f"{seconds(timing['seconds'])} ({seconds(timing['least'])} – {seconds(timing['most'])})"
