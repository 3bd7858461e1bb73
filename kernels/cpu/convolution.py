"""Which way a convolution takes on the CPU."""

from __future__ import annotations

import numpy as np

from scratchnet.kernels.cpu import conv_dense, conv_forward, conv_sparse, conv_weight


def conv_block_forward(x, weight, bias, stride, padding, activation, pool):
    """See `reference.conv_block_forward`; without a pool, the backward pass needs y alone, so `saved` is y."""
    relu = activation == "relu"
    if _tall(weight):
        pool = pool and (pool[0][::-1], pool[1][::-1])
        transposed = conv_forward.forward(
            _transposed(x), _transposed(weight), bias, stride[::-1], padding[::-1], relu, pool, transposed=True
        )
        y, saved = _transposed(transposed[0]), transposed[1]
    else:
        y, saved = conv_forward.forward(x, weight, bias, stride, padding, relu, pool)
    return y, (y if activation == "relu" else None) if pool is None else saved


def conv_block_backward(dy, saved, x, weight, stride, padding, need_dx, need_dweight):
    """See `reference.conv_block_backward`."""
    if not _tall(weight):
        return _backward(dy, saved, x, weight, stride, padding, need_dx, need_dweight)
    if saved is not None and saved.dtype.kind == "f":  # y, which was transposed back; places were not
        saved = _transposed(saved)
    dx, dweight, dbias = _backward(
        _transposed(dy), saved, _transposed(x), _transposed(weight), stride[::-1], padding[::-1], need_dx, need_dweight
    )
    return (
        None if dx is None else _transposed(dx),
        None if dweight is None else np.ascontiguousarray(_transposed(dweight)),
        dbias,
    )


def _backward(dy, saved, x, weight, stride, padding, need_dx, need_dweight):
    if saved is not None and saved.dtype.kind == "i":
        return conv_sparse.backward(dy, saved, x, weight, stride, padding, need_dx, need_dweight)
    dx, dweight, dbias = None, None, None
    if need_dx:
        dx = conv_dense.backward_input(dy, weight, x.shape[2:], stride, padding, saved)
    if need_dweight:
        dweight, dbias = conv_weight.backward_weight(x, dy, weight.shape[2:], stride, padding, saved)
    return dx, dweight, dbias


def conv2d_forward(x, weight, bias, stride, padding):
    """See `reference.conv2d_forward`."""
    return conv_block_forward(x, weight, bias, stride, padding, "none", None)[0]


def conv2d_backward_weight(x, dy, kernel_size, stride, padding):
    """See `reference.conv2d_backward_weight`."""
    if kernel_size[0] <= kernel_size[1]:
        return conv_weight.backward_weight(x, dy, kernel_size, stride, padding)
    transposed = _transposed(x), _transposed(dy), kernel_size[::-1], stride[::-1], padding[::-1]
    dweight, dbias = conv_weight.backward_weight(*transposed)
    return np.ascontiguousarray(_transposed(dweight)), dbias


def conv2d_backward_input(dy, weight, size, stride, padding):
    """See `reference.conv2d_backward_input`."""
    if not _tall(weight):
        return conv_dense.backward_input(dy, weight, size, stride, padding)
    return _transposed(
        conv_dense.backward_input(_transposed(dy), _transposed(weight), size[::-1], stride[::-1], padding[::-1])
    )


# A time series is an image of height 1.


def conv1d_forward(x, weight, bias, stride, padding):
    """See `reference.conv1d_forward`."""
    return conv2d_forward(x[:, :, None], weight[:, :, None], bias, (1, stride), ((0, 0), padding))[:, :, 0]


def conv1d_backward_weight(x, dy, kernel_size, stride, padding):
    """See `reference.conv1d_backward_weight`."""
    dweight, dbias = conv2d_backward_weight(
        x[:, :, None], dy[:, :, None], (1, kernel_size), (1, stride), ((0, 0), padding)
    )
    return dweight[:, :, 0], dbias


def conv1d_backward_input(dy, weight, length, stride, padding):
    """See `reference.conv1d_backward_input`."""
    return conv2d_backward_input(dy[:, :, None], weight[:, :, None], (1, length), (1, stride), ((0, 0), padding))[
        :, :, 0
    ]


def _tall(weight):
    """Under a tall kernel an image is transposed: the register kernels walk along the longer side."""
    return weight.shape[2] > weight.shape[3]


def _transposed(x):
    return x.transpose(0, 1, 3, 2)
