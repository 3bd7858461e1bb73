"""A trained network as an ONNX file, for runtimes that know nothing of this project.

    python -m scratchnet.onnx_export RUN [FILE]

The file takes what the network takes, (batch, 1, 20992) waveforms or (batch, channels, 60, 41) spectrograms, float32,
and gives "probabilities" (batch, classes). The model's metadata (classes, sound settings, standardisation) go with it.
Needs the `onnx` extra: pip install onnx.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from scratchnet import backend, layers
from scratchnet.cli import Parser, guard
from scratchnet.errors import InputError
from scratchnet.layers.geometry import pad_1d, pad_2d
from scratchnet.layers.layer import Layer
from scratchnet.network import Network
from scratchnet.training.files import whole

OPSET = 18  # ONNX 1.13 of 2022, the first in which ReduceMax takes its axes as an input
INPUT, OUTPUT = "input", "probabilities"


class _Graph:
    """Nodes one after the other: `value` is the name of what the last one gave."""

    def __init__(self, onnx: ModuleType) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.value = INPUT
        self.prefix = ""
        self.x_shape: tuple[int, ...] = ()  # of the layer's input and output, for a batch of one
        self.y_shape: tuple[int, ...] = ()

    def add(self, operation: str, *inputs: str, outputs: int = 1, **attributes: Any) -> list[str]:
        """One node; the names of its outputs, of which the first becomes `value`."""
        count = len(self.nodes)
        names = [f"{self.prefix}.{operation.lower()}{count}.{i}" for i in range(outputs)]
        self.nodes.append(self.onnx.helper.make_node(operation, inputs, names, f"{self.prefix}.{count}", **attributes))
        self.value = names[0]
        return names

    def constant(self, name: str, value: Any) -> str:
        """An array that goes into the file: float32, or whole numbers as int64."""
        array = np.asarray(backend.to_numpy(value))
        array = np.ascontiguousarray(array, np.int64 if array.dtype.kind == "i" else np.float32)
        self.constants[f"{self.prefix}.{name}"] = self.onnx.numpy_helper.from_array(array, f"{self.prefix}.{name}")
        return f"{self.prefix}.{name}"


def _each(value: int | tuple[int, ...]) -> list[int]:
    return [value] if isinstance(value, int) else list(value)


def _conv(graph: _Graph, layer: Any) -> None:
    size: Any = graph.x_shape[2:]
    if len(size) == 1:
        sides = [pad_1d(layer.padding, size[0], layer.kernel_size, layer.stride)]
    else:
        sides = [*pad_2d(layer.padding, size, layer.kernel_size, layer.stride)]
    inputs = [graph.value, *(graph.constant(name, value) for name, value in layer.params.items())]
    pads = [side[0] for side in sides] + [side[1] for side in sides]
    graph.add("Conv", *inputs, kernel_shape=_each(layer.kernel_size), strides=_each(layer.stride), pads=pads)


def _maxpool(graph: _Graph, layer: Any) -> None:
    """With its padding in numbers: ONNX has other windows than PyTorch and we where a padded pool has `ceil_mode`."""
    kernel, stride, size = _each(layer.kernel_size), _each(layer.stride), graph.x_shape[2:]
    sides = [layer.padding_of(size[0])] if len(size) == 1 else layer.padding_of(size)
    counts = graph.y_shape[2:]
    needed = [(count - 1) * step + width for count, step, width in zip(counts, stride, kernel)]
    left = [side[0] for side in sides]
    right = [max(side[1], end - n - side[0]) for side, end, n in zip(sides, needed, size)]
    graph.add("MaxPool", graph.value, kernel_shape=kernel, strides=stride, pads=left + right)


def _batchnorm(graph: _Graph, layer: Any) -> None:
    inputs = [graph.constant(name, value) for name, value in {**layer.params, **layer.buffers}.items()]
    graph.add("BatchNormalization", graph.value, *inputs, epsilon=layer.eps)


def _global_avgpool(graph: _Graph, layer: Any) -> None:
    graph.add("GlobalAveragePool", graph.value)
    graph.add("Flatten", graph.value)


def _dense(graph: _Graph, layer: Any) -> None:
    inputs = [graph.value, *(graph.constant(name, value) for name, value in layer.params.items())]
    graph.add("Gemm", *inputs, transB=1)


def _dropout(graph: _Graph, layer: Any) -> None:
    if layer.always:
        raise ValueError("a dropout that drops outside of training has no fixed answer: it cannot be exported")


def _reflect(graph: _Graph, layer: Any) -> None:
    pads = graph.constant("pads", [0, 0, layer.left, 0, 0, layer.right])
    graph.add("Pad", graph.value, pads, mode="reflect")


def _modulus(graph: _Graph, layer: Any) -> None:
    real, imaginary = graph.add("Split", graph.value, outputs=2, axis=1, num_outputs=2)
    squares = [graph.add("Mul", part, part)[0] for part in (real, imaginary)]
    graph.add("Add", *squares)
    if layer.power == 1:
        graph.add("Sqrt", graph.value)


def _decibel(graph: _Graph, layer: Any) -> None:
    graph.add("Div", graph.value, graph.constant("ref", layer.ref))
    graph.add("Max", graph.value, graph.constant("amin", layer.amin))
    graph.add("Log", graph.value)
    decibel = graph.add("Mul", graph.value, graph.constant("multiplier", layer.multiplier / np.log(10)))[0]
    if layer.top_db is not None:
        shape, flat = graph.add("Shape", decibel)[0], graph.add("Flatten", decibel)[0]
        graph.add("ReduceMax", flat, graph.constant("axis", [1]), keepdims=1)
        graph.add("Sub", graph.value, graph.constant("top_db", layer.top_db))
        graph.add("Max", flat, graph.value)
        graph.add("Reshape", graph.value, shape)


def _standardize(graph: _Graph, layer: Any) -> None:
    graph.add("Sub", graph.value, graph.constant("mean", layer.mean))
    graph.add("Div", graph.value, graph.constant("std", layer.std))


RULES: dict[type[Layer], Callable[[_Graph, Any], Any]] = {
    layers.Abs: lambda graph, layer: graph.add("Abs", graph.value),
    layers.BatchNorm1D: _batchnorm,
    layers.BatchNorm2D: _batchnorm,
    layers.Conv1D: _conv,
    layers.Conv2D: _conv,
    layers.Decibel: _decibel,
    layers.Dense: _dense,
    layers.Dropout: _dropout,
    layers.Flatten: lambda graph, layer: graph.add("Flatten", graph.value),
    layers.GlobalAveragePool2D: _global_avgpool,
    layers.Image: lambda graph, layer: graph.add("Unsqueeze", graph.value, graph.constant("axis", [1])),
    layers.MaxPool1D: _maxpool,
    layers.MaxPool2D: _maxpool,
    layers.Modulus: _modulus,
    layers.ReflectPad1D: _reflect,
    layers.ReLU: lambda graph, layer: graph.add("Relu", graph.value),
    layers.Standardize: _standardize,
    layers.Tanh: lambda graph, layer: graph.add("Tanh", graph.value),
}


def export_onnx(
    network: Network, path: str | Path, shape: tuple[int, ...] | None = None, metadata: dict[str, str] | None = None
) -> None:
    """Write the network as it is outside of training, with a softmax behind it, to `path`.

    shape: of one input without the batch; None: what the paper's network of that kind takes.
    Raises InputError where the `onnx` package is missing or `path` does not end in .onnx (it is overwritten),
    ValueError for a layer that ONNX has no words for.
    """
    path = Path(path)
    if path.suffix.lower() != ".onnx":
        raise InputError(f"{path}: where the network is written to; its name must end in .onnx")
    try:
        import onnx
    except ImportError:
        raise InputError("ONNX export needs the onnx package: pip install onnx") from None
    if shape is None:
        shape = (1, 20992) if "deepfourier" in network.groups else (network.spec.get("in_channels", 1), 60, 41)
    graph = _Graph(onnx)
    x = backend.xp(next(iter(network.params.values()), np.empty(0))).zeros((1, *shape), network.dtype)
    for name, layer in network.layers.items():
        graph.prefix = name
        if type(layer) not in RULES:
            raise ValueError(f"{name}: {layer!r} cannot be exported to ONNX")
        graph.x_shape, x = x.shape, copy.copy(layer).forward(x)  # the layer itself may still have its backward to do
        graph.y_shape = x.shape
        RULES[type(layer)](graph, layer)
    graph.nodes.append(onnx.helper.make_node("Softmax", [graph.value], [OUTPUT], OUTPUT, axis=1))
    float32, describe = onnx.TensorProto.FLOAT, onnx.helper.make_tensor_value_info
    made = onnx.helper.make_graph(
        graph.nodes,
        network.spec.get("name", "network"),
        [describe(INPUT, float32, ["batch", *shape])],
        [describe(OUTPUT, float32, ["batch", None])],
        list(graph.constants.values()),
    )
    model = onnx.helper.make_model(
        made, opset_imports=[onnx.helper.make_opsetid("", OPSET)], producer_name="scratchnet"
    )
    model.ir_version = 8  # of the same year: older runtimes read it too
    onnx.helper.set_model_props(model, metadata or {})
    onnx.checker.check_model(model, full_check=True)
    with whole(path) as draft:
        onnx.save(model, str(draft))


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Export the model of a run folder; returns the exit status."""
    from scratchnet.model import load, warn_if_unfinished

    parser = Parser(prog="python -m scratchnet.onnx_export", description=__doc__.split("\n")[0])
    parser.add_argument("run", metavar="RUN", help="a run folder or a model.safetensors")
    parser.add_argument("file", metavar="FILE", nargs="?", help="where to write (default: model.onnx beside the model)")
    options = parser.parse(argv)
    model, run = load(options.run), Path(options.run)
    warn_if_unfinished(options.run, model.what)
    path = Path(options.file) if options.file else (run if run.is_dir() else run.parent) / "model.onnx"
    export_onnx(model.network, path, metadata={key: json.dumps(value) for key, value in model.about.items()})
    print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
