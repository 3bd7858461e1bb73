"""Which layers run in one pass: convolution + ReLU + max-pool, so that what is pooled away is never stored, and
dense + ReLU + dropout.

The layers keep their parameters and gradients; a block only calls, for all of its layers at once, the fused kernels of
the backend. The numbers are those of the plain layers, up to rounding.
"""

from __future__ import annotations

from typing import Any

from scratchnet.backend import kernels_of
from scratchnet.layers import Conv1D, Conv2D, Dense, Dropout, MaxPool1D, MaxPool2D, ReLU
from scratchnet.layers.layer import Array, Layer


class Plain:
    """A layer that runs by itself."""

    def __init__(self, layer: Layer) -> None:
        self.layers = [layer]
        self.need_dx = True
        self.forward = layer.forward

    def forget(self) -> None:
        """A single layer keeps what it kept until its next forward."""

    def backward(self, dy: Array) -> Array:
        layer = self.layers[0]
        layer.need_dx = self.need_dx
        return layer.backward(dy)


class ConvBlock:
    """A convolution, then maybe a ReLU, then maybe a max-pool, in one pass. A time series is an image of height 1."""

    def __init__(self, conv: Conv1D | Conv2D, relu: ReLU | None, pool: MaxPool1D | MaxPool2D | None) -> None:
        self.layers = [layer for layer in (conv, relu, pool) if layer is not None]
        self.need_dx = True
        self._conv, self._pool = conv, pool
        self._1d = isinstance(conv, Conv1D)
        self._activation = "none" if relu is None else "relu"
        self.forget()

    def forget(self) -> None:
        """Let go of what the last forward kept: the next one finds its memory free."""
        self._saved: Any = None
        self._argmax: Any = None

    def forward(self, x: Array, training: bool = False) -> Array:
        conv, pool, window = self._conv, self._pool, None
        weight = conv.params["weight"]
        if isinstance(conv, Conv1D):
            x, sides = conv.take(x)
            x, weight, stride, padding = x[:, :, None], weight[:, :, None], (1, conv.stride), ((0, 0), sides)
        else:
            x, padding = conv.take(x)
            stride = conv.stride
        size = [(x.shape[2 + i] + sum(padding[i]) - weight.shape[2 + i]) // stride[i] + 1 for i in range(2)]
        if isinstance(pool, MaxPool1D):
            pool.padding_of(size[1])
            window = (1, pool.kernel_size), (1, pool.stride)
        elif pool is not None:
            pool.padding_of((size[0], size[1]))
            window = pool.kernel_size, pool.stride
        self._saved = x, weight, stride, padding
        y, self._argmax = kernels_of(x).conv_block_forward(
            x, weight, conv.params.get("bias"), stride, padding, self._activation, window
        )
        return y[:, :, 0] if self._1d else y

    def backward(self, dy: Array) -> Array:
        conv, (x, weight, stride, padding) = self._conv, self._saved
        dy = dy.astype(weight.dtype, copy=False)
        dy = dy[:, :, None] if self._1d else dy
        dx, dweight, dbias = kernels_of(dy).conv_block_backward(
            dy, self._argmax, x, weight, stride, padding, self.need_dx, not conv.frozen
        )
        if not conv.frozen:
            conv.grads["weight"] = dweight.reshape(conv.params["weight"].shape)
            if "bias" in conv.params:
                conv.grads["bias"] = dbias
        return dx[:, :, 0] if self._1d and dx is not None else dx


class DenseBlock:
    """A dense layer, a ReLU, then maybe dropout, in one pass over the product."""

    def __init__(self, dense: Dense, relu: ReLU, dropout: Dropout | None) -> None:
        self.layers: list[Layer] = [layer for layer in (dense, relu, dropout) if layer is not None]
        self.need_dx = True
        self._dense, self._dropout = dense, dropout
        self.forget()

    def forget(self) -> None:
        """As above."""
        self._x: Any = None
        self._y: Any = None

    def forward(self, x: Array, training: bool = False) -> Array:
        params = self._dense.params
        self._x = self._dense.take(x)
        mask = self._dropout.next_mask(training) if self._dropout else (0.0, 0, 0)
        self._p = mask[0]
        self._y = kernels_of(x).dense_block_forward(self._x, params["weight"], params.get("bias"), *mask)
        return self._y

    def backward(self, dy: Array) -> Array:
        dense, weight = self._dense, self._dense.params["weight"]
        dense.grads.clear()  # large: where nobody else holds them, their memory is used again
        dx, dweight, dbias = kernels_of(dy).dense_block_backward(
            dy.astype(weight.dtype, copy=False), self._y, self._x, weight, self._p, self.need_dx, not dense.frozen
        )
        if not dense.frozen:
            dense.grads["weight"] = dweight
            if "bias" in dense.params:
                dense.grads["bias"] = dbias
        return dx


Step = Plain | ConvBlock | DenseBlock


def fuse(layers: list[Layer], fused: bool) -> list[Step]:
    """The steps in which to run `layers`: blocks where they fit, else one layer after the other."""
    steps: list[Step] = []
    rest = list(layers)

    def follows(*kinds: type[Layer]) -> Any:
        return rest.pop(0) if rest and isinstance(rest[0], kinds) and _fits(rest[0]) else None

    while rest:
        layer = rest.pop(0)
        if fused and isinstance(layer, Conv1D | Conv2D):
            steps.append(ConvBlock(layer, follows(ReLU), follows(MaxPool1D, MaxPool2D)))
        elif fused and isinstance(layer, Dense) and (relu := follows(ReLU)):
            steps.append(DenseBlock(layer, relu, follows(Dropout)))
        else:
            steps.append(Plain(layer))
    return steps


def _fits(layer: Layer) -> bool:
    """Pools that hang over the edge run by themselves."""
    return not isinstance(layer, (MaxPool1D, MaxPool2D)) or (layer.padding in (0, "valid") and not layer.ceil_mode)
