"""What there is to run, a line each:   python -m experiments"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from scratchnet.cli import Parser, guard

ROOT = Path(__file__).resolve().parent


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    Parser(
        prog="python -m experiments",
        description="The paper's experiments, tables and figures, and the benchmarks. Without options: what there is.",
        epilog="each command has a --help",
    ).parse(argv)
    for command, text in commands():
        print(f"{command}\n    {text}")
    return 0


def commands() -> Iterator[tuple[str, str]]:
    """(command, what it does) of every file here whose first line says both."""
    for path in sorted(ROOT.rglob("*.py"), key=lambda path: (len(path.parts), path)):
        first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0]
        if (both := re.fullmatch("(.+?):?   (python -m .+)", first)) and path != ROOT / "__main__.py":
            yield both[2], both[1]


if __name__ == "__main__":
    sys.exit(main())
