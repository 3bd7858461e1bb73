"""Mutants that no test can kill, since they do what the original does: docs/mutation-survivors.md says why."""

from __future__ import annotations

import re

from experiments.mutants import Mutant
from experiments.mutation_try import ROOT

PAGE = ROOT / "docs" / "mutation-survivors.md"
ENTRY = re.compile(r"- `(?P<file>.+?)`, `(?P<function>.+?)`: `(?P<before>.*?)` → `(?P<after>.*?)` in `(?P<code>.+)`")
LONGEST = 90  # characters of code in an entry


def entry_of(file: str, mutant: Mutant) -> str:
    """A mutant as a line of the page: where it is, what it changes, and the line of code that it stands in."""
    code = (ROOT / file).read_text(encoding="utf-8").splitlines()[mutant.line - 1]
    before, after, code = (_short(text) for text in (mutant.before, mutant.after, code))
    return f"- `{file}`, `{mutant.function}`: `{before}` → `{after}` in `{code}`"


def _short(code: str) -> str:
    code = " ".join(code.split())
    return code if len(code) <= LONGEST else code[: LONGEST - 3] + "..."


def explained() -> set[str]:
    """The page's entries."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return {line for line in lines if ENTRY.fullmatch(line)}
