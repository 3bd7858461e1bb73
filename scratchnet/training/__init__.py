"""Training: settings, phases of the IceBreaker, spectrogram forcing, the loop, metrics, checkpoints."""

from __future__ import annotations

import os
from typing import Any


def train(**settings: Any) -> dict[str, Any]:
    """Train as `scratchnet train` does, in a new run folder; returns the contents of its result.json.

    `settings` are the command's options: `train(data="birds", net="mstnet", epochs=5, out="runs/birds", quiet=True)`.
    Raises `scratchnet.errors.InputError` for bad ones, and for bad data.
    """
    from scratchnet.errors import InputError
    from scratchnet.training.conflicts import idle
    from scratchnet.training.resolve import resolve
    from scratchnet.training.run import start

    given = {name: _plain(value) for name, value in settings.items()}
    config = resolve((given, None))
    if (words := idle(config, given)) is not None:
        raise InputError(words)
    return start(config)


def _plain(value: Any) -> Any:
    """A path as its name, a NumPy number as Python's."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if hasattr(value, "item") else value
