"""Launchers of the convolutions: conv_forward.cu, conv_weight_gradient.cu, conv_input_gradient_sparse.cu.

Arguments and shapes are those of `scratchnet.kernels.reference`. Maps that come out lie in memory as (N, H, W, C); x may
have any strides.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from scratchnet.kernels.cuda import conv_plan as plan
from scratchnet.kernels.cuda import device, pooling
from scratchnet.kernels.cuda.activations import relu_backward
from scratchnet.kernels.cuda.arrays import channels_last, elements, empty_channels_last, int64, real_name

SINGLE = (1, 1), (1, 1)  # the pool of a block without one
NO_PADDING = (0, 0), (0, 0)
SPARSE_WARPS = 8


def conv1d_forward(x, weight, bias, stride, padding):
    """y[n, o, t] = bias[o] + Σ_c Σ_k weight[o, c, k] · x[n, c, t·stride + k − left]"""
    return conv2d_forward(x[:, :, None], weight[:, :, None], bias, (1, stride), ((0, 0), padding))[:, :, 0]


def conv1d_backward_weight(x, dy, kernel_size, stride, padding):
    """dweight (O, C, K), dbias (O,)"""
    dweight, dbias = conv2d_backward_weight(x[:, :, None], dy[:, :, None], (1, kernel_size), (1, stride), ((0, 0), padding))
    return dweight[:, :, 0], dbias


def conv1d_backward_input(dy, weight, length, stride, padding):
    """dx (N, C, length)"""
    return conv2d_backward_input(dy[:, :, None], weight[:, :, None], (1, length), (1, stride), ((0, 0), padding))[:, :, 0]


def conv2d_forward(x, weight, bias, stride, padding):
    """y[n, o, i, j] = bias[o] + Σ_c Σ_a Σ_b weight[o, c, a, b] · x[n, c, i·sh + a − top, j·sw + b − left]"""
    return _forward(x, weight, bias, stride, padding, "none", SINGLE, with_argmax=False)[0]


def conv2d_backward_weight(x, dy, kernel_size, stride, padding):
    """dweight[o, c, a, b] = Σ_n Σ_ij dy[n, o, i, j] · x[n, c, i·sh + a − top, j·sw + b − left];   dbias[o] = Σ dy[:, o]"""
    return _weight_gradient(x, channels_last(dy), None, kernel_size, stride, padding, SINGLE)


def conv2d_backward_input(dy, weight, size, stride, padding):
    """dx[n, c, i·sh + a − top, j·sw + b − left] += Σ_o weight[o, c, a, b] · dy[n, o, i, j]"""
    return _input_gradient(channels_last(dy), weight, size, stride, padding)


class Saved(NamedTuple):
    """What a block's backward pass needs of its forward pass."""

    argmax: Any  # int32, each value's flat place in the map, −1 where ReLU cut it to 0; None without a pool
    y: Any  # without a pool, behind ReLU: positive where it let pass; else None
    pool: tuple[tuple[int, int], tuple[int, int]] | None


def conv_block_forward(x, weight, bias, stride, padding, activation, pool):
    """Convolution, ReLU, max-pool in one pass → y, and what `conv_block_backward` needs."""
    if pool is None:
        y, _ = _forward(x, weight, bias, stride, padding, activation, SINGLE, with_argmax=False)
        return y, Saved(None, y if activation == "relu" else None, None)
    try:
        y, argmax = _forward(x, weight, bias, stride, padding, activation, pool, with_argmax=True)
    except _NoTiling:  # a window larger than a tile: one after the other
        y, argmax = pooling.maxpool2d_forward(conv2d_forward(x, weight, bias, stride, padding), *pool, NO_PADDING, False)
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
        map_size = plan.map_size(size, kernel_size, stride, padding)
    if need_dweight and dmap is None:
        try:
            dweight, dbias = _weight_gradient(x, dy, argmax, kernel_size, stride, padding, saved.pool)
        except _NoTiling:
            dmap = pooling.maxpool2d_backward(dy, argmax, map_size)
    if need_dx and dmap is None and _sparse_pays(dy, x, weight, stride):
        dx = _input_gradient_sparse(dy, argmax, weight, size, map_size, stride, padding)
    if need_dx and dx is None:
        dmap = pooling.maxpool2d_backward(dy, argmax, map_size) if dmap is None else dmap
        dx = _input_gradient(dmap, weight, size, stride, padding)
    if need_dweight and dweight is None:
        dweight, dbias = _weight_gradient(x, dmap, None, kernel_size, stride, padding, SINGLE)
    return dx, dweight, dbias


