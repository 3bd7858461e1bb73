"""PiczakNet: classifies log-Mel-spectrograms (§1.2, fig. 1; Piczak 2015)."""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchnet.initializers import piczak2015
from scratchnet.layers import Conv2D, Dense, Dropout, Flatten, Layer, MaxPool2D, ReLU
from scratchnet.network import Group, Network


def piczak_group(
    n_classes: int = 10,
    in_channels: int = 1,
    dropout: float = 0.5,
    dropout_in_evaluation: bool = False,
    pool_ceil: bool = False,
    init: str = "xavier",
    dtype: str = "float32",
    rng: np.random.Generator | None = None,
) -> Group:
    """PiczakNet's layers. x (N, in_channels, 60, 41) → logits (N, n_classes)."""
    rng = np.random.default_rng(rng)
    how: dict[str, Any] = {"dtype": dtype, "rng": rng}

    def drop() -> Dropout:
        return Dropout(dropout, rng, always=dropout_in_evaluation)

    layers: list[tuple[str, Layer]] = [
        ("conv1", Conv2D(in_channels, 80, (57, 6), **how)),  # (80, 4, 36)
        ("relu1", ReLU()),
        ("pool1", MaxPool2D((4, 3), (1, 3), ceil_mode=pool_ceil)),  # (80, 1, 12)
        ("drop1", drop()),
        ("conv2", Conv2D(80, 80, (1, 3), **how)),  # (80, 1, 10)
        ("relu2", ReLU()),
        ("pool2", MaxPool2D((1, 3), (1, 3), ceil_mode=pool_ceil)),  # (80, 1, 3), with ceil_mode (80, 1, 4)
        ("flatten", Flatten()),
        ("dense1", Dense(320 if pool_ceil else 240, 5000, **how)),
        ("relu3", ReLU()),
        ("drop3", drop()),
        ("dense2", Dense(5000, 5000, **how)),
        ("relu4", ReLU()),
        ("drop4", drop()),
        ("output", Dense(5000, n_classes, **how)),
    ]
    if init == "piczak2015":
        for name, layer in layers:
            if layer.params:
                shape = layer.params["weight"].shape
                layer.params["weight"], layer.params["bias"] = piczak2015(name, shape, rng, dtype)
    elif init != "xavier":
        raise ValueError(f'init must be "xavier" or "piczak2015", not {init!r}')
    return "piczak", layers


def piczaknet(
    n_classes: int = 10,
    in_channels: int = 1,
    dtype: str = "float32",
    rng: np.random.Generator | None = None,
    **options: Any,
) -> Network:
    """PiczakNet, 26,306,730 parameters with 10 classes. x (N, in_channels, 60, 41) → logits (N, n_classes).

    options: `dropout` 0.5, after the first pool and both dense layers; `dropout_in_evaluation`, as the paper's original
    code has it by oversight; `pool_ceil`, as Piczak's code pools (320 values into dense1, not 240);
    `init` "xavier" or "piczak2015"; `dtype`; `rng`.
    Raises ValueError for a wrong value, TypeError for an unknown option.
    """
    spec = {"name": "piczaknet", "n_classes": n_classes, "in_channels": in_channels, "dtype": dtype, **options}
    return Network([piczak_group(n_classes, in_channels, dtype=dtype, rng=rng, **options)], spec)
