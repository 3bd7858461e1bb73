"""Clipping gradients to an L2 norm: what kept MSTNet's gradients from exploding (§2.3.3)."""

from __future__ import annotations

from scratchnet.backend import FLOATS, kernels_of
from scratchnet.layers.layer import Array


def clip_by_norm(grads: dict[str, Array], max_norm: float) -> dict[str, Array]:
    """Scale each array in place so that its L2 norm is at most `max_norm`.

    Returns the norms before clipping: numbers on the CPU, arrays of no dimension on the GPU, since reading one would
    wait for it.
    Raises ValueError where max_norm is not positive, or a gradient is not of float32 or float64.
    """
    return _clip({name: [grad] for name, grad in grads.items()}, max_norm)


def clip_by_layer_norm(grads: dict[str, Array], max_norm: float) -> dict[str, Array]:
    """As `clip_by_norm`, but a layer's arrays (`conv1.weight`, `conv1.bias`) share one norm and one factor."""
    layers: dict[str, list[Array]] = {}
    for name, grad in grads.items():
        layers.setdefault(name.rpartition(".")[0], []).append(grad)
    return _clip(layers, max_norm)


def _clip(groups: dict[str, list[Array]], max_norm: float) -> dict[str, Array]:
    """Clip the arrays of each group by their common norm."""
    if not max_norm > 0:
        raise ValueError(f"max_norm must be positive, not {max_norm}")
    if not groups:
        return {}
    for name, group in groups.items():
        for grad in group:
            if grad.dtype not in FLOATS:
                raise ValueError(f"{name} is of {grad.dtype}: gradients are clipped in float32 or float64")
    arrays = list(groups.values())
    return dict(zip(groups, kernels_of(arrays[0][0]).clip_by_norms(arrays, max_norm)))
