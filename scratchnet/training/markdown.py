"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown(heads: Sequence[object], rows: Iterable[Sequence[object]], *, numbers: bool = False) -> str:
    """The table, without a newline at its end; `numbers`: all columns but the first are aligned to the right."""
    lines = [heads, ["---"] + ["--:" if numbers else "---"] * (len(heads) - 1), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
