"""Which layers run in one pass: convolution + ReLU + max-pool, so that what is pooled away is never stored,
maybe with a batch normalisation behind the convolution; and dense + ReLU + dropout.

The layers keep their parameters and gradients; a block only calls, for all of its layers at once, the fused kernels of
the backend. The numbers are those of the plain layers, up to rounding.
"""

from __future__ import annotations

from typing import Any

from scratchnet.backend import as_type, kernels_of
from scratchnet.layers import BatchNorm1D, BatchNorm2D, Conv1D, Conv2D, Dense, Dropout, MaxPool1D, MaxPool2D, ReLU
from scratchnet.layers.layer import Array, Layer, check_gradient


class Plain:
    """A layer that runs by itself."""

    def __init__(self, layer: Layer) -> None:
        self.layers = [layer]
        self.need_dx = True
        self._mark = object()  # not this step itself: a circle of references would outlive the network

    def forward(self, x: Array, training: bool = False) -> Array:
        self.layers[0].ran_in = self._mark
        return self.layers[0].forward(x, training)

    def forget(self) -> None:
        """A single layer keeps what it kept until its next forward."""

    def backward(self, dy: Array) -> Array:
        layer = self.layers[0]
        if layer.ran_in is not self._mark:
            raise RuntimeError(f"{layer!r} has run in another network since: forward comes before backward")
        asked, layer.need_dx = layer.need_dx, self.need_dx
        try:
            return layer.backward(dy)
        finally:
            layer.need_dx = asked  # of the layer by itself, both gradients


