"""One kernel's way from plain to fast, on the GPU:   python -m experiments.bench.gpu_way

HeuriNet's first layer with its ReLU and max-pool (eq. 3, 4), a batch of 1000: each step keeps what the ones before it
brought. Prints the time of each as one line of JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple
from unittest.mock import patch

from experiments.bench.gpu_parts import LAYERS, NONE, event_times
from scratchnet import backend
from scratchnet.cli import Parser, guard
from scratchnet.kernels import cuda
from scratchnet.kernels.cuda import conv_forward, conv_forward_plan, conv_tiling

LAYER = "HeuriNet conv1"
Held = tuple[Any, str, Any]  # a module, a name in it, and what stands there instead


class Step(NamedTuple):
    """What changes; whether pool and ReLU run with the product, and that on tensor cores; what the plan holds back."""

    name: str
    fused: bool
    tf32: bool
    held_back: tuple[Held, ...]


# No such window fits: patches are copied slice by slice.
PATCHES = conv_tiling, "window_size", lambda *_: (1 << 20, 1 << 20)
TWO = conv_forward_plan, "STAGES", (2,)
STEPS = (
    Step("three kernels in turn: the product, ReLU, max-pool; float32", False, False, (PATCHES, TWO)),
    Step("one kernel: only maxima leave it", True, False, (PATCHES, TWO)),
    Step("four slices on their way instead of two", True, False, (PATCHES,)),
    Step("tensor cores (TF32)", True, True, (PATCHES,)),
    Step("the tile's input copied once instead of its patches", True, True, ()),
)


def run(step: Step, x: Any, weight: Any, bias: Any) -> Any:
    """The layer's forward pass in that step's way → its pooled map."""
    _, _, stride, padding, pool, _ = LAYERS[LAYER]
    if step.fused:
        return cuda.conv_block_forward(x, weight, bias, stride, padding, "relu", pool)[0]
    y = cuda.relu_forward(cuda.conv2d_forward(x, weight, bias, stride, padding))
    return cuda.maxpool2d_forward(y, *pool, NONE, False)[0]


def walk(f: Callable[[Step], Any]) -> list[Any]:
    """What f makes of each step, the plan held back as it says; float32's products are set by the caller."""
    found = []
    for step in STEPS:
        with ExitStack() as held:
            held.callback(conv_forward._plan_forward.cache_clear)
            for place, name, value in step.held_back:
                held.enter_context(patch.object(place, name, value))
            conv_forward._plan_forward.cache_clear()
            found.append(f(step))
    return found


def measure(batch: int = 1000) -> dict[str, Any]:
    """(what changes, seconds) of each step."""
    import cupy

    size, weights, *_ = LAYERS[LAYER]
    x = cupy.random.standard_normal((batch, *size), dtype=cupy.float32)
    weight = cupy.random.standard_normal(weights, dtype=cupy.float32) / weights[0]
    bias = cupy.zeros(weights[0], cupy.float32)

    def seconds(step: Step) -> tuple[str, float]:
        cuda.use_tf32(step.tf32)
        return step.name, event_times(lambda: run(step, x, weight, bias))

    return {"batch": batch, "rows": walk(seconds)}


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    Parser(prog="python -m experiments.bench.gpu_way", description=(__doc__ or "").split(":   ")[0]).parse(argv)
    backend.use("cuda")
    print(json.dumps(measure()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
