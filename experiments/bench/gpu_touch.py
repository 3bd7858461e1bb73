"""Every kernel once on the GPU, on small arrays, against the definition:   python -m experiments.bench.gpu_touch

What compute-sanitizer watches. Prints the largest error of each as one line of JSON.

`--small` is for racecheck, which slows every access to shared memory down: the same kernels on the smallest arrays that
take all their ways. `--precision` runs the convolutions in TF32 or in float32 alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

import numpy as np

from experiments.bench.gpu_parts import LAYERS, NONE
from scratchnet import backend
from scratchnet.kernels import cuda, reference
from scratchnet.kernels.cuda import conv_weight_gradient_plan as plan

PRECISIONS = ("tf32", "float32")
LENGTH = 2200  # of a waveform: a tenth of a segment
# LAYERS cut down as far as all ways through the kernels are still run: several tiles behind overlapping windows, the
# last one in part; more slices of the depth than are on their way at once; more tiles in a block's share of a weight
# gradient than that. The input gradient takes a launch for each step of the stride: few here, for fewer taps over more
# channels, and none where the networks need none and another layer runs its kernels.
SMALL = {
    "HeuriNet conv1": ((1, 1, 8635), (80, 1, 1, 155), (1, 10), NONE, ((1, 9), (1, 3)), False),
    "HeuriNet conv2": ((80, 1, 322), (60, 80, 1, 3), (1, 1), NONE, ((1, 9), (1, 4)), True),
    "MSTNet conv1": ((8, 1, 40), (132, 8, 1, 16), (1, 8), ((0, 0), (4, 4)), None, True),
    "MSTNet conv2": ((80, 1, 145), (120, 80, 1, 3), (1, 1), ((0, 0), (1, 1)), None, True),
    "MSTNet conv3": ((80, 1, 73), (60, 80, 1, 3), (1, 1), ((0, 0), (1, 1)), None, True),
    "PiczakNet conv1": ((1, 32, 72), (80, 1, 29, 6), (1, 1), NONE, ((4, 3), (1, 3)), True),
    "PiczakNet conv2": ((80, 1, 20), (80, 80, 1, 3), (1, 1), NONE, ((1, 3), (1, 3)), True),
}
SHARE = 4  # tiles, at least, in a block's share of a small weight gradient: more than are on their way at once

Draw = Callable[..., np.ndarray]
Compare = Callable[[str, Any, Any], None]


def geometry(small: bool) -> tuple[int, dict[str, Any]]:
    """How many samples, and of each layer: x without its batch, weights, stride, padding, pool, dx?"""
    if small:
        return 1, SMALL
    return 2, {name: ((*size[:2], min(size[2], LENGTH)), *rest, True) for name, (size, *rest, _) in LAYERS.items()}


def few_shares(blocks: int, tiles: int, *_: Any) -> int:
    """In place of `splits` of a weight gradient, which gives a block of a small array no more than one tile."""
    return max(1, tiles // SHARE)


class Worst(dict[str, float]):
    """By name, the largest error relative to the largest number expected; NaN where anything is."""

    def add(self, name: str, actual: Any, expected: Any) -> None:
        """Compare an array with its definition."""
        actual, expected = backend.to_numpy(actual), np.asarray(expected)
        scale = float(np.abs(expected).max()) or 1.0
        self[name] = float(np.maximum(self.get(name, 0.0), np.abs(actual - expected).max() / scale))

    def beyond_rounding(self) -> dict[str, float]:
        """The errors that rounding does not explain."""
        bound = {name: 5e-3 if "tf32" in name else 1e-4 for name in self}
        return {name: error for name, error in self.items() if not error < bound[name]}


def touch(small: bool = False, precisions: Sequence[str] = PRECISIONS) -> dict[str, Any]:
    """Every kernel once, the convolutions in each precision; the largest error of each against the definition.

    With `small`, what is known so far is printed after each layer.
    """
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    worst = Worst()
    compare = worst.add
    samples, layers = geometry(small)
    with patch.object(plan, "splits", few_shares if small else plan.splits):
        for kind in precisions:
            cuda.use_tf32(kind == "tf32")
            _touch_dense(compare, draw, f"dense, {kind}")
            for name, layer in layers.items():
                _touch_layer(compare, draw, f"{name}{{}}, {kind}", samples, layer)
                if small:
                    print(json.dumps({"checked": len(worst), "so_far": f"{name}, {kind}"}), flush=True)
    _touch_elements(compare, draw, rng)
    _touch_batchnorm(compare, draw(5, 7, 4, 3), draw(7), draw(7))
    _touch_sound(compare, *((1536, 3) if small else (20992, 41)))
    if wrong := worst.beyond_rounding():
        raise AssertionError(f"beyond rounding: {wrong}")
    return {"checked": len(worst), "largest": max(worst.values()), "errors": worst}


def _touch_layer(compare: Compare, draw: Draw, name: str, samples: int, layer: Any) -> None:
    """A convolution with ReLU and pool, forward and backward; `name` has a place for what is compared."""
    size, weights, stride, padding, pool, need_dx = layer
    x, weight, bias = draw(samples, *size), draw(*weights) / 10, draw(weights[0])
    args = backend.asarray(x), backend.asarray(weight), backend.asarray(bias), stride, padding, "relu", pool
    y, saved = cuda.conv_block_forward(*args)
    expected = reference.conv_block_forward(x, weight, bias, stride, padding, "relu", pool)[0]
    compare(name.format(""), y, expected)
    dy = draw(*y.shape)
    argmax = (
        backend.to_numpy(saved.argmax)
        if pool
        else np.where(backend.to_numpy(saved.y) > 0, np.arange(y[0, 0].size).reshape(y.shape[2:]), -1)
    )
    gradients = reference.conv_block_backward(dy, argmax, x, weight, stride, padding, need_dx, True)
    found = cuda.conv_block_backward(backend.asarray(dy), saved, args[0], args[1], stride, padding, need_dx, True)
    for actual, value in zip(found, gradients):
        if value is not None:
            compare(name.format(" gradients"), actual, value)


def _touch_dense(compare: Compare, draw: Draw, name: str) -> None:
    """A dense layer with ReLU and dropout, forward and backward."""
    x, weight, bias = draw(7, 33), draw(40, 33), draw(40)
    on, w = backend.asarray(x), backend.asarray(weight)
    y = cuda.dense_block_forward(on, w, backend.asarray(bias), 0.5, 1, 2)
    compare(name, y, reference.dense_block_forward(x, weight, bias, 0.5, 1, 2))
    dy = draw(7, 40)
    found = cuda.dense_block_backward(backend.asarray(dy), y, on, w, 0.5, True, True)
    expected = reference.dense_block_backward(dy, backend.to_numpy(y), x, weight, 0.5, True, True)
    for actual, value in zip(found, expected):
        compare(name, actual, value)


def _touch_elements(compare: Compare, draw: Draw, rng: np.random.Generator) -> None:
    """What is no convolution and no normalisation."""
    x = draw(7, 33)
    on = backend.asarray(x)
    target = rng.integers(0, 33, 7)
    for name in ("relu", "tanh", "abs"):
        y = getattr(reference, f"{name}_forward")(x)
        compare(name, getattr(cuda, f"{name}_forward")(on), y)
        compare(
            name,
            getattr(cuda, f"{name}_backward")(on, backend.asarray(y)),
            getattr(reference, f"{name}_backward")(x, y),
        )
    compare("dropout", cuda.dropout_forward(on, 0.5, 3, 4), reference.dropout_forward(x, 0.5, 3, 4))
    compare("max-pool", cuda.maxpool2d_forward(on[None, None], (3, 3), (2, 2), NONE, True)[0],
            reference.maxpool2d_forward(x[None, None], (3, 3), (2, 2), NONE, True)[0])  # fmt: skip
    loss, p = cuda.softmax_cross_entropy_forward(on, backend.asarray(target))
    compare("cross-entropy", loss, reference.softmax_cross_entropy_forward(x, target)[0])
    compare("cross-entropy", cuda.softmax_cross_entropy_backward(p, backend.asarray(target)),
            reference.softmax_cross_entropy_backward(backend.to_numpy(p), target))  # fmt: skip
    compare(
        "mean square error", cuda.mean_squared_error_forward(on, on * 2), reference.mean_squared_error_forward(x, x * 2)
    )
    arrays = [draw(9000) for _ in range(4)]
    arrays[3] = np.abs(arrays[3])
    device = [backend.asarray(a.copy()) for a in arrays]
    cuda.clip_by_norms([[device[1]]], 1.0)
    cuda.nesterov_steps(*([a] for a in device[:3]), 0.1, 0.9, 0.01)
    cuda.adam_steps(*([a] for a in device), 2, 0.1, 0.9, 0.999, 1e-8, 0.01)
    reference.clip_by_norm(arrays[1], 1.0)
    reference.nesterov_step(*arrays[:3], 0.1, 0.9, 0.01)
    reference.adam_step(*arrays, 2, 0.1, 0.9, 0.999, 1e-8, 0.01)
    compare("optimizers", device[0], arrays[0])


def _touch_batchnorm(compare: Compare, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> None:
    on = [backend.asarray(a) for a in (x, weight, bias)]
    moments, found = reference.batchnorm_statistics(x), cuda.batchnorm_statistics(on[0])
    for actual, expected in zip(found, moments):
        compare("batch normalisation", actual, expected)
    y = reference.batchnorm_forward(x, weight, bias, *moments, 1e-5)
    compare("batch normalisation", cuda.batchnorm_forward(*on, *found, 1e-5), y)
    dy = x[::-1].copy()  # not y, for which dx is nothing but rounding
    gradients = reference.batchnorm_backward(dy, x, weight, *moments, 1e-5, True, True, True)
    actual = cuda.batchnorm_backward(backend.asarray(dy), *on[:2], *found, 1e-5, True, True, True)
    for one, expected in zip(actual, gradients):
        compare("batch normalisation", one, expected)
    compare("average pool", cuda.global_avgpool2d_forward(on[0]), reference.global_avgpool2d_forward(x))
    dy = x[:, :, 0, 0]
    expected = reference.global_avgpool2d_backward(dy, (4, 3))
    compare("average pool", cuda.global_avgpool2d_backward(backend.asarray(dy), (4, 3)), expected)


def _touch_sound(compare: Compare, length: int, frames: int) -> None:
    from scratchnet.sound import log_melspectrogram, mel_filters
    from scratchnet.sound.stft import fft_window

    x = np.random.default_rng(1).standard_normal((2, length)).astype(np.float32)
    found = cuda.log_mel(backend.asarray(x), mel_filters(), fft_window("hann", 1024), 512, n_frames=frames)
    compare("log-Mel", found, log_melspectrogram(x, n_frames=frames))
    starts, indices = backend.asarray(np.array([0, length])), backend.asarray(np.array([1, 0]))
    compare("batches", cuda.gather_segments(backend.asarray(x).reshape(-1), starts, indices, 100), x[::-1, :100])


def main(argv: Sequence[str] | None = None) -> None:
    """Read the options, touch, print the errors."""
    options = argparse.ArgumentParser(prog="python -m experiments.bench.gpu_touch", description="Every kernel once.")
    options.add_argument("--small", action="store_true", help="the same kernels on the smallest arrays")
    options.add_argument("--precision", choices=PRECISIONS, help="precision of the convolutions (default: both)")
    a = options.parse_args(argv)
    backend.use("cuda")
    print(json.dumps(touch(a.small, [a.precision] if a.precision else PRECISIONS)))


if __name__ == "__main__":
    main()
