"""MelNet: a front end that *is* the Mel transform when training starts (§5, hypothesis H2), then PiczakNet."""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchnet.layers import Conv1D, Decibel, Image, Layer, Modulus, ReflectPad1D, Standardize
from scratchnet.nets.back_ends import back_end_group
from scratchnet.network import Group, Network

# The unit in which the triangles are counted, by `power`. Eq. 2 leaves it free: a factor on all of them is a constant
# in dB, which `Decibel` takes off again. It matters to the one learning rate of all layers, since a weight that is
# counted in a unit u moves u² times as far in a gradient step. Counted in ones, triangles (heights of 0.001 to 0.025)
# have gradients with norms of some 30,000 (docs/runs.md), as the logarithm divides by the powers of the quietest
# bins, and a first step of 0.01 wipes the Mel transform out. With |·| in place of |·|² they are a hundredth of that.
TRIANGLE_UNIT = {2: 2.0**-15, 1: 2.0**-9}  # powers of two: nothing is rounded


def melnet(
    n_classes: int = 10,
    power: int = 2,
    top_db: float | None = 80.0,
    amin: float = 1e-10,
    window: str = "hann",
    mean: float = 0.0,
    std: float = 1.0,
    dtype: str = "float32",
    rng: np.random.Generator | None = None,
    **back: Any,
) -> Network:
    """MelNet: eq. 1 and 2 as layers, then PiczakNet. x (N, 1, 20992) → logits (N, n_classes).

    conv1 holds the windowed Fourier kernels of eq. 1 (513 cosines, 513 sines), conv2 the triangles Δ of eq. 2; both
    train, the triangles counted in TRIANGLE_UNIT. `power` 2 is |·|² as in eq. 1, 1 is |·| (footnote 9). `top_db`,
    `amin` (of powers) and `window` as in `log_melspectrogram`. `mean`, `std`: of the training
    set's spectrograms in dB, taken off and divided by before PiczakNet. The other options are PiczakNet's, or those of
    another `back_end` ("sbcnn", "minivgg").
    Raises ValueError for a wrong value, TypeError for an unknown option.
    """
    # Imported here: the Fourier kernels and triangles are the sound wing's, which is not needed for the other networks.
    from scratchnet.sound import fourier_kernels, mel_kernels

    if power not in TRIANGLE_UNIT:
        raise ValueError(f"power must be 1 or 2, not {power!r}")
    unit = TRIANGLE_UNIT[power]
    rng = np.random.default_rng(rng)
    how: dict[str, Any] = {"dtype": dtype, "rng": rng}
    n_fft, hop = 1024, 512
    fourier = fourier_kernels(n_fft, window, dtype=dtype)  # (1026, 1, 1024)
    triangles = mel_kernels(22050, n_fft, n_mels=60, dtype=dtype)  # (60, 513, 1)
    conv1 = Conv1D(1, len(fourier), n_fft, stride=hop, **how)
    conv1.params["weight"] = fourier
    conv2 = Conv1D(triangles.shape[1], len(triangles), 1, **how)
    conv2.params["weight"] = triangles * (1 / unit)
    deepfourier: list[tuple[str, Layer]] = [
        ("pad", ReflectPad1D(n_fft // 2)),  # the left half of a centred STFT; the 41st frame ends with the segment
        ("conv1", conv1),  # eq. 1: (1026, 41)
        ("modulus", Modulus(power)),  # eq. 1: (513, 41)
        ("conv2", conv2),  # eq. 2: (60, 41)
        ("decibel", Decibel(20 / power, amin ** (power / 2), top_db, ref=1 / unit)),
        ("standardize", Standardize(mean, std)),
    ]
    spec = {"name": "melnet", "n_classes": n_classes, "power": power, "top_db": top_db, "amin": amin, "window": window}
    spec |= {"mean": mean, "std": std}
    groups: list[Group] = [
        ("deepfourier", deepfourier),
        ("image", [("image", Image())]),
        back_end_group(n_classes, **how, **back),
    ]
    return Network(groups, {**spec, "dtype": dtype, **back})
