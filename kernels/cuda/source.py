"""The kernels' sources as the compilers get them: one text, with our headers in place of their #include lines."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
FILES = tuple(sorted(path.name for path in HERE.glob("*.cu")))


@cache
def read_source(file: str) -> str:
    """The text of `file` with each of our headers in it once: a compiler's cache then sees every change of a header."""
    return "\n".join(_lines(file, set())) + "\n"


def _lines(file: str, seen: set[str]) -> list[str]:
    lines = [f'#line 1 "{file}"']
    for number, line in enumerate((HERE / file).read_text(encoding="utf-8").splitlines(), 1):
        include = re.fullmatch(r'#include "(\w+\.cuh)"', line)
        if include is None:
            lines.append("" if line == "#pragma once" else line)
        elif include.group(1) not in seen:
            seen.add(include.group(1))
            lines += [*_lines(include.group(1), seen), f'#line {number + 1} "{file}"']
        else:
            lines.append("")
    return lines
