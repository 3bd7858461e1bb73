"""What the suite checks: every layer, loss and network, at random shapes.

Inputs are drawn off the kinks: ReLU and Abs get nothing within 0.1 of zero, max-pool a shuffled ramp without ties.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from scratchnet import backend, layers, losses, nets
from scratchnet.training.mixup import Mixture, MixtureCrossEntropy

FLOAT64: dict[str, Any] = {"dtype": "float64"}


class Draw(NamedTuple):
    """One thing to check: `shape` says what was drawn, `options` go to `gradcheck`."""

    shape: str
    subject: Any
    x: np.ndarray
    options: dict[str, Any] = {}


def off_zero(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Random values with 0.1 ≤ |x| ≤ 1."""
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(0.1, 1.0, shape)


def ramp(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Equally spaced values from −1 to 1 in random order: no two are equal, so no max-pool window holds a tie."""
    return rng.permutation(np.linspace(-1.0, 1.0, int(np.prod(shape)))).reshape(shape)


def _integer(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


def _conv(rng: np.random.Generator, layer: Any, axes: int) -> Iterator[Draw]:
    for padding in (0, 1, "numbers", "same", "valid"):
        for _ in range(3):
            n, c, o = (_integer(rng, 1, 4) for _ in range(3))
            kernel = tuple(_integer(rng, 1, 5) for _ in range(axes))
            stride = tuple(_integer(rng, 1, 4) for _ in range(axes))
            size = tuple(k + _integer(rng, 0, 8) for k in kernel)
            given: Any = padding
            if padding == "numbers":
                given = (2, 1) if axes == 1 else (1, 2)
            bias = bool(rng.integers(0, 4))
            k, s = (kernel[0], stride[0]) if axes == 1 else (kernel, stride)
            made = layer(c, o, k, stride=s, padding=given, bias=bias, rng=rng, **FLOAT64)
            for value in made.params.values():
                value[...] = rng.standard_normal(value.shape)
            text = f"{(n, c, *size)} to {o} channels, kernel {k}, stride {s}, padding {given}"
            yield Draw(text + ("" if bias else ", no bias"), made, rng.standard_normal((n, c, *size)))


def _maxpool(rng: np.random.Generator, layer: Any, axes: int) -> Iterator[Draw]:
    for ceil_mode in (False, True):
        for _ in range(6):
            n, c = _integer(rng, 1, 3), _integer(rng, 1, 4)
            kernel = tuple(_integer(rng, 1, 5) for _ in range(axes))
            stride = tuple(_integer(rng, 1, 5) for _ in range(axes))
            padding = _integer(rng, 0, min(kernel) // 2)
            size = tuple(k + _integer(rng, 0, 9) for k in kernel)
            k, s = (kernel[0], stride[0]) if axes == 1 else (kernel, stride)
            made = layer(k, s, padding=padding, ceil_mode=ceil_mode)
            text = f"{(n, c, *size)}, kernel {k}, stride {s}, padding {padding}{', ceil' if ceil_mode else ''}"
            yield Draw(text, made, ramp(rng, (n, c, *size)))


def _batchnorm(rng: np.random.Generator, layer: Any, *axes: int) -> Iterator[Draw]:
    for count in axes:
        for training in (True, False):
            channels = _integer(rng, 1, 5)
            positions = [_integer(rng, 1, 5) for _ in range(count)]
            # Of four values a channel at least; one sample, if it has so many positions.
            shape = (_integer(rng, -(-4 // int(np.prod(positions))), 7), channels, *positions)
            made = layer(channels, **FLOAT64)
            for value in (*made.params.values(), *made.buffers.values()):
                value[...] = rng.uniform(0.5, 1.5, value.shape)
            text = f"{shape}, {'training' if training else 'running statistics'}"
            yield Draw(text, made, rng.standard_normal(shape), {"training": training})


def _global_avgpool(rng: np.random.Generator) -> Iterator[Draw]:
    for _ in range(3):
        shape = tuple(_integer(rng, 1, 6) for _ in range(4))
        yield Draw(str(shape), layers.GlobalAveragePool2D(), rng.standard_normal(shape))


def _dense(rng: np.random.Generator) -> Iterator[Draw]:
    for bias in (True, False):
        for _ in range(3):
            n, i, o = _integer(rng, 1, 5), _integer(rng, 1, 20), _integer(rng, 1, 20)
            text = f"{(n, i)} to {o}{'' if bias else ', no bias'}"
            yield Draw(text, layers.Dense(i, o, bias=bias, rng=rng, **FLOAT64), rng.standard_normal((n, i)))


def _any_shape(rng: np.random.Generator, *make: Callable[[], Any], training: bool = False) -> Iterator[Draw]:
    for axes in (2, 3, 4):
        for made in (m() for m in make):
            shape = tuple(_integer(rng, 1, 6) for _ in range(axes))
            yield Draw(f"{shape}, {made!r}", made, off_zero(rng, shape), {"training": training})


def _image(rng: np.random.Generator) -> Iterator[Draw]:
    shape = tuple(_integer(rng, 1, 6) for _ in range(3))
    yield Draw(str(shape), layers.Image(), rng.standard_normal(shape))


def _modulus(rng: np.random.Generator) -> Iterator[Draw]:
    for power in (1, 2):
        shape = (_integer(rng, 1, 4), 2 * _integer(rng, 1, 6), _integer(rng, 1, 6))
        yield Draw(f"{shape}, power {power}", layers.Modulus(power), off_zero(rng, shape))


def _reflect(rng: np.random.Generator) -> Iterator[Draw]:
    for left, right in ((0, 0), (3, 0), (0, 2), (4, 5)):
        shape = (_integer(rng, 1, 4), _integer(rng, 1, 3), _integer(rng, 6, 12))
        yield Draw(f"{shape}, {left} left, {right} right", layers.ReflectPad1D(left, right), rng.standard_normal(shape))


def _decibel(rng: np.random.Generator) -> Iterator[Draw]:
    for top_db in (None, 4.0):
        shape = (_integer(rng, 1, 4), _integer(rng, 4, 6), _integer(rng, 4, 6))
        # A shuffled ramp from 1 to 5; the floors (amin, or 4 dB under the peak, about 1.99) fall between its rungs.
        made = layers.Decibel(10.0, 2.003 if top_db is None else 1e-10, top_db)
        yield Draw(f"{shape}, {made!r}", made, 3.0 + 2.0 * ramp(rng, shape))


def _cross_entropy(rng: np.random.Generator) -> Iterator[Draw]:
    for scale in (1.0, 4.0):
        n, k = _integer(rng, 1, 6), _integer(rng, 2, 12)
        target = rng.integers(0, k, n)
        yield Draw(
            f"{(n, k)}, logits of size {scale:g}",
            losses.SoftmaxCrossEntropy(),
            scale * rng.standard_normal((n, k)),
            {"target": target},
        )


def _mixture_cross_entropy(rng: np.random.Generator) -> Iterator[Draw]:
    n, k, share = _integer(rng, 1, 6), _integer(rng, 2, 12), float(rng.uniform(0.5, 1))
    first, second = (backend.asarray(rng.integers(0, k, n)) for _ in range(2))
    target = Mixture(first, second, share)
    text = f"{(n, k)}, shares {share:.2f} and {1 - share:.2f}"
    yield Draw(text, MixtureCrossEntropy(), rng.standard_normal((n, k)), {"target": target})


def _mean_squared_error(rng: np.random.Generator) -> Iterator[Draw]:
    for axes in (2, 3, 4):
        shape = tuple(_integer(rng, 1, 6) for _ in range(axes))
        target = rng.standard_normal(shape)
        yield Draw(str(shape), losses.MeanSquaredError(), rng.standard_normal(shape), {"target": target})


def _net(rng: np.random.Generator, name: str) -> Iterator[Draw]:
    shape = (2, 1, 60, 41) if name in nets.NET_OF.values() else (2, 1, 20992)
    net = nets.build(name, 10, rng=rng, **FLOAT64)
    text = f"{shape}, dropout on"
    if name in ("mstnet", "melnet"):  # their last part has been checked twice by then: now the gradient runs through it
        net.freeze("piczak")
        text += ", piczak frozen"
    # Few coordinates of each array: each costs up to 16 passes through the network. The random directions see the rest.
    samples = 1 if name in nets.RIVALS else 3
    yield Draw(text, net, rng.standard_normal(shape), {"training": True, "samples": samples})


CASES: dict[str, Callable[[np.random.Generator], Iterator[Draw]]] = {
    "conv1d": lambda rng: _conv(rng, layers.Conv1D, 1),
    "conv2d": lambda rng: _conv(rng, layers.Conv2D, 2),
    "maxpool1d": lambda rng: _maxpool(rng, layers.MaxPool1D, 1),
    "maxpool2d": lambda rng: _maxpool(rng, layers.MaxPool2D, 2),
    "batchnorm1d": lambda rng: _batchnorm(rng, layers.BatchNorm1D, 0, 1),
    "batchnorm2d": lambda rng: _batchnorm(rng, layers.BatchNorm2D, 2),
    "globalaveragepool2d": _global_avgpool,
    "dense": _dense,
    "relu": lambda rng: _any_shape(rng, layers.ReLU),
    "tanh": lambda rng: _any_shape(rng, layers.Tanh),
    "abs": lambda rng: _any_shape(rng, layers.Abs),
    "dropout": lambda rng: _any_shape(rng, lambda: layers.Dropout(0.4, rng=rng), training=True),
    "flatten": lambda rng: _any_shape(rng, layers.Flatten),
    "image": _image,
    "standardize": lambda rng: _any_shape(rng, lambda: layers.Standardize(0.3, 2.5)),
    "modulus": _modulus,
    "reflectpad1d": _reflect,
    "decibel": _decibel,
    "softmax_cross_entropy": _cross_entropy,
    "mixture_cross_entropy": _mixture_cross_entropy,
    "mean_squared_error": _mean_squared_error,
    **{name: lambda rng, name=name: _net(rng, name) for name in (*nets.NETS, *nets.RIVALS)},  # type: ignore[misc]
}
