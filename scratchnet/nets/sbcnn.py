"""SB-CNN: the small network of Salamon & Bello, a rival of PiczakNet (hypothesis H1).

J. Salamon, J. P. Bello: Deep convolutional neural networks and data augmentation for environmental sound
classification. IEEE Signal Processing Letters 24(3), 2017.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchnet.layers import Conv2D, Dense, Dropout, Flatten, Layer, MaxPool2D, ReLU
from scratchnet.network import Group, Network


def sbcnn_group(
    n_classes: int = 10,
    in_channels: int = 1,
    dropout: float = 0.5,
    dropout_in_evaluation: bool = False,
    dtype: str = "float32",
    rng: np.random.Generator | None = None,
) -> Group:
    """SB-CNN's layers. x (N, in_channels, 60, 41) → logits (N, n_classes)."""
    rng = np.random.default_rng(rng)
    how: dict[str, Any] = {"dtype": dtype, "rng": rng}

    def drop() -> Dropout:
        return Dropout(dropout, rng, always=dropout_in_evaluation)

    layers: list[tuple[str, Layer]] = [
        ("conv1", Conv2D(in_channels, 24, 5, padding="same", **how)),  # (24, 60, 41)
        ("relu1", ReLU()),
        ("pool1", MaxPool2D((2, 4))),  # (24, 30, 10)
        ("conv2", Conv2D(24, 48, 5, padding="same", **how)),  # (48, 30, 10)
        ("relu2", ReLU()),
        ("pool2", MaxPool2D((2, 4))),  # (48, 15, 2)
        ("conv3", Conv2D(48, 48, 5, padding="same", **how)),  # (48, 15, 2)
        ("relu3", ReLU()),
        ("flatten", Flatten()),
        ("drop3", drop()),
        ("dense1", Dense(48 * 15 * 2, 64, **how)),
        ("relu4", ReLU()),
        ("drop4", drop()),
        ("output", Dense(64, n_classes, **how)),
    ]
    return "sbcnn", layers


def sbcnn(
    n_classes: int = 10,
    in_channels: int = 1,
    dtype: str = "float32",
    rng: np.random.Generator | None = None,
    **options: Any,
) -> Network:
    """SB-CNN, 179,994 parameters with 10 classes. x (N, in_channels, 60, 41) → logits (N, n_classes).

    As published: 24, 48 and 48 kernels of 5 × 5, ReLU; behind the first two a max-pool over 4 frames by 2 bins, without
    overlap; 64 hidden units; dropout of 0.5 before both dense layers. Changed, because the published network sees three
    seconds, 128 bins by 128 frames: convolutions are padded to keep their maps' size ("same", there "valid": 41 frames
    would be used up before the third); the hidden layer then sees 48 × 15 × 2 values, there 2400. The published L2
    penalty of 0.001 on the dense layers alone is `--weight-decay` here, which is on all weights.
    options: `dropout`, `dropout_in_evaluation` as in `piczaknet`.
    """
    spec = {"name": "sbcnn", "n_classes": n_classes, "in_channels": in_channels, "dtype": dtype, **options}
    return Network([sbcnn_group(n_classes, in_channels, dtype=dtype, rng=rng, **options)], spec)