# --- forward ---------------------------------------------------------------------------------------------------------


class _NoTiling(Exception):
    """A pool's window is larger than the largest tile."""


class _Launch(NamedTuple):
    """What a launch needs and a geometry determines."""

    shape: plan.Shape
    tiling: plan.Tiling
    defines: dict[str, Any]
    shared: int
    tables: tuple[Any, Any, Any]  # on the device: ConvShape, taps, place of each k in the weights
    pooled: tuple[int, int]


def _forward(x, weight, bias, stride, padding, activation, pool, with_argmax):
    gpu = device.current()
    n, out_channels = len(x), len(weight)
    launch = _plan_forward(
        gpu, x.dtype.name, x.shape, tuple(elements(x, i) for i in range(4)), gpu.address(x) % 16, weight.shape,
        plan.freeze(stride), plan.freeze(padding), plan.freeze(pool), gpu.tensor_cores,
    )  # fmt: skip
    y = empty_channels_last((n, out_channels, *launch.pooled), x.dtype)
    argmax = empty_channels_last(y.shape, np.int32) if with_argmax else None
    if y.size:
        depth = int(np.prod(weight.shape[1:]))
        packed = _pack(gpu, gpu.xp.ascontiguousarray(weight), launch, depth)
        _run_forward(gpu, launch, packed, x, None if bias is None else gpu.xp.ascontiguousarray(bias), y, argmax, activation)
    return y, argmax


