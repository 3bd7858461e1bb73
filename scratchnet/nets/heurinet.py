"""HeuriNet: a front end by a heuristic from speech recognition (§2.2.1, Table 1), then PiczakNet."""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchnet.layers import Conv1D, Image, Layer, MaxPool1D, ReLU
from scratchnet.nets.back_ends import back_end_group
from scratchnet.network import Group, Network


def heurinet(
    n_classes: int = 10,
    conv1_channels: int = 80,
    conv1_kernel: int = 155,
    dtype: str = "float32",
    rng: np.random.Generator | None = None,
    **back: Any,
) -> Network:
    """HeuriNet: eq. 3–6, 84,540 parameters, then PiczakNet. x (N, 1, 20992) → logits (N, n_classes).

    `conv1_channels`, `conv1_kernel` vary the first layer (the paper's open question on hyper-parameters); the other
    options are PiczakNet's, or those of another `back_end` ("sbcnn", "minivgg").
    Raises ValueError for a wrong value, TypeError for an unknown option.
    """
    rng = np.random.default_rng(rng)
    how: dict[str, Any] = {"dtype": dtype, "rng": rng}
    deepfourier: list[tuple[str, Layer]] = [  # Table 1:    #in, #out, kernel width, stride
        ("conv1", Conv1D(1, conv1_channels, conv1_kernel, stride=10, **how)),  # eq. 3: (80, 2084)
        ("relu1", ReLU()),
        ("pool1", MaxPool1D(9, 3)),  # eq. 4: (80, 692)
        ("conv2", Conv1D(conv1_channels, 60, 15, stride=4, **how)),  # eq. 5: (60, 170)
        ("relu2", ReLU()),
        ("pool2", MaxPool1D(9, 4)),  # eq. 6: (60, 41)
    ]
    spec = {"name": "heurinet", "n_classes": n_classes, "conv1_channels": conv1_channels, "conv1_kernel": conv1_kernel}
    groups: list[Group] = [
        ("deepfourier", deepfourier),
        ("image", [("image", Image())]),
        back_end_group(n_classes, **how, **back),
    ]
    return Network(groups, {**spec, "dtype": dtype, **back})
