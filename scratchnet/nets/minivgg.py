"""MiniVGG: a small network as they are built today, a rival of PiczakNet (hypothesis H1).

Pairs of 3 × 3 convolutions (Simonyan & Zisserman 2015), each with batch normalisation (Ioffe & Szegedy 2015), and a
global average pool in place of large dense layers (Lin, Chen & Yan 2014): the recipe of the CNNs of Kong et al. 2020
("PANNs"), which did well on sounds of all kinds, at a sixteenth of the size.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchnet.layers import BatchNorm2D, Conv2D, Dense, Dropout, GlobalAveragePool2D, Layer, MaxPool2D, ReLU
from scratchnet.network import Group, Network

CHANNELS = (32, 32, 64, 64, 128, 128)  # kernels of each convolution


def minivgg_group(
    n_classes: int = 10,
    in_channels: int = 1,
    dropout: float = 0.5,
    dropout_in_evaluation: bool = False,
    dtype: str = "float32",
    rng: np.random.Generator | None = None,
) -> Group:
    """MiniVGG's layers. x (N, in_channels, 60, 41) → logits (N, n_classes)."""
    rng = np.random.default_rng(rng)
    how: dict[str, Any] = {"dtype": dtype, "rng": rng}
    layers: list[tuple[str, Layer]] = []
    for i, (before, after) in enumerate(zip((in_channels, *CHANNELS), CHANNELS), 1):
        layers += [
            # No bias: the batch normalisation behind it would take it off again.
            (f"conv{i}", Conv2D(before, after, 3, padding="same", bias=False, **how)),
            (f"norm{i}", BatchNorm2D(after, dtype=dtype)),
            (f"relu{i}", ReLU()),
        ]
        if i in (2, 4):
            layers.append((f"pool{i}", MaxPool2D(2)))  # (32, 30, 20), (64, 15, 10)
    layers += [
        ("average", GlobalAveragePool2D()),  # (128,)
        ("drop", Dropout(dropout, rng, always=dropout_in_evaluation)),
        ("output", Dense(CHANNELS[-1], n_classes, **how)),
    ]
    return "minivgg", layers


def minivgg(
    n_classes: int = 10,
    in_channels: int = 1,
    dtype: str = "float32",
    rng: np.random.Generator | None = None,
    **options: Any,
) -> Network:
    """MiniVGG, 288,170 parameters with 10 classes. x (N, in_channels, 60, 41) → logits (N, n_classes).

    options: `dropout`, `dropout_in_evaluation` as in `piczaknet`.
    """
    spec = {"name": "minivgg", "n_classes": n_classes, "in_channels": in_channels, "dtype": dtype, **options}
    return Network([minivgg_group(n_classes, in_channels, dtype=dtype, rng=rng, **options)], spec)
