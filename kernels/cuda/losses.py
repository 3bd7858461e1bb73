"""Launchers of losses.cu. A loss is an array of no dimension on the device: reading it would wait for the GPU."""

from __future__ import annotations

import numpy as np

from scratchnet.kernels.cuda import device
from scratchnet.kernels.cuda.arrays import BLOCK, elementwise, empty_like, in_one_order, int64, real_name

SUM_BLOCKS = 256  # fixed, so that the order of a sum never depends on the GPU


def softmax_cross_entropy_forward(logits, target):
    """loss = −(1/N) Σ_n log p[n, target[n]],  p = softmax(logits).   logits (N, K), target (N,) → loss, p (N, K)"""
    gpu = device.current()
    logits, target = gpu.xp.ascontiguousarray(logits), _indices(target)
    probabilities = gpu.empty(logits.shape, logits.dtype)
    row_loss = gpu.empty((len(logits),), np.float64)
    if logits.size:
        args = logits, target, probabilities, row_loss, int64(logits.shape[0]), int64(logits.shape[1])
        grid = -(-logits.shape[0] * 32 // BLOCK)
        gpu.launch("losses.cu", "softmax_cross_entropy_forward", grid, BLOCK, args, {"REAL": real_name(logits.dtype)})
    return _sum(row_loss, logits.dtype, len(logits)), probabilities


def softmax_cross_entropy_backward(probabilities, target):
    """dlogits = (p − onehot(target)) / N"""
    gpu = device.current()
    probabilities, target = gpu.xp.ascontiguousarray(probabilities), _indices(target)
    dlogits = gpu.empty(probabilities.shape, probabilities.dtype)
    args = probabilities, target, dlogits, int64(dlogits.shape[0]), int64(dlogits.shape[1])
    elementwise("losses.cu", "softmax_cross_entropy_backward", dlogits.dtype, dlogits.size, *args)
    return dlogits


def mean_squared_error_forward(prediction, target):
    """loss = mean over all elements of (prediction − target)²"""
    gpu = device.current()
    prediction, target = in_one_order(prediction, target.astype(prediction.dtype, copy=False))
    partial = gpu.empty((SUM_BLOCKS,), np.float64)
    args = prediction, target, partial, int64(prediction.size)
    gpu.launch("losses.cu", "squared_error", SUM_BLOCKS, BLOCK, args, {"REAL": real_name(prediction.dtype)})
    return _sum(partial, prediction.dtype, prediction.size)


def mean_squared_error_backward(prediction, target):
    """dprediction = 2 (prediction − target) / number of elements"""
    prediction, target = in_one_order(prediction, target.astype(prediction.dtype, copy=False))
    out = empty_like(prediction)
    if out.size:
        scale = out.dtype.type(2 / out.size)
        elementwise(
            "losses.cu",
            "mean_squared_error_backward",
            out.dtype,
            out.size,
            prediction,
            target,
            out,
            int64(out.size),
            scale,
        )
    return out


def _indices(target):
    return device.current().xp.ascontiguousarray(target.astype(np.int64, copy=False))


def _sum(values, dtype, count):
    """Σ values / count, an array of no dimension."""
    gpu = device.current()
    loss = gpu.empty((), dtype)
    args = values, loss, int64(values.size), np.float64(count)
    gpu.launch("losses.cu", "sum_over", 1, BLOCK, args, {"REAL": real_name(dtype)})
    return loss
