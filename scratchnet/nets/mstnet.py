"""MSTNet: the front end of Maaløe et al. 2017 (§2.2.2, Table 2), then PiczakNet."""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchnet.layers import BatchNorm1D, Conv1D, Image, Layer, ReflectPad1D, ReLU, Standardize, Tanh
from scratchnet.nets.back_ends import back_end_group
from scratchnet.network import Group, Network


def mstnet(
    n_classes: int = 10,
    batch_norm: bool = False,
    padding: str = "same",
    mean: float = 0.0,
    std: float = 1.0,
    dtype: str = "float32",
    rng: np.random.Generator | None = None,
    **back: Any,
) -> Network:
    """MSTNet: eq. 7–9, 964,412 parameters, then PiczakNet. x (N, 1, 20992) → logits (N, n_classes).

    `batch_norm`: before every activation of the front end, as Maaløe et al. have it (the paper has none); after
    training `folding.fold_batchnorm` takes it into the weights. `padding` of conv1: "same", 256 zeros at both ends as
    in the paper's code, or "aligned", 512 reflected samples at the left, so that window t covers what frame t of the
    Mel-spectrogram covers. `mean`, `std`: taken off the front end's tanh and divided by before PiczakNet, which then
    sees numbers as large as those of standardised spectrograms; 0 and 1, as published, have no layer. The other options
    are PiczakNet's, or those of another `back_end` ("sbcnn", "minivgg").
    Raises ValueError for a wrong value, TypeError for an unknown option.
    """
    if padding not in ("same", "aligned"):
        raise ValueError(f'padding must be "same" or "aligned", not {padding!r}')
    rng = np.random.default_rng(rng)
    how: dict[str, Any] = {"dtype": dtype, "rng": rng}

    def norm(name: str, channels: int) -> list[tuple[str, Layer]]:
        return [(name, BatchNorm1D(channels, dtype=dtype))] if batch_norm else []

    aligned = padding == "aligned"
    deepfourier: list[tuple[str, Layer]] = [  # Table 2:    #in, #out, kernel width, stride
        *([("pad", ReflectPad1D(512))] if aligned else []),
        ("conv1", Conv1D(1, 512, 1024, stride=512, padding=0 if aligned else "same", **how)),  # eq. 7: (512, 41)
        *norm("norm1", 512),
        ("relu1", ReLU()),
        ("conv2", Conv1D(512, 256, 3, padding="same", **how)),  # eq. 8: (256, 41)
        *norm("norm2", 256),
        ("relu2", ReLU()),
        ("conv3", Conv1D(256, 60, 3, padding="same", **how)),  # eq. 9: (60, 41)
        *norm("norm3", 60),
        ("tanh3", Tanh()),
    ]
    standardize: list[tuple[str, Layer]] = [("standardize", Standardize(mean, std))] if (mean, std) != (0, 1) else []
    groups: list[Group] = [
        ("deepfourier", deepfourier),
        ("image", [*standardize, ("image", Image())]),
        back_end_group(n_classes, **how, **back),
    ]
    spec = {"name": "mstnet", "n_classes": n_classes, "batch_norm": batch_norm, "padding": padding}
    return Network(groups, {**spec, "mean": mean, "std": std, "dtype": dtype, **back})
