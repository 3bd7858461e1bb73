"""What every figure's command shares: `RUN… --out FILE`, one line for bad input, the exit status."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from scratchnet.cli import Parser, guard
from scratchnet.errors import InputError

PICTURES = (".png", ".pdf", ".svg")


def parser(name: str, doc: str | None, runs: str = "+", what: str | None = None) -> Parser:
    """The options RUN (as many as `runs` says, `what` in words) and --out."""
    options = Parser(prog=f"python -m experiments.figures.{name}", description=(doc or "").split(":   ")[0])
    several = "run folders, cross-validations, or folders of them" if runs == "+" else "run folder"
    options.add_argument("runs", metavar="RUN", nargs=runs, type=Path, help=what or several)
    options.add_argument(
        "--out", metavar="FILE", type=Path, default=Path(f"{name}.png"), help=f"PNG, PDF or SVG (default {name}.png)"
    )
    return options


def make_room(out: Path) -> None:
    """Make the folder of a picture. Raises `InputError` where no picture can be called so."""
    if out.suffix.lower() not in PICTURES:
        raise InputError(f"--out {out}: a figure's name ends in {', '.join(PICTURES)}")
    if out.is_dir():
        raise InputError(f"--out {out}: is a folder; name a file in it")
    out.parent.mkdir(parents=True, exist_ok=True)


@guard
def run(options: Parser, argv: Sequence[str] | None, draw: Callable[[Namespace], None]) -> int:
    """Read the options, draw, say where the figure is; returns the exit status."""
    arguments = options.parse(argv)
    make_room(arguments.out)
    draw(arguments)
    print(arguments.out)
    return 0
