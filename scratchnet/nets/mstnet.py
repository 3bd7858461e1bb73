"""MSTNet: the front end of Maaløe et al. 2017 (§2.2.2, Table 2), then PiczakNet."""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchnet.layers import Conv1D, Image, Layer, ReLU, Tanh
from scratchnet.nets.piczaknet import piczak_group
from scratchnet.network import Group, Network


def mstnet(
    n_classes: int = 10, dtype: str = "float32", rng: np.random.Generator | None = None, **piczak: Any
) -> Network:
    """MSTNet: eq. 7–9, 964,412 parameters, then PiczakNet. x (N, 1, 20992) → logits (N, n_classes).

    The options are PiczakNet's. Raises ValueError for a wrong one.
    """
    rng = np.random.default_rng() if rng is None else rng
    how: dict[str, Any] = {"dtype": dtype, "rng": rng}
    deepfourier: list[tuple[str, Layer]] = [  # Table 2:    #in, #out, kernel width, stride
        ("conv1", Conv1D(1, 512, 1024, stride=512, padding="same", **how)),  # eq. 7: (512, 41)
        ("relu1", ReLU()),
        ("conv2", Conv1D(512, 256, 3, padding="same", **how)),  # eq. 8: (256, 41)
        ("relu2", ReLU()),
        ("conv3", Conv1D(256, 60, 3, padding="same", **how)),  # eq. 9: (60, 41)
        ("tanh3", Tanh()),
    ]
    groups: list[Group] = [
        ("deepfourier", deepfourier),
        ("image", [("image", Image())]),
        piczak_group(n_classes, **how, **piczak),
    ]
    return Network(groups, {"name": "mstnet", "n_classes": n_classes, "dtype": dtype, **piczak})
