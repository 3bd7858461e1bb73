"""The definition of every operation, in plain NumPy: short and obviously right, never fast.

Each `…_forward` stands beside its `…_backward`. Arrays are (N, C, T) and (N, C, H, W); padding is given in numbers,
`(left, right)` or `((top, bottom), (left, right))`. Every other backend is tested against this file, and against
`reference_updates.py`, which has clipping and the optimizers' steps.
"""

from __future__ import annotations

import numpy as np

from scratchnet.kernels.philox import philox
from scratchnet.kernels.reference_updates import (  # noqa: F401
    adam_step,
    adam_steps,
    clip_by_norm,
    clip_by_norms,
    nesterov_step,
    nesterov_steps,
    squared_norm,
    squared_norms,
)

# --- convolution (cross-correlation, as everywhere in deep learning): eq. 3, 5, 7, 8, 9 ------------------------------


def conv1d_forward(x, weight, bias, stride, padding):
    """y[n, o, t] = bias[o] + Σ_c Σ_k weight[o, c, k] · x[n, c, t·stride + k].   x (N, C, T) → y (N, O, T')"""
    x = np.pad(x, ((0, 0), (0, 0), padding))
    n, _, length = x.shape
    out_channels, _, kernel_size = weight.shape
    positions = (length - kernel_size) // stride + 1
    y = np.empty((n, out_channels, positions), x.dtype)
    for t in range(positions):
        window = x[:, :, t * stride : t * stride + kernel_size]
        y[:, :, t] = np.einsum("nck,ock->no", window, weight)
    return y if bias is None else y + bias[:, None]


def conv1d_backward_weight(x, dy, kernel_size, stride, padding):
    """dweight[o, c, k] = Σ_n Σ_t dy[n, o, t] · x[n, c, t·stride + k];   dbias[o] = Σ_n Σ_t dy[n, o, t]"""
    x = np.pad(x, ((0, 0), (0, 0), padding))
    dweight = np.zeros((dy.shape[1], x.shape[1], kernel_size), x.dtype)
    for t in range(dy.shape[2]):
        window = x[:, :, t * stride : t * stride + kernel_size]
        dweight += np.einsum("no,nck->ock", dy[:, :, t], window)
    return dweight, dy.sum(axis=(0, 2))


def conv1d_backward_input(dy, weight, length, stride, padding):
    """dx[n, c, t·stride + k] += Σ_o weight[o, c, k] · dy[n, o, t], then the padding is cut off.   → (N, C, length)"""
    left, right = padding
    kernel_size = weight.shape[2]
    dx = np.zeros((dy.shape[0], weight.shape[1], left + length + right), dy.dtype)
    for t in range(dy.shape[2]):
        dx[:, :, t * stride : t * stride + kernel_size] += np.einsum("no,ock->nck", dy[:, :, t], weight)
    return dx[:, :, left : left + length]


def conv2d_forward(x, weight, bias, stride, padding):
    """y[n, o, i, j] = bias[o] + Σ_c Σ_a Σ_b weight[o, c, a, b] · x[n, c, i·sh + a, j·sw + b].   → (N, O, H', W')"""
    x = np.pad(x, ((0, 0), (0, 0), *padding))
    n, _, height, width = x.shape
    out_channels, _, kh, kw = weight.shape
    sh, sw = stride
    rows, columns = (height - kh) // sh + 1, (width - kw) // sw + 1
    y = np.empty((n, out_channels, rows, columns), x.dtype)
    for i in range(rows):
        for j in range(columns):
            window = x[:, :, i * sh : i * sh + kh, j * sw : j * sw + kw]
            y[:, :, i, j] = np.einsum("ncab,ocab->no", window, weight)
    return y if bias is None else y + bias[:, None, None]


def conv2d_backward_weight(x, dy, kernel_size, stride, padding):
    """dweight[o, c, a, b] = Σ_n Σ_ij dy[n, o, i, j] · x[n, c, i·sh + a, j·sw + b];   dbias[o] = Σ_n Σ_ij dy"""
    x = np.pad(x, ((0, 0), (0, 0), *padding))
    kh, kw = kernel_size
    sh, sw = stride
    dweight = np.zeros((dy.shape[1], x.shape[1], kh, kw), x.dtype)
    for i in range(dy.shape[2]):
        for j in range(dy.shape[3]):
            window = x[:, :, i * sh : i * sh + kh, j * sw : j * sw + kw]
            dweight += np.einsum("no,ncab->ocab", dy[:, :, i, j], window)
    return dweight, dy.sum(axis=(0, 2, 3))


