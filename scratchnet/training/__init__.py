"""Training: settings, phases of the IceBreaker, spectrogram forcing, the loop, metrics, checkpoints."""

from __future__ import annotations

import os
from typing import Any


def train(**settings: Any) -> dict[str, Any]:
    """Train as `scratchnet train` does, in a new run folder; returns the contents of its result.json.

    `settings` are the command's options: `train(data="birds", net="mstnet", epochs=5, out="runs/birds", quiet=True)`.
    Raises `scratchnet.errors.InputError` for bad ones, and for bad data.
    """
    from scratchnet.training.resolve import resolve
    from scratchnet.training.run import start

    given = {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in settings.items()}
    return start(resolve((given, None)))
