"""What a user did wrong, or should know, said in one line."""

from __future__ import annotations

import difflib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path


class InputError(ValueError):
    """Bad input: the message names the file or option and the way out. The command line turns it into exit status 2."""


def say(text: str) -> None:
    """One line on standard error, if there is one."""
    if sys.stderr is not None:
        print(f"scratchnet: {text}", file=sys.stderr, flush=True)


def nearest(word: str, words: Iterable[str]) -> str:
    """`; did you mean X?`, or nothing where no word is near."""
    plain = {other.lstrip("-"): other for other in words}  # the dashes of two options are no likeness
    word = word.lstrip("-")
    begun = sorted((other for other in plain if word and other.startswith(word)), key=len)
    close = begun or difflib.get_close_matches(word, plain, n=1, cutoff=0.6)
    return f"; did you mean {plain[close[0]]}?" if close else ""


def listed(names: Sequence[str], most: int = 8) -> str:
    """The first few of them, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    short = (name if len(name) <= 40 else f"{name[:28]}…{name[-11:]}" for name in map(printable, names[:most]))
    return ", ".join(short) + more


def printable(text: str) -> str:
    """On one line, whatever is in it: a terminal would obey the control characters of a name."""
    return "".join(c if c.isprintable() or "\udc80" <= c <= "\udcff" else repr(c)[1:-1] for c in text)


def quoted(path: str | Path) -> str:
    """A path as one types it in this system's shell."""
    return subprocess.list2cmdline([str(path)]) if sys.platform == "win32" else shlex.quote(str(path))


def check_utf8(names: Iterable[str], where: str | Path) -> None:
    """Raise `InputError` for a name that is no UTF-8, as old archives leave them: no result could be written down."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(name).decode("utf-8", "backslashreplace")
            known = sys.getfilesystemencoding() == "utf-8"  # else it may well be UTF-8, and is taken for something else
            way_out = "rename it" if known else "rename it, or set PYTHONUTF8=1: this locale has no UTF-8"
            raise InputError(f"{where}: the name {shown} is not UTF-8; {way_out}") from None