def conv2d_backward_input(dy, weight, size, stride, padding):
    """dx[n, c, i·sh + a, j·sw + b] += Σ_o weight[o, c, a, b] · dy[n, o, i, j], then the padding is cut off."""
    (top, bottom), (left, right) = padding
    height, width = size
    kh, kw = weight.shape[2:]
    sh, sw = stride
    dx = np.zeros((dy.shape[0], weight.shape[1], top + height + bottom, left + width + right), dy.dtype)
    for i in range(dy.shape[2]):
        for j in range(dy.shape[3]):
            window = dx[:, :, i * sh : i * sh + kh, j * sw : j * sw + kw]
            window += np.einsum("no,ocab->ncab", dy[:, :, i, j], weight)
    return dx[:, :, top : top + height, left : left + width]


# --- max-pool: eq. 4, 6 ----------------------------------------------------------------------------------------------


def pooled_length(length, kernel_size, stride, padding, ceil_mode):
    """How many windows fit; with `ceil_mode` a last one may hang over the end, but must start inside, as in PyTorch."""
    left, right = padding
    room = length + left + right - kernel_size
    count = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (count - 1) * stride >= length + left:
        count -= 1
    return count


def maxpool1d_forward(x, kernel_size, stride, padding, ceil_mode):
    """y[n, c, t] = max_k x[n, c, t·stride + k − left]; `argmax` is where.  The first of equals wins, NaN over all."""
    y, argmax = maxpool2d_forward(x[:, :, None, :], (1, kernel_size), (1, stride), ((0, 0), padding), ceil_mode)
    return y[:, :, 0], argmax[:, :, 0]


def maxpool1d_backward(dy, argmax, length):
    """dx[n, c, argmax[n, c, t]] += dy[n, c, t]"""
    return maxpool2d_backward(dy[:, :, None], argmax[:, :, None], (1, length))[:, :, 0]


