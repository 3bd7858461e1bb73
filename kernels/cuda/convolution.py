"""Convolutions on the GPU, plain and fused with ReLU and max-pool.

Arguments and shapes are those of `scratchnet.kernels.reference`. Maps that come out lie in memory as (N, H, W, C);
x may have any strides.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from scratchnet.kernels.cuda import pooling
from scratchnet.kernels.cuda.activations import relu_backward
from scratchnet.kernels.cuda.arrays import channels_last
from scratchnet.kernels.cuda.conv_forward import forward
from scratchnet.kernels.cuda.conv_input_gradient import input_gradient, input_gradient_sparse, sparse_pays
from scratchnet.kernels.cuda.conv_shape import NO_PADDING, SINGLE, map_size
from scratchnet.kernels.cuda.conv_tiling import NoTiling
from scratchnet.kernels.cuda.conv_weight_gradient import weight_gradient


def conv1d_forward(x, weight, bias, stride, padding):
    """y[n, o, t] = bias[o] + Σ_c Σ_k weight[o, c, k] · x[n, c, t·stride + k − left]"""
    return conv2d_forward(x[:, :, None], weight[:, :, None], bias, (1, stride), ((0, 0), padding))[:, :, 0]


def conv1d_backward_weight(x, dy, kernel_size, stride, padding):
    """dweight (O, C, K), dbias (O,)"""
    dweight, dbias = conv2d_backward_weight(
        x[:, :, None], dy[:, :, None], (1, kernel_size), (1, stride), ((0, 0), padding)
    )
    return dweight[:, :, 0], dbias


def conv1d_backward_input(dy, weight, length, stride, padding):
    """dx (N, C, length)"""
    return conv2d_backward_input(dy[:, :, None], weight[:, :, None], (1, length), (1, stride), ((0, 0), padding))[
        :, :, 0
    ]


def conv2d_forward(x, weight, bias, stride, padding):
    """y[n, o, i, j] = bias[o] + Σ_c Σ_a Σ_b weight[o, c, a, b] · x[n, c, i·sh + a − top, j·sw + b − left]"""
    return forward(x, weight, bias, stride, padding, "none", SINGLE, with_argmax=False)[0]


def conv2d_backward_weight(x, dy, kernel_size, stride, padding):
    """dweight[o, c, a, b] = Σ_n Σ_ij dy[n, o, i, j] · x[n, c, i·sh + a − top, j·sw + b − left];   dbias = Σ dy"""
    return weight_gradient(x, channels_last(dy), None, kernel_size, stride, padding, SINGLE)


def conv2d_backward_input(dy, weight, size, stride, padding):
    """dx[n, c, i·sh + a − top, j·sw + b − left] += Σ_o weight[o, c, a, b] · dy[n, o, i, j]"""
    return input_gradient(channels_last(dy), weight, size, stride, padding)


class Saved(NamedTuple):
    """What a block's backward pass needs of its forward pass."""

    argmax: Any  # int32, each value's flat place in the map, −1 where ReLU cut it to 0; None without a pool
    y: Any  # without a pool, behind ReLU: positive where it let pass; else None
    pool: tuple[tuple[int, int], tuple[int, int]] | None


def conv_block_forward(x, weight, bias, stride, padding, activation, pool):
    """Convolution, ReLU, max-pool in one pass → y, and what `conv_block_backward` needs."""
    if pool is None:
        y, _ = forward(x, weight, bias, stride, padding, activation, SINGLE, with_argmax=False)
        return y, Saved(None, y if activation == "relu" else None, None)
    try:
        y, argmax = forward(x, weight, bias, stride, padding, activation, pool, with_argmax=True)
    except NoTiling:  # a window larger than a tile: one after the other
        y, argmax = pooling.maxpool2d_forward(
            conv2d_forward(x, weight, bias, stride, padding), *pool, NO_PADDING, False
        )
        if activation == "relu":
            pooling.cut(y, argmax)
    return y, Saved(argmax, None, pool)


def conv_block_backward(dy, saved, x, weight, stride, padding, need_dx, need_dweight):
    """dx, dweight, dbias of `conv_block_forward`; None where not needed.

    The weight gradient works from the pooled dy, and so does the input gradient where there are few input channels;
    where there are many, the map's whole gradient is worth its memory.
    """
    kernel_size, size = weight.shape[2:], x.shape[2:]
    dx = dweight = dbias = dmap = None
    if saved.pool is None:
        dmap = channels_last(dy if saved.y is None else relu_backward(*map(channels_last, (dy, saved.y))))
    else:
        dy, argmax = channels_last(dy), channels_last(saved.argmax)
        size_of_map = map_size(size, kernel_size, stride, padding)
    if need_dweight and dmap is None:
        try:
            dweight, dbias = weight_gradient(x, dy, argmax, kernel_size, stride, padding, saved.pool)
        except NoTiling:
            dmap = pooling.maxpool2d_backward(dy, argmax, size_of_map)
    if need_dx and dmap is None and sparse_pays(dy, x, weight, stride):
        dx = input_gradient_sparse(dy, argmax, weight, size, size_of_map, stride, padding)
    if need_dx and dx is None:
        dmap = pooling.maxpool2d_backward(dy, argmax, size_of_map) if dmap is None else dmap
        dx = input_gradient(dmap, weight, size, stride, padding)
    if need_dweight and dweight is None:
        dweight, dbias = weight_gradient(x, dmap, None, kernel_size, stride, padding, SINGLE)
    return dx, dweight, dbias
