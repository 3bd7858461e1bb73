"""Clipping gradients to an L2 norm: what kept MSTNet's training from bursting (§2.3.3)."""

from __future__ import annotations

from scratchnet.backend import kernels_of
from scratchnet.layers.layer import Array


def clip_by_norm(grads: dict[str, Array], max_norm: float) -> dict[str, float]:
    """Scale each array in place so that its L2 norm is at most `max_norm`. Returns the norms before.

    Raises ValueError where max_norm is not positive.
    """
    _check(max_norm)
    return {name: kernels_of(grad).clip_by_norm(grad, max_norm) for name, grad in grads.items()}


def clip_by_layer_norm(grads: dict[str, Array], max_norm: float) -> dict[str, float]:
    """As `clip_by_norm`, but a layer's arrays (`conv1.weight`, `conv1.bias`) share one norm and one factor."""
    _check(max_norm)
    layers: dict[str, list[Array]] = {}
    for name, grad in grads.items():
        layers.setdefault(name.rpartition(".")[0], []).append(grad)
    norms = {}
    for layer, arrays in layers.items():
        norm = float(sum(kernels_of(a).squared_norm(a) for a in arrays)) ** 0.5
        norms[layer] = norm
        if norm > max_norm:
            for a in arrays:
                a *= a.dtype.type(max_norm / norm)
    return norms


def _check(max_norm: float) -> None:
    if not max_norm > 0:
        raise ValueError(f"max_norm must be positive, not {max_norm}")
