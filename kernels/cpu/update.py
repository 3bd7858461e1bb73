"""One training step's last part: norms, clipping, Nesterov and Adam, each one pass over the weights.

All take lists of arrays, whose pieces are worked off together.
"""

from __future__ import annotations

import numpy as np

from scratchnet.compiled import compiled
from scratchnet.kernels.cpu import parallel

PIECE = 1 << 17  # numbers per piece of work


def squared_norms(groups):
    """See `reference.squared_norms`."""
    return np.array([sum(_squares_of(x) for x in group) for group in groups], np.float64)


def _squares_of(x):
    """Σ x²: partial sums in float64, added in a fixed order."""
    flat = x.reshape(-1)
    sums = np.empty(-(-flat.size // PIECE))

    def piece(i: int) -> None:
        sums[i] = _squared_norm(flat[i * PIECE : (i + 1) * PIECE])

    parallel.run(piece, len(sums))
    return float(sums.sum())


def clip_by_norms(groups, max_norm):
    """See `reference.clip_by_norms`."""
    norms = [square**0.5 for square in squared_norms(groups).tolist()]
    for group, norm in zip(groups, norms):
        if norm > max_norm:
            for x in group:
                x *= x.dtype.type(max_norm / norm)
    return np.array(norms)


def nesterov_steps(params, grads, velocities, lr, momentum, weight_decay):
    """See `reference.nesterov_steps`."""
    _in_pieces(_nesterov, (params, grads, velocities), (lr, momentum, weight_decay))


def adam_steps(params, grads, ms, vs, t, lr, beta1, beta2, eps, weight_decay):
    """See `reference.adam_steps`."""
    numbers = lr / (1 - beta1**t), 1 - beta1, 1 - beta2, 1 - beta2**t, eps, weight_decay
    _in_pieces(_adam, (params, grads, ms, vs), numbers)


def _in_pieces(kernel, lists, numbers):
    """kernel over stretches of the arrays that stand side by side in the lists, with the numbers in their type."""
    work = []  # (the flat arrays, the first number of a stretch)
    copies = []  # (an array whose memory is not contiguous, its flat copy), but for gradients, which are only read
    for arrays in zip(*lists, strict=True):
        flat = [a.reshape(-1) for a in arrays]
        copies += [(a, b) for k, (a, b) in enumerate(zip(arrays, flat)) if k != 1 and not a.flags.c_contiguous]
        work += [(flat, first) for first in range(0, flat[0].size, PIECE)]

    def piece(i: int) -> None:
        flat, first = work[i]
        real = flat[0].dtype.type
        kernel(*(a[first : first + PIECE] for a in flat), *(real(number) for number in numbers))

    parallel.run(piece, len(work))
    for a, b in copies:
        a[...] = b.reshape(a.shape)


def _squared_norm(x):
    total = 0.0
    for i in range(len(x)):
        total += np.float64(x[i]) * np.float64(x[i])
    return total


def _nesterov(param, grad, velocity, lr, momentum, weight_decay):
    for i in range(len(param)):
        g = grad[i] + weight_decay * param[i]
        velocity[i] = momentum * velocity[i] + g
        param[i] -= lr * (g + momentum * velocity[i])


def _adam(param, grad, m, v, lr, keep1, keep2, correction2, eps, weight_decay):
    for i in range(len(param)):
        g = grad[i] + weight_decay * param[i]
        m[i] += keep1 * (g - m[i])
        v[i] += keep2 * (g * g - v[i])
        param[i] -= lr * m[i] / (np.sqrt(v[i] / correction2) + eps)


# The sum may be taken in any order within a piece: several partial sums, which fit vector registers.
_squared_norm = compiled(_squared_norm, fastmath={"reassoc", "contract"})
_nesterov = compiled(_nesterov)
_adam = compiled(_adam, error_model="numpy")
