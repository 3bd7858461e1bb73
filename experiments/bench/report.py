"""Puts the measured tables into docs/speed.md:   python -m experiments.bench.report [--out runs/bench]

A table stands between `<!-- step -->` and `<!-- /step -->`; it is made from step.json by the function that also printed
it, so no figure is ever typed. A block whose JSON is not there stays as it is.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from experiments.bench import machine, output
from scratchnet.cli import Parser, guard
from scratchnet.errors import InputError

PAGE = machine.ROOT / "docs" / "speed.md"
BLOCK = re.compile(r"<!-- (\w+) -->\n(.*?)<!-- /\1 -->", re.DOTALL)


def fill(page: str, folder: Path) -> tuple[str, list[str]]:
    """The page with every block that `folder` has a JSON for, and the names of those blocks."""
    filled: list[str] = []

    def block(found: re.Match[str]) -> str:
        name = found[1]
        file = folder / f"{name}.json"
        if not file.is_file():
            return found[0]
        result = json.loads(file.read_text(encoding="utf-8"))
        module = import_module(f"experiments.bench.{name}")
        note = getattr(module, "note", output.note)  # a benchmark of another machine than the processor has its own
        filled.append(name)
        return f"<!-- {name} -->\n{module.table(result)}\n\n<sub>{note(result['machine'])}</sub>\n<!-- /{name} -->"

    return BLOCK.sub(block, page), filled


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Rewrite the page; exit status 2 where nothing was measured."""
    parser = Parser(prog="python -m experiments.bench.report", description=(__doc__ or "").split(":   ")[0])
    parser.add_argument("--out", type=Path, default=Path(output.OUT), help=f"the JSON's folder (default {output.OUT})")
    parser.add_argument("--page", type=Path, default=PAGE, help="page that has the tables (default: docs/speed.md)")
    a = parser.parse(argv)
    page, filled = fill(a.page.read_text(encoding="utf-8"), a.out)
    if not filled:
        raise InputError(f"{a.out} holds no result: run python -m experiments.bench first")
    a.page.write_text(page, encoding="utf-8")
    print(f"{a.page}: {', '.join(filled)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