def maxpool2d_forward(x, kernel_size, stride, padding, ceil_mode):
    """y[n, c, i, j] = max over a kh×kw window; `argmax` (int32) is its flat place h·W + w in x.  Padding never wins."""
    n, c, height, width = x.shape
    rows = pooled_length(height, kernel_size[0], stride[0], padding[0], ceil_mode)
    columns = pooled_length(width, kernel_size[1], stride[1], padding[1], ceil_mode)
    y = np.empty((n, c, rows, columns), x.dtype)
    argmax = np.empty((n, c, rows, columns), np.int32)
    for i in range(rows):
        for j in range(columns):
            top, left = i * stride[0] - padding[0][0], j * stride[1] - padding[1][0]
            bottom, right = min(top + kernel_size[0], height), min(left + kernel_size[1], width)
            top, left = max(top, 0), max(left, 0)
            window = x[:, :, top:bottom, left:right].reshape(n, c, (bottom - top) * (right - left))
            best = window.argmax(axis=2)
            y[:, :, i, j] = np.take_along_axis(window, best[:, :, None], axis=2)[:, :, 0]
            argmax[:, :, i, j] = (top + best // (right - left)) * width + left + best % (right - left)
    return y, argmax


def maxpool2d_backward(dy, argmax, size):
    """dx[n, c, argmax[n, c, i, j]] += dy[n, c, i, j]: only the winners receive a gradient."""
    n, c = dy.shape[:2]
    dx = np.zeros((n, c, size[0] * size[1]), dy.dtype)
    sample, channel = np.arange(n)[:, None, None, None], np.arange(c)[None, :, None, None]
    np.add.at(dx, (sample, channel, argmax), dy)
    return dx.reshape(n, c, *size)


# --- dense -----------------------------------------------------------------------------------------------------------


def dense_forward(x, weight, bias):
    """y = x · weightᵀ + bias.   x (N, I), weight (O, I) → y (N, O)"""
    y = np.einsum("ni,oi->no", x, weight)
    return y if bias is None else y + bias


def dense_backward_weight(x, dy):
    """dweight = dyᵀ · x;   dbias = Σ_n dy"""
    return np.einsum("no,ni->oi", dy, x), dy.sum(axis=0)


def dense_backward_input(dy, weight):
    """dx = dy · weight"""
    return np.einsum("no,oi->ni", dy, weight)


# --- activation functions --------------------------------------------------------------------------------------------


def relu_forward(x):
    """y = max(x, 0)"""
    return np.where(x <= 0, x.dtype.type(0), x)


def relu_backward(dy, y):
    """dx = 0 where y ≤ 0, else dy"""
    return np.where(y <= 0, dy.dtype.type(0), dy)


def tanh_forward(x):
    """y = tanh(x)"""
    return np.tanh(x)


def tanh_backward(dy, y):
    """dx = dy · (1 − y²)"""
    return dy * (1 - y * y)


def abs_forward(x):
    """y = |x|"""
    return np.abs(x)


def abs_backward(dy, x):
    """dx = dy · sign(x)"""
    return dy * np.sign(x)


# --- dropout: Srivastava et al. 2014, the mask from a counter (Salmon et al. 2011) -----------------------------------


def dropout_mask(shape, p, seed, offset):
    """True where an element is kept, with probability 1 − p; element i (C order) takes the i-th random word."""
    size = int(np.prod(shape))
    words = philox(-(-size // 4), seed, offset).reshape(-1)[:size]
    return (words.astype(np.uint64) >= np.uint64(round(p * 2**32))).reshape(shape)


def dropout_forward(x, p, seed, offset):
    """y = x / (1 − p) where kept, else 0.  The backward pass is the same function on dy."""
    return np.where(dropout_mask(x.shape, p, seed, offset), x * x.dtype.type(1 / (1 - p)), x.dtype.type(0))


# --- batch normalisation (Ioffe & Szegedy 2015), global average pooling (Lin et al. 2014) ----------------------------


def _of_channels(x, values):
    """values (C,), shaped to stand beside x (N, C, …)."""
    return values.reshape(1, -1, *[1] * (x.ndim - 2))


def batchnorm_statistics(x):
    """mean[c] and var[c] (dividing by the count) over samples and positions, summed in float64.   x (N, C, …)"""
    axes = (0, *range(2, x.ndim))
    return tuple(moment(axis=axes, dtype=np.float64).astype(x.dtype) for moment in (x.mean, x.var))


def batchnorm_forward(x, weight, bias, mean, var, eps):
    """y = weight[c] · x̂ + bias[c],  x̂ = (x − mean[c]) / √(var[c] + eps).   x (N, C, …)"""
    scale = weight / np.sqrt(var + x.dtype.type(eps))
    return (x - _of_channels(x, mean)) * _of_channels(x, scale) + _of_channels(x, bias)


def batchnorm_backward(dy, x, weight, mean, var, eps, from_batch, need_dx, need_dweight):
    """dweight[c] = Σ dy · x̂,  dbias[c] = Σ dy,  dx = weight[c] / √(var[c] + eps) · (dy − [dbias + x̂ · dweight] / count)

    The bracket is what x does to mean and var: there where they are the batch's own (`from_batch`), else 0.
    → dx, dweight, dbias, None where not needed
    """
    axes, count = (0, *range(2, x.ndim)), x.dtype.type(x.size // x.shape[1])
    inverse = _of_channels(x, 1 / np.sqrt(var + x.dtype.type(eps)))
    normal = (x - _of_channels(x, mean)) * inverse
    dbias = dy.sum(axis=axes, dtype=np.float64).astype(x.dtype)
    dweight = (dy * normal).sum(axis=axes, dtype=np.float64).astype(x.dtype)
    dx = None
    if need_dx:
        through = (_of_channels(x, dbias) + normal * _of_channels(x, dweight)) / count if from_batch else 0
        dx = _of_channels(x, weight) * inverse * (dy - through)
    return (dx, dweight, dbias) if need_dweight else (dx, None, None)


def global_avgpool2d_forward(x):
    """y[n, c] = mean over the map of x[n, c].   x (N, C, H, W) → y (N, C)"""
    return x.mean(axis=(2, 3), dtype=np.float64).astype(x.dtype)


def global_avgpool2d_backward(dy, size):
    """dx[n, c, i, j] = dy[n, c] / (H · W).   → (N, C, H, W)"""
    share = dy * dy.dtype.type(1 / (size[0] * size[1]))
    return np.broadcast_to(share[:, :, None, None], (*dy.shape, *size)).copy()


# --- losses ----------------------------------------------------------------------------------------------------------


def softmax_cross_entropy_forward(logits, target):
    """loss = −(1/N) Σ_n log p[n, target[n]],  p = softmax(logits).   logits (N, K), target (N,) → loss, p (N, K)"""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    log_p = shifted - log_sum
    return -log_p[np.arange(len(target)), target].mean(), np.exp(log_p)


def softmax_cross_entropy_backward(probabilities, target):
    """dlogits = (p − onehot(target)) / N"""
    dlogits = probabilities.copy()
    dlogits[np.arange(len(target)), target] -= 1
    return dlogits / dlogits.dtype.type(len(target))


def mean_squared_error_forward(prediction, target):
    """loss = mean over all elements of (prediction − target)²"""
    return ((prediction - target) ** 2).mean()


def mean_squared_error_backward(prediction, target):
    """dprediction = 2 (prediction − target) / number of elements"""
    return (prediction - target) * prediction.dtype.type(2 / prediction.size)


# --- blocks: what the fast backends do in one pass -------------------------------------------------------------------


def conv_block_forward(x, weight, bias, stride, padding, activation, pool):
    """Convolution, ReLU, max-pool, one after the other.  `pool` is (kernel_size, stride) or None.

    → y, saved: what `conv_block_backward` of the same backend needs; here, where in the convolution's map (flat, int32)
    each value comes from, −1 where ReLU cut it to 0.
    """
    return _activate_and_pool(conv2d_forward(x, weight, bias, stride, padding), activation, pool)


def conv_block_backward(dy, saved, x, weight, stride, padding, need_dx, need_dweight):
    """The gradients of `conv_block_forward`; `dx`, `dweight` and `dbias` are None where not needed."""
    size = [(x.shape[2 + i] + sum(padding[i]) - weight.shape[2 + i]) // stride[i] + 1 for i in range(2)]
    dy = _before_pool(dy, saved, size)
    dx = conv2d_backward_input(dy, weight, x.shape[2:], stride, padding) if need_dx else None
    return (dx, *conv2d_backward_weight(x, dy, weight.shape[2:], stride, padding)) if need_dweight else (dx, None, None)


def norm_block_forward(x, weight, bias, mean, var, eps, activation, pool):
    """Batch normalisation, ReLU, max-pool, one after the other.   x (N, C, H, W); `pool`, `saved` as above"""
    return _activate_and_pool(batchnorm_forward(x, weight, bias, mean, var, eps), activation, pool)


def norm_block_backward(dy, saved, x, weight, mean, var, eps, from_batch, need_dx, need_dweight):
    """The gradients of `norm_block_forward`, as `batchnorm_backward` has them."""
    dy = _before_pool(dy, saved, x.shape[2:])
    return batchnorm_backward(dy, x, weight, mean, var, eps, from_batch, need_dx, need_dweight)


def _activate_and_pool(y, activation, pool):
    if pool is None:
        argmax = np.tile(np.arange(y.shape[2] * y.shape[3], dtype=np.int32).reshape(y.shape[2:]), (*y.shape[:2], 1, 1))
    else:
        y, argmax = maxpool2d_forward(y, *pool, ((0, 0), (0, 0)), ceil_mode=False)
    if activation == "relu":
        y = relu_forward(y)  # after the pool: max and ReLU commute, both are monotone
        argmax[y <= 0] = -1
    return y, argmax


def _before_pool(dy, saved, size):
    return maxpool2d_backward(np.where(saved >= 0, dy, dy.dtype.type(0)), np.maximum(saved, 0), size)


def dense_block_forward(x, weight, bias, p, seed, offset):
    """Dense, ReLU and (where p > 0) dropout, one after the other."""
    y = relu_forward(dense_forward(x, weight, bias))
    return dropout_forward(y, p, seed, offset) if p > 0 else y


def dense_block_backward(dy, y, x, weight, p, need_dx, need_dweight):
    """The gradients of `dense_block_forward`: y ≤ 0 where ReLU or dropout cut."""
    dz = relu_backward(dy, y) * dy.dtype.type(1 / (1 - p))
    dx = dense_backward_input(dz, weight) if need_dx else None
    return (dx, *dense_backward_weight(x, dz)) if need_dweight else (dx, None, None)