class ConvBlock:
    """A convolution, then maybe a ReLU, then maybe a max-pool, in one pass. A time series is an image of height 1.

    A pool whose last windows hang over the edge of the map (`ceil_mode`, at some sizes) runs by itself behind them.
    """

    def __init__(self, conv: Conv1D | Conv2D, relu: ReLU | None, pool: MaxPool1D | MaxPool2D | None) -> None:
        self.layers: list[Layer] = [layer for layer in (conv, relu, pool) if layer is not None]
        self.need_dx = True
        self._conv, self._pool = conv, pool
        self._alone = Plain(pool) if pool else None
        self._apart: Any = None  # the pool's step, where it runs by itself
        self._1d = isinstance(conv, Conv1D)
        self._activation = "none" if relu is None else "relu"
        self.forget()

    def forget(self) -> None:
        """Let go of what the last forward kept: the next one finds its memory free."""
        self._saved: Any = None
        self._argmax: Any = None

    def forward(self, x: Array, training: bool = False) -> Array:
        image, window = self._take(x)
        y = self._run(image, window, training)
        y = y[:, :, 0] if self._1d else y
        y = self._apart.forward(y) if self._apart else y
        self._y_shape = y.shape
        return y

    def backward(self, dy: Array) -> Array:
        dy = check_gradient(self.layers[-1], dy, self._y_shape)
        dy = self._apart.backward(dy) if self._apart else dy
        dy = as_type(dy, self._conv.params["weight"].dtype)
        dx = self._back(dy[:, :, None] if self._1d else dy)
        return dx[:, :, 0] if self._1d and dx is not None else dx

    def _run(self, image: Any, window: Any, training: bool) -> Array:
        params = self._conv.params
        return self._convolve(image, params["weight"], params.get("bias"), self._activation, window)

    def _back(self, dy: Array) -> Array:
        dx, dweight, dbias = self._gradients(dy, not self._conv.frozen)
        self._keep(dweight, dbias)
        return dx

    def _take(self, x: Array) -> Any:
        """(x as images, stride, padding), and (kernel size, stride) of the pool on images, if it is in the pass."""
        conv, pool = self._conv, self._pool
        window: Any = None
        if isinstance(conv, Conv1D):
            x, sides = conv.check_input(x)
            x, kernel, stride, padding = x[:, :, None], (1, conv.kernel_size), (1, conv.stride), ((0, 0), sides)
        else:
            x, padding = conv.check_input(x)
            kernel, stride = conv.kernel_size, conv.stride
        size = tuple((x.shape[2 + i] + sum(padding[i]) - kernel[i]) // stride[i] + 1 for i in range(2))
        if isinstance(pool, MaxPool1D):
            pool.padding_of(size[1])
            window = (1, pool.kernel_size), (1, pool.stride)
        elif pool is not None:
            pool.padding_of(size)
            window = pool.kernel_size, pool.stride
        self._apart = self._alone if pool and pool.ceil_mode and _hangs_over(size, *window) else None
        window = None if self._apart else window
        return (x, stride, padding), window

    def _convolve(self, image: Any, weight: Array, bias: Array | None, activation: str, window: Any) -> Array:
        x, stride, padding = image
        weight = weight[:, :, None] if self._1d else weight
        self._saved = x, weight, stride, padding
        how = stride, padding, activation, window
        y, self._argmax = kernels_of(x).conv_block_forward(x, weight, bias, *how)
        return y

    def _gradients(self, dy: Array, need_dweight: bool) -> tuple[Array, Array, Array]:
        """→ dx, dweight, dbias of `_convolve`, None where not needed"""
        found = kernels_of(dy).conv_block_backward(dy, self._argmax, *self._saved, self.need_dx, need_dweight)
        dx, dweight, dbias = found
        return dx, None if dweight is None else dweight.reshape(self._conv.params["weight"].shape), dbias

    def _keep(self, dweight: Array, dbias: Array) -> None:
        conv = self._conv
        if not conv.frozen:
            conv.grads["weight"] = dweight
            if "bias" in conv.params:
                conv.grads["bias"] = dbias


class NormBlock(ConvBlock):
    """A convolution and a batch normalisation, then maybe a ReLU and a max-pool.

    Where the statistics are the batch's: the convolution, and all the others in a second pass. Where they are the
    running ones, the normalisation is a scale and a shift of every channel: the convolution's weights and bias take
    them in, and there is one pass.
    """

    def __init__(self, conv: Any, norm: BatchNorm1D, relu: ReLU | None, pool: Any) -> None:
        super().__init__(conv, relu, pool)
        self.layers.insert(1, norm)
        self._norm = norm
        self._folded: list[Array] = []  # weights and bias with the normalisation in them

    def forget(self) -> None:
        super().forget()
        self._batch: Any = None

    def _run(self, image: Any, window: Any, training: bool) -> Array:
        norm, weight, bias = self._norm, self._conv.params["weight"], self._conv.params.get("bias")
        norm.check_params()
        gamma, beta = norm.params["weight"], norm.params["bias"]
        if training and not norm.frozen:
            z = self._convolve(image, weight, bias, "none", None)
            mean, var = norm.from_batch(z)
            how = mean, var, norm.eps, self._activation, window
            y, saved = kernels_of(z).norm_block_forward(z, gamma, beta, *how)
            self._batch = saved, z, gamma, mean, var, norm.eps
            return y
        mean, var = norm.running()
        self._batch = None
        self._inverse = 1 / (var + norm.eps) ** 0.5
        self._scale = gamma * self._inverse
        self._away = -mean if bias is None else bias - mean
        folded = [_times(weight, self._scale), self._away * self._scale + beta]
        if [(type(a), a.dtype) for a in self._folded] != [(type(a), a.dtype) for a in folded]:
            self._folded = folded  # the first, or on another backend
        for place, new in zip(self._folded, folded):
            place[...] = new  # where they were: the kernels keep what they make of weights that are the same
        return self._convolve(image, self._folded[0], self._folded[1], self._activation, window)

    def _back(self, dy: Array) -> Array:
        back = self._through_weights if self._batch is None else self._through_statistics
        dx, dweight, dbias, dgamma, dbeta = back(dy)
        self._keep(dweight, dbias)
        if not self._norm.frozen:
            self._norm.grads["weight"], self._norm.grads["bias"] = dgamma, dbeta
        return dx

    def _through_statistics(self, dy: Array) -> tuple[Array, ...]:
        train, need_dz = not self._conv.frozen, self.need_dx or not self._conv.frozen
        need = True, need_dz, not self._norm.frozen
        dz, dgamma, dbeta = kernels_of(dy).norm_block_backward(dy, *self._batch, *need)
        return *(self._gradients(dz, train) if need_dz else (None, None, None)), dgamma, dbeta

    def _through_weights(self, dy: Array) -> tuple[Array, ...]:
        """The gradients of w' = w · scale and b' = (b − mean) · scale + β, where scale = γ · inverse, and of what is
        in them."""
        dx, dweight, dbeta = self._gradients(dy, not (self._conv.frozen and self._norm.frozen))
        if dweight is None:
            return dx, None, None, None, None
        axes = tuple(range(1, dweight.ndim))
        dscale = (dweight * self._conv.params["weight"]).sum(axis=axes) + dbeta * self._away
        return dx, _times(dweight, self._scale), dbeta * self._scale, dscale * self._inverse, dbeta


def _times(weight: Array, scale: Array) -> Array:
    """Weights (O, …), each output channel times its scale."""
    return weight * scale.reshape(-1, *[1] * (weight.ndim - 1))


class DenseBlock:
    """A dense layer, a ReLU, then maybe dropout, which the backend runs together."""

    def __init__(self, dense: Dense, relu: ReLU, dropout: Dropout | None) -> None:
        self.layers: list[Layer] = [layer for layer in (dense, relu, dropout) if layer is not None]
        self.need_dx = True
        self._dense, self._dropout = dense, dropout
        self.forget()

    def forget(self) -> None:
        """See `ConvBlock.forget`."""
        self._x: Any = None
        self._y: Any = None

    def forward(self, x: Array, training: bool = False) -> Array:
        params = self._dense.params
        self._x = self._dense.check_input(x)
        mask = self._dropout.next_mask(training) if self._dropout else (0.0, 0, 0)
        self._p = mask[0]
        self._y = kernels_of(x).dense_block_forward(self._x, params["weight"], params.get("bias"), *mask)
        return self._y

    def backward(self, dy: Array) -> Array:
        dy = check_gradient(self.layers[-1], dy, self._y.shape)
        dense, weight = self._dense, self._dense.params["weight"]
        dense.grads.clear()  # large: where nobody else holds them, their memory is used again
        dx, dweight, dbias = kernels_of(dy).dense_block_backward(
            as_type(dy, weight.dtype), self._y, self._x, weight, self._p, self.need_dx, not dense.frozen
        )
        if not dense.frozen:
            dense.grads["weight"] = dweight
            if "bias" in dense.params:
                dense.grads["bias"] = dbias
        return dx


Step = Plain | ConvBlock | NormBlock | DenseBlock


def fuse(layers: list[Layer], fused: bool) -> list[Step]:
    """The steps in which to run `layers`: blocks where they fit, else one layer after the other.

    A subclass of a layer may do something else, and runs by itself.
    """
    steps: list[Step] = []
    rest = list(layers)

    def follows(kind: type[Layer]) -> Any:
        return rest.pop(0) if rest and type(rest[0]) is kind and _fits(rest[0]) else None

    while rest:
        layer: Any = rest.pop(0)
        if fused and type(layer) in (Conv1D, Conv2D):
            norm: Any = rest.pop(0) if rest and _normalises(layer, rest[0]) else None
            rest_of_it = follows(ReLU), follows(MaxPool1D if type(layer) is Conv1D else MaxPool2D)
            steps.append(NormBlock(layer, norm, *rest_of_it) if norm else ConvBlock(layer, *rest_of_it))
        elif fused and type(layer) is Dense and (relu := follows(ReLU)):
            steps.append(DenseBlock(layer, relu, follows(Dropout)))
        else:
            steps.append(Plain(layer))
    return steps


def _normalises(conv: Conv1D | Conv2D, layer: Layer) -> bool:
    """One of another shape runs by itself, and complains; so does one of another type, whose numbers are its own."""
    kind = BatchNorm1D if isinstance(conv, Conv1D) else BatchNorm2D
    alike = type(layer) is kind and layer.num_features == conv.out_channels
    types = {getattr(one.params.get("weight"), "dtype", None) for one in (conv, layer)}
    return alike and len(types) == 1


def _fits(layer: Layer) -> bool:
    """A padded pool runs by itself."""
    return not isinstance(layer, (MaxPool1D, MaxPool2D)) or layer.padding in (0, "valid")


def _hangs_over(size: tuple[int, ...], kernel_size: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Whether a pool's windows leave something of a map of this size for one more, incomplete window."""
    return any((length - kernel) % step for length, kernel, step in zip(size, kernel_size, stride))
