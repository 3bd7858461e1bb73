"""The definition of what moves the weights in one training step: clip the gradients, then step along them.

`reference.py` hands these names on: import them from there.
"""

from __future__ import annotations

import numpy as np


def squared_norm(x):
    """Σ x², summed in float64."""
    return float((x.astype(np.float64) ** 2).sum())


def clip_by_norm(x, max_norm):
    """Scale x in place so that its L2 norm is at most `max_norm`; returns the norm before.  Short ones stay."""
    return clip_by_norms([[x]], max_norm)[0]


def squared_norms(groups):
    """Σ x² over all arrays of each group, (number of groups,) float64."""
    return np.array([sum(squared_norm(x) for x in group) for group in groups], np.float64)


def clip_by_norms(groups, max_norm):
    """`clip_by_norm` for each group of arrays: its arrays share one norm and one factor.   → the norms before"""
    norms = squared_norms(groups) ** 0.5
    for group, norm in zip(groups, norms):
        if norm > max_norm:
            for x in group:
                x *= x.dtype.type(max_norm / norm)
    return norms


def nesterov_step(param, grad, velocity, lr, momentum, weight_decay):
    """Nesterov (Sutskever et al. 2013): g = grad + λ·param; v ← μ·v + g; param ← param − lr·(g + μ·v), in place"""
    g = grad + param.dtype.type(weight_decay) * param
    velocity *= param.dtype.type(momentum)
    velocity += g
    param -= param.dtype.type(lr) * (g + param.dtype.type(momentum) * velocity)


def nesterov_steps(params, grads, velocities, lr, momentum, weight_decay):
    """`nesterov_step` over lists of arrays."""
    for arrays in zip(params, grads, velocities, strict=True):
        nesterov_step(*arrays, lr, momentum, weight_decay)


def adam_step(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    """Adam (Kingma & Ba 2015, algorithm 1), in place; t counts from 1."""
    real = param.dtype.type
    g = grad + real(weight_decay) * param
    m += real(1 - beta1) * (g - m)
    v += real(1 - beta2) * (g * g - v)
    param -= real(lr / (1 - beta1**t)) * m / (np.sqrt(v / real(1 - beta2**t)) + real(eps))


def adam_steps(params, grads, ms, vs, t, lr, beta1, beta2, eps, weight_decay):
    """`adam_step` over lists of arrays."""
    for arrays in zip(params, grads, ms, vs, strict=True):
        adam_step(*arrays, t, lr, beta1, beta2, eps, weight_decay)
