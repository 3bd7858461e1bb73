"""Every kernel once on the GPU, on small arrays, against the definition:   python -m experiments.bench.gpu_touch

What compute-sanitizer watches. Prints the largest error of each as one line of JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.bench.gpu_parts import LAYERS, NONE
from scratchnet import backend
from scratchnet.kernels import cuda, reference


def touch() -> dict[str, Any]:
    """Every kernel once, TF32 and float32, on small arrays; the largest error of each against the definition."""
    import cupy

    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    worst: dict[str, float] = {}

    def compare(name: str, actual: Any, expected: Any) -> None:
        actual, expected = cupy.asnumpy(actual), np.asarray(expected)
        scale = float(np.abs(expected).max()) or 1.0
        worst[name] = max(worst.get(name, 0.0), float(np.abs(actual - expected).max()) / scale)

    for tf32 in (True, False):
        cuda.use_tf32(tf32)
        kind = "tf32" if tf32 else "float32"
        for name, (size, weights, stride, padding, pool, _) in LAYERS.items():
            size = (size[0], size[1], min(size[2], 2200))
            x, weight, bias = draw(2, *size), draw(*weights) / 10, draw(weights[0])
            args = cupy.asarray(x), cupy.asarray(weight), cupy.asarray(bias), stride, padding, "relu", pool
            y, saved = cuda.conv_block_forward(*args)
            compare(
                f"{name}, {kind}", y, reference.conv_block_forward(x, weight, bias, stride, padding, "relu", pool)[0]
            )
            dy = draw(*y.shape)
            argmax = (
                cupy.asnumpy(saved.argmax)
                if pool
                else np.where(cupy.asnumpy(saved.y) > 0, np.arange(y[0, 0].size).reshape(y.shape[2:]), -1)
            )
            expected = reference.conv_block_backward(dy, argmax, x, weight, stride, padding, True, True)
            found = cuda.conv_block_backward(cupy.asarray(dy), saved, args[0], args[1], stride, padding, True, True)
            for actual, value in zip(found, expected):
                compare(f"{name} gradients, {kind}", actual, value)
    x = draw(7, 33)
    on = cupy.asarray(x)
    target = rng.integers(0, 33, 7)
    for name in ("relu", "tanh", "abs"):
        y = getattr(reference, f"{name}_forward")(x)
        compare(name, getattr(cuda, f"{name}_forward")(on), y)
        compare(
            name, getattr(cuda, f"{name}_backward")(on, cupy.asarray(y)), getattr(reference, f"{name}_backward")(x, y)
        )
    compare("dropout", cuda.dropout_forward(on, 0.5, 3, 4), reference.dropout_forward(x, 0.5, 3, 4))
    compare("max-pool", cuda.maxpool2d_forward(on[None, None], (3, 3), (2, 2), NONE, True)[0],
            reference.maxpool2d_forward(x[None, None], (3, 3), (2, 2), NONE, True)[0])  # fmt: skip
    loss, p = cuda.softmax_cross_entropy_forward(on, cupy.asarray(target))
    compare("cross-entropy", loss, reference.softmax_cross_entropy_forward(x, target)[0])
    compare("cross-entropy", cuda.softmax_cross_entropy_backward(p, cupy.asarray(target)),
            reference.softmax_cross_entropy_backward(cupy.asnumpy(p), target))  # fmt: skip
    compare(
        "mean square error", cuda.mean_squared_error_forward(on, on * 2), reference.mean_squared_error_forward(x, x * 2)
    )
    weight, bias = draw(40, 33), draw(40)
    y = cuda.dense_block_forward(on, cupy.asarray(weight), cupy.asarray(bias), 0.5, 1, 2)
    compare("dense", y, reference.dense_block_forward(x, weight, bias, 0.5, 1, 2))
    dy = draw(7, 40)
    found = cuda.dense_block_backward(cupy.asarray(dy), y, on, cupy.asarray(weight), 0.5, True, True)
    for actual, value in zip(found, reference.dense_block_backward(dy, cupy.asnumpy(y), x, weight, 0.5, True, True)):
        compare("dense", actual, value)
    arrays = [draw(9000) for _ in range(4)]
    arrays[3] = np.abs(arrays[3])
    device = [cupy.asarray(a) for a in arrays]
    cuda.clip_by_norm(device[1], 1.0)
    cuda.nesterov_step(*device[:3], 0.1, 0.9, 0.01)
    cuda.adam_step(*device, 2, 0.1, 0.9, 0.999, 1e-8)
    reference.clip_by_norm(arrays[1], 1.0)
    reference.nesterov_step(*arrays[:3], 0.1, 0.9, 0.01)
    reference.adam_step(*arrays, 2, 0.1, 0.9, 0.999, 1e-8)
    compare("optimizers", device[0], arrays[0])
    _touch_batchnorm(compare, draw(5, 7, 4, 3), draw(7), draw(7))
    _touch_sound(compare)
    cupy.cuda.Device().synchronize()
    wrong = {
        name: error
        for name, error in worst.items()
        if not error < (5e-3 if "tf32" in name or name == "dense" else 1e-4)
    }
    if wrong:
        raise AssertionError(f"beyond rounding: {wrong}")
    return {"checked": len(worst), "largest": max(worst.values()), "errors": worst}


def _touch_batchnorm(
    compare: Callable[[str, Any, Any], None], x: np.ndarray, weight: np.ndarray, bias: np.ndarray
) -> None:
    import cupy

    on = [cupy.asarray(a) for a in (x, weight, bias)]
    moments, found = reference.batchnorm_statistics(x), cuda.batchnorm_statistics(on[0])
    for actual, expected in zip(found, moments):
        compare("batch normalisation", actual, expected)
    y = reference.batchnorm_forward(x, weight, bias, *moments, 1e-5)
    compare("batch normalisation", cuda.batchnorm_forward(*on, *found, 1e-5), y)
    dy = x[::-1].copy()  # not y, for which dx is nothing but rounding
    gradients = reference.batchnorm_backward(dy, x, weight, *moments, 1e-5, True, True, True)
    actual = cuda.batchnorm_backward(cupy.asarray(dy), *on[:2], *found, 1e-5, True, True, True)
    for one, expected in zip(actual, gradients):
        compare("batch normalisation", one, expected)
    compare("average pool", cuda.global_avgpool2d_forward(on[0]), reference.global_avgpool2d_forward(x))
    dy = x[:, :, 0, 0]
    expected = reference.global_avgpool2d_backward(dy, (4, 3))
    compare("average pool", cuda.global_avgpool2d_backward(cupy.asarray(dy), (4, 3)), expected)


def _touch_sound(compare: Callable[[str, Any, Any], None]) -> None:
    import cupy

    from scratchnet.sound import log_melspectrogram, mel_filters
    from scratchnet.sound.stft import fft_window

    x = np.random.default_rng(1).standard_normal((2, 20992)).astype(np.float32)
    found = cuda.log_mel(cupy.asarray(x), mel_filters(), fft_window("hann", 1024), 512, n_frames=41)
    compare("log-Mel", found, log_melspectrogram(x, n_frames=41))
    starts, indices = cupy.asarray(np.array([0, 20992])), cupy.asarray(np.array([1, 0]))
    compare("batches", cuda.gather_segments(cupy.asarray(x).reshape(-1), starts, indices, 100), x[::-1, :100])


if __name__ == "__main__":
    backend.use("cuda")
    print(json.dumps(touch()))
