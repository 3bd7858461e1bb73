"""Batch normalisation taken into the weights before it: what a trained network computes, with one layer less."""

from __future__ import annotations

import copy
from typing import TypeGuard

import numpy as np

from scratchnet import backend
from scratchnet.layers import BatchNorm1D, BatchNorm2D, Conv1D, Conv2D, Dense, Layer
from scratchnet.network import Network


def fold_batchnorm(network: Network, group: str = "deepfourier") -> Network:
    """The network without the batch normalisations of `group` that stand right behind a convolution or dense layer.

    Outside of training, w·x + b and then γ (· − μ)/√(σ² + ε) + β is one layer of weights w' = w γ/√(σ² + ε) and bias
    b' = (b − μ) γ/√(σ² + ε) + β; μ and σ² are the running statistics. Computed in float64. The other layers are shared.
    The spec's `batch_norm` becomes False where none is left. A network that has none to fold comes back itself.
    """
    if group not in network.groups or not any(_is_norm(layer) for _, layer in network.groups[group]):
        return network
    kept: list[tuple[str, Layer]] = []
    for name, layer in network.groups[group]:
        if _is_norm(layer) and kept and type(kept[-1][1]) in (Conv1D, Conv2D, Dense):
            kept[-1] = kept[-1][0], _folded(kept[-1][1], layer)
        else:
            kept.append((name, layer))
    groups = [(name, kept if name == group else layers) for name, layers in network.groups.items()]
    spec = dict(network.spec)
    if "batch_norm" in spec:
        spec["batch_norm"] = any(_is_norm(layer) for _, layer in kept)
    return Network(groups, spec, fused=network.fused)


def _is_norm(layer: Layer) -> TypeGuard[BatchNorm1D]:
    """A subclass may compute anything."""
    return type(layer) in (BatchNorm1D, BatchNorm2D)


def _folded(layer: Layer, norm: BatchNorm1D) -> Layer:
    """A copy of `layer` that does the work of `norm` too."""
    arrays = {**layer.params, **{f"norm.{name}": a for name, a in {**norm.params, **norm.buffers}.items()}}
    given = {name: backend.to_numpy(a).astype(np.float64) for name, a in arrays.items()}
    scale = given["norm.weight"] / np.sqrt(given["norm.running_var"] + norm.eps)
    weight = given["weight"] * scale.reshape(-1, *[1] * (given["weight"].ndim - 1))
    bias = (given.get("bias", 0.0) - given["norm.running_mean"]) * scale + given["norm.bias"]
    made, like = copy.copy(layer), layer.params["weight"]
    put = backend.xp(like).asarray
    made.params = {"weight": put(weight.astype(like.dtype)), "bias": put(bias.astype(like.dtype))}
    made.grads = {}
    return made
