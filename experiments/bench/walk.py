"""One layer's way from its definition to the fast kernel:   python -m experiments.bench.walk [--samples 20]

HeuriNet's first layer (eq. 3, 4), forward and backward, in three versions: the loops of `kernels/reference.py`; im2col
and BLAS, then the pool; the fused register kernel and the sparse gradient. All give the same numbers, checked first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from experiments.bench import output
from experiments.bench.timing import interleave
from scratchnet import backend
from scratchnet.kernels import cpu, reference
from scratchnet.training.markdown import markdown

STRIDE, PADDING, POOL = (1, 10), ((0, 0), (0, 0)), ((1, 9), (1, 3))
LOOPS, BLAS, FUSED = "1. loops over positions", "2. im2col and BLAS, then the pool", "3. one pass, sparse gradient"


def by_blas(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, Callable[..., Any]]:
    """The convolution as matrix products of all windows, copied side by side; the pool and ReLU after it."""
    out_channels, taps = len(weight), weight.shape[3]
    windows = np.lib.stride_tricks.sliding_window_view(x[:, 0, 0], taps, axis=1)[:, :: STRIDE[1]]
    columns = np.ascontiguousarray(windows).reshape(-1, taps)
    rows = columns @ weight.reshape(out_channels, taps).T + bias
    z = rows.reshape(len(x), 1, -1, out_channels).transpose(0, 3, 1, 2)
    pooled, argmax = cpu.maxpool2d_forward(z, *POOL, ((0, 0), (0, 0)), ceil_mode=False)
    y = cpu.relu_forward(pooled)

    def backward(dy: np.ndarray) -> np.ndarray:
        dz = cpu.maxpool2d_backward(cpu.relu_backward(dy, y), argmax, z.shape[2:])
        drows = dz.transpose(0, 2, 3, 1).reshape(-1, out_channels)
        return (drows.T @ columns).reshape(weight.shape)

    return y, backward


def by_block(
    kernels: Any, x: np.ndarray, weight: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, Callable[..., Any]]:
    """The block as a backend has it."""
    y, saved = kernels.conv_block_forward(x, weight, bias, STRIDE, PADDING, "relu", POOL)
    return y, lambda dy: kernels.conv_block_backward(dy, saved, x, weight, STRIDE, PADDING, False, True)[1]


def measure(arguments: Any) -> dict[str, Any]:
    """Seconds of each version for `samples` segments."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((arguments.samples, 1, 1, 20992), np.float32)
    weight, bias = rng.standard_normal((80, 1, 1, 155), np.float32) / 12, np.zeros(80, np.float32)
    versions: dict[str, Callable[[], Any]] = {
        LOOPS: lambda: by_block(reference, x, weight, bias),
        BLAS: lambda: by_blas(x, weight, bias),
        FUSED: lambda: by_block(cpu, x, weight, bias),
    }
    made = {name: version() for name, version in versions.items()}
    dy = rng.standard_normal(made[LOOPS][0].shape, np.float32)
    expected = made[LOOPS][1](dy)
    for y, backward in made.values():
        # float32 sums of 155 products forward, of some ten thousand backward, each term of order 1
        np.testing.assert_allclose(y, made[LOOPS][0], atol=155 * 2**-23 * 4)
        np.testing.assert_allclose(backward(dy), expected, atol=1e-5 * np.abs(expected).max())
    with threadpool_limits(backend.threads(), user_api="blas"):
        forward = interleave(versions, arguments.rounds, always=versions)
        back = interleave({name: lambda b=b: b(dy) for name, (_, b) in made.items()}, arguments.rounds, always=versions)
    rows = [
        {"version": name, "forward": forward[name].median, "backward": back[name].median, "samples": arguments.samples}
        for name in versions
    ]
    return {"rows": rows}


def table(result: dict[str, Any]) -> str:
    """Milliseconds a segment, and how often the fused version goes into each."""
    rows = result["rows"]
    total = [row["forward"] + row["backward"] for row in rows]
    lines = []
    for row, seconds in zip(rows, total, strict=True):
        times = [f"{1e3 * row[key] / row['samples']:.2f}" for key in ("forward", "backward")]
        lines.append([row["version"], *times, f"{seconds / total[-1]:.1f}"])
    columns = ["version", "forward, ms a segment", "backward, ms a segment", "times version 3"]
    return markdown(columns, lines, numbers=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write walk.json."""
    options = output.parser("walk", __doc__, nets=())
    options.add_argument("--samples", type=output.positive, default=40, help="segments at a time (default 40)")
    options.add_argument("--rounds", type=output.positive, default=5, help="measurements of each (default 5)")
    return output.run(options, argv, measure, table)


if __name__ == "__main__":
    sys.exit(main())
