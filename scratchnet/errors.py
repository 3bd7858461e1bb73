"""What a user did wrong, said in one line."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


class InputError(ValueError):
    """Bad input: the message names the file or option and the way out. The command line turns it into exit status 2."""


def check_utf8(names: Iterable[str], where: str | Path) -> None:
    """Raise `InputError` for a name that is no UTF-8, as old archives leave them: no result could be written down."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(name).decode("utf-8", "backslashreplace")
            raise InputError(f"{where}: the name {shown} is not UTF-8; rename it") from None