def _run_forward(gpu, launch, packed, x, bias, y, argmax, activation):
    tile_m, threads = launch.defines["TILE_M"], 32 * plan.WARPS
    grid = launch.tiling.tiles * -(-launch.shape.channels // tile_m)
    args = packed, launch.tables[1], launch.tables[0], x, bias, y, argmax, np.int32(activation == "relu")
    gpu.launch("conv_forward.cu", "conv_forward", grid, threads, args, launch.defines, launch.shared)


def _pack(gpu, weight, launch, step):
    """The weights as conv_forward.cu reads them: (channels, depth_padded)."""
    shape = launch.shape
    packed = gpu.empty((shape.channels, max(shape.depth_padded, 1)), weight.dtype)
    n = shape.channels * shape.depth_padded
    if n:
        defines = {"REAL": launch.defines["REAL"]} | {key: 1 for key in launch.defines if key == "TENSOR_CORES"}
        args = weight, launch.tables[2], packed, int64(shape.channels), int64(shape.depth), int64(shape.depth_padded), int64(step)
        gpu.launch("conv_pack.cu", "pack_weight", min(-(-n // 256), 2112), 256, args, defines)
    return packed


@lru_cache(maxsize=256)
def _plan_forward(gpu, dtype, x_shape, x_strides, address, weight_shape, stride, padding, pool, tensor_cores):
    n, in_channels, rows, columns = x_shape
    map_rows, map_columns = plan.map_size((rows, columns), weight_shape[2:], stride, padding)
    pooled = plan.map_size((map_rows, map_columns), *pool, NO_PADDING)
    _check_size(max(rows, columns) * 2, map_rows * map_columns)
    channel, row, column = plan.tap_order(weight_shape[1:], x_strides[1:])
    place = np.ravel_multi_index((channel, row, column), weight_shape[1:])
    return _plan_gather(
        gpu, dtype, n, weight_shape[0], (rows, columns), x_strides, address, (channel, row, column), place, stride,
        (-padding[0][0], -padding[1][0]), (map_rows, map_columns), pooled, pool,
        (pooled[0] * pooled[1] * weight_shape[0], pooled[1] * weight_shape[0], weight_shape[0]), tensor_cores,
    )  # fmt: skip


def _plan_gather(gpu, dtype, n, channels, size, x_strides, address, tap, place, step, first, map_size, pooled, pool, y_strides, tensor_cores):
    """The launch of conv_forward.cu that gathers `tap` from x at each position."""
    itemsize = np.dtype(dtype).itemsize
    depth = len(tap[0])
    padded = -(-depth // plan.SLICE) * plan.SLICE
    tile_m, warps_m = plan.tile_channels(channels, itemsize)
    warps_n = plan.WARPS // warps_m
    widths = [width for width in plan.tile_widths(tile_m, itemsize) if width in (32, 64, 128, 192, 256)]
    fitting = [width for width in widths if plan.forward_stages(tile_m, width, itemsize, gpu.shared_limit)]
    tiling = plan.best_tiling(n, pooled, pool, fitting, overhead=16)
    if tiling is None:
        raise _NoTiling
    stages, shared = plan.forward_stages(tile_m, tiling.size, itemsize, gpu.shared_limit)
    taps = plan.tap_table(*tap, x_strides[1:], padded)
    moves = (x_strides[0] if n > 1 else 0, step[0] * x_strides[2], step[1] * x_strides[3], first[0] * x_strides[2], first[1] * x_strides[3])
    edges = (size[0], step[0], first[0]), (size[1], step[1], first[1])
    vector = plan.vector_width(taps, depth, moves, edges, address, itemsize)
    shape = plan.Shape(
        n, channels, depth, padded, x_strides[0], x_strides[2], x_strides[3], *size, *step, *first, *map_size, *y_strides, *pooled,
        *pool[0], *pool[1], tiling.tile_rows, tiling.tile_columns, tiling.groups,
    )  # fmt: skip
    defines = {"REAL": real_name(dtype), "TILE_M": tile_m, "TILE_N": tiling.size, "WARPS_M": warps_m, "WARPS_N": warps_n,
               "STAGES": stages, "VECTOR": vector}  # fmt: skip
    if tensor_cores and dtype == "float32":
        defines["TENSOR_CORES"] = 1
    tables = gpu.upload(shape.pack()), gpu.upload(taps), gpu.upload(np.asarray(place, np.int64))
    return _Launch(shape, tiling, defines, shared, tables, pooled)


def _check_size(*sizes):
    if max(sizes) >= 2**30:
        raise ValueError(f"a map of {max(sizes)} positions: the CUDA kernels count rows and columns in 32 bits")


# --- weight gradient -------------------------------------------------------------------------------------------------


def _weight_gradient(x, dy, argmax, kernel_size, stride, padding, pool):
    """From dy (and argmax), channels last: of the whole map, or behind `pool`."""
    gpu = device.current()
    out_channels, in_channels = dy.shape[1], x.shape[1]
    launch = _plan_weight_gradient(
        gpu, x.dtype.name, x.shape, tuple(elements(x, i) for i in range(4)), gpu.address(x) % 16, gpu.address(dy) % 16,
        out_channels, plan.freeze(kernel_size), plan.freeze(stride), plan.freeze(padding), plan.freeze(pool), argmax is not None,
        gpu.tensor_cores,
    )  # fmt: skip
    depth, defines = launch.shape.depth, launch.defines
    tiles_m, tiles_k = -(-out_channels // defines["TILE_M"]), -(-depth // defines["TILE_K"])
    splits = max(1, min(-(-plan.TARGET_BLOCKS // (tiles_m * tiles_k)), launch.tiling.tiles))
    partial = gpu.empty((splits, out_channels, depth), x.dtype)
    partial_bias = gpu.empty((splits, out_channels), x.dtype)
    args = (dy, argmax, launch.tables[1], launch.tables[0], x, partial, partial_bias, int64(splits), int64(launch.tiling.tiles))
    gpu.launch("conv_weight_gradient.cu", "conv_weight_gradient", splits * tiles_m * tiles_k, 32 * plan.WARPS, args, defines, launch.shared)
    dweight = gpu.empty((out_channels, in_channels, *kernel_size), x.dtype)
    dbias = gpu.empty((out_channels,), x.dtype)
    n = dweight.size + dbias.size
    args = partial, partial_bias, launch.tables[2], dweight, dbias, int64(splits), int64(out_channels), int64(depth)
    gpu.launch("conv_pack.cu", "sum_weight_gradient", min(-(-n // 256), 2112), 256, args, {"REAL": defines["REAL"]})
    return dweight, dbias


@lru_cache(maxsize=256)
def _plan_weight_gradient(gpu, dtype, x_shape, x_strides, x_address, dy_address, out_channels, kernel_size, stride, padding, pool, pooled, tensor_cores):
    n, in_channels, rows, columns = x_shape
    itemsize = np.dtype(dtype).itemsize
    size = plan.map_size((rows, columns), kernel_size, stride, padding)
    after = plan.map_size(size, *pool, NO_PADDING)
    _check_size(max(rows, columns) * 2, size[0] * size[1])
    sizes = (in_channels, *kernel_size)
    tap = plan.tap_order(sizes, x_strides[1:])
    depth = len(tap[0])
    tile_m, warps_m = plan.tile_channels(out_channels, itemsize)
    warps_k = plan.WARPS // warps_m
    fitting = [k for k in plan.tile_widths(tile_m, itemsize) if plan.gradient_shared(tile_m, k, 16, pooled, itemsize) <= gpu.shared_limit]
    tile_k = min(fitting, key=lambda k: (-(-depth // k) * (k + tile_m / 8), k))
    tilings = [
        tiling
        for tile_p in ((64, 48, 32, 24, 16) if pooled else (32, 24, 16))
        if plan.gradient_shared(tile_m, tile_k, tile_p, pooled, itemsize) <= gpu.shared_limit
        and (tiling := plan.best_tiling(n, after, pool, [tile_p], overhead=16))
    ]
    if not tilings:
        raise _NoTiling
    tiling = min(tilings, key=lambda t: t.tiles * (t.size + 16))
    taps = plan.tap_table(*tap, x_strides[1:], depth)
    first = -padding[0][0], -padding[1][0]
    moves = (x_strides[0] if n > 1 else 0, stride[0] * x_strides[2], stride[1] * x_strides[3], first[0] * x_strides[2], first[1] * x_strides[3])
    edges = (rows, stride[0], first[0]), (columns, stride[1], first[1])
    vector = plan.vector_width(taps, depth, moves, edges, x_address, itemsize)
    whole = 16 // itemsize
    vector_dy = next(v for v in (whole, 2, 1) if out_channels % v == 0 and dy_address % (v * itemsize) == 0)
    shape = plan.Shape(
        n, out_channels, depth, depth, x_strides[0], x_strides[2], x_strides[3], rows, columns, *stride, *first, *size,
        after[0] * after[1] * out_channels, after[1] * out_channels, out_channels, *after, *pool[0], *pool[1],
        tiling.tile_rows, tiling.tile_columns, tiling.groups,
    )  # fmt: skip
    defines = {"REAL": real_name(dtype), "TILE_M": tile_m, "TILE_K": tile_k, "TILE_P": tiling.size, "WARPS_M": warps_m, "WARPS_K": warps_k,
               "VECTOR": vector, "VECTOR_DY": vector_dy, "POOLED": int(pooled)}  # fmt: skip
    if tensor_cores and dtype == "float32":
        defines["TENSOR_CORES"] = 1
    shared = plan.gradient_shared(tile_m, tile_k, tiling.size, pooled, itemsize)
    place = np.ravel_multi_index(tap, sizes)
    return _Launch(shape, tiling, defines, shared, (gpu.upload(shape.pack()), gpu.upload(taps), gpu.upload(place.astype(np.int64))), after)


# --- input gradient --------------------------------------------------------------------------------------------------


def _input_gradient(dmap, weight, size, stride, padding):
    """A convolution of the map's gradient with the kernel turned round. With a stride, every stride-th element of dx sees
    the same taps: one launch for each of those classes."""
    gpu = device.current()
    dx = empty_channels_last((len(dmap), weight.shape[1], *size), dmap.dtype)
    if not dx.size:
        return dx
    weight = gpu.xp.ascontiguousarray(weight)
    step = int(np.prod(weight.shape[2:]))  # from one input channel's weights to the next's
    for start in product(range(min(stride[0], size[0])), range(min(stride[1], size[1]))):
        launch = _plan_input_gradient(
            gpu, dmap.dtype.name, dmap.shape, gpu.address(dmap) % 16, weight.shape, plan.freeze(size), plan.freeze(stride),
            plan.freeze(padding), start, gpu.tensor_cores,
        )  # fmt: skip
        packed = _pack(gpu, weight, launch, step)
        _run_forward(gpu, launch, packed, dmap, None, dx[:, :, start[0] :, start[1] :], None, "none")
    return dx


@lru_cache(maxsize=256)
def _plan_input_gradient(gpu, dtype, dy_shape, address, weight_shape, size, stride, padding, start, tensor_cores):
    """dx[start + stride · i] gathers dy[(start + padding − a) / stride + i] for the taps a where that is whole."""
    n, out_channels, map_rows, map_columns = dy_shape
    in_channels = weight_shape[1]
    along = [(start[i] + padding[i][0]) % stride[i] + stride[i] * np.arange(-(-weight_shape[2 + i] // stride[i]) + 1) for i in range(2)]
    rows, columns = ([a for a in along[i].tolist() if a < weight_shape[2 + i]] for i in range(2))
    j, k, o = (grid.reshape(-1) for grid in np.meshgrid(np.arange(len(rows)), np.arange(len(columns)), np.arange(out_channels), indexing="ij"))
    row, column = np.array(rows, np.int64)[j], np.array(columns, np.int64)[k]
    place = o * int(np.prod(weight_shape[1:])) + row * weight_shape[3] + column
    strides = (map_rows * map_columns * out_channels, 1, map_columns * out_channels, out_channels)
    first = [(start[i] + padding[i][0] - along[i].tolist()[0]) // stride[i] for i in range(2)]
    count = [-(-(size[i] - start[i]) // stride[i]) for i in range(2)]
    y_strides = (size[0] * size[1] * in_channels, stride[0] * size[1] * in_channels, stride[1] * in_channels)
    return _plan_gather(
        gpu, dtype, n, in_channels, (map_rows, map_columns), strides, address, (o, -j, -k), place, (1, 1), tuple(first), tuple(count),
        tuple(count), SINGLE, y_strides, tensor_cores,
    )  # fmt: skip


def _sparse_pays(dy, x, weight, stride):
    """Whether to send each pooled value back by itself rather than multiply over the whole map.

    Counted in instructions of a warp: 12 for 32 taps of a value; 1 for 16 × 8 × 8 multiply-adds and as much again to
    bring them in, with the input channels rounded up to 16.
    """
    n, out_channels, depth = len(dy), len(weight), int(np.prod(weight.shape[1:]))
    sparse = dy.size * -(-depth // 32) * 12
    taps = out_channels * weight.shape[2] * weight.shape[3] / (stride[0] * stride[1])
    dense = n * x.shape[2] * x.shape[3] * -(-x.shape[1] // 16) * 16 * taps / 1024 * 2
    return sparse < dense


def _input_gradient_sparse(dy, argmax, weight, size, map_size, stride, padding):
    """conv_input_gradient_sparse.cu; None where a sample is too large for shared memory."""
    gpu = device.current()
    n, out_channels = dy.shape[:2]
    in_channels, itemsize = weight.shape[1], dy.itemsize
    values = out_channels * dy.shape[2] * dy.shape[3]
    length = in_channels * size[0] * size[1]
    dx = empty_channels_last((n, in_channels, *size), dy.dtype)
    for warps in (SPARSE_WARPS, 4, 2, 1):
        shared = itemsize * (warps * length + (values + 1) // 2 * 2) + 8 * values + 8
        if shared <= gpu.shared_limit:
            break
    else:
        return None
    if n:
        shape, taps = _plan_sparse(
            gpu, n, weight.shape, plan.freeze(size), plan.freeze(map_size), dy.shape[2:], plan.freeze(stride), plan.freeze(padding)
        )
        args = dy, argmax, gpu.xp.ascontiguousarray(weight), taps, shape, dx, int64(length)
        defines = {"REAL": real_name(dy.dtype), "WARPS": warps}
        gpu.launch("conv_input_gradient_sparse.cu", "conv_input_gradient_sparse", n, 32 * warps, args, defines, shared)
    return dx


@lru_cache(maxsize=64)
def _plan_sparse(gpu, n, weight_shape, size, map_size, pooled, stride, padding):
    """ConvShape and taps in a dx that lies in memory as (N, H, W, C); the depth in the weights' own order."""
    out_channels, in_channels = weight_shape[:2]
    channel, row, column = (grid.reshape(-1) for grid in np.indices(weight_shape[1:]))
    strides = (1, size[1] * in_channels, in_channels)
    depth = len(channel)
    shape = plan.Shape(
        n, out_channels, depth, depth, size[0] * size[1] * in_channels, strides[1], strides[2], *size, *stride,
        -padding[0][0], -padding[1][0], *map_size, pooled[0] * pooled[1] * out_channels, pooled[1] * out_channels, out_channels,
        *pooled, 1, 1, 1, 1, 1, 1, 1,
    )  # fmt: skip
    return gpu.upload(shape.pack()), gpu.upload(plan.tap_table(channel, row, column, strides, depth))
