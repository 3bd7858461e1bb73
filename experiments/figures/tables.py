"""Tables 1 and 2, networks as Markdown:   python -m experiments.figures.tables heurinet mstnet [piczaknet|sbcnn|RUN …]

The front end of each network, or all of PiczakNet; read off the layers themselves, shapes from running them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.figures import style
from scratchnet import backend, model
from scratchnet.cli import Parser, guard
from scratchnet.errors import InputError
from scratchnet.layers import (
    BatchNorm1D,
    BatchNorm2D,
    Conv1D,
    Conv2D,
    Decibel,
    Dense,
    GlobalAveragePool2D,
    Layer,
    MaxPool1D,
    MaxPool2D,
    Modulus,
    ReLU,
    Tanh,
)
from scratchnet.nets import NETS, RIVALS, build
from scratchnet.network import Network
from scratchnet.training.markdown import markdown

HEAD = ("", "layer", "#in", "#out", "kernel width", "stride", "activ. func.", "output", "parameters")
COUNTED = {Conv1D: "CONV1D", Conv2D: "CONV2D", Dense: "DENSE"}  # the paper's layers; the others belong to them
OTHERS = {MaxPool1D: "MAXPOOL", MaxPool2D: "MAXPOOL", GlobalAveragePool2D: "AVERAGE"}
OTHERS |= {BatchNorm1D: "BATCHNORM", BatchNorm2D: "BATCHNORM"}
KINDS: dict[type, str] = {**COUNTED, **OTHERS}
FRONT_ENDS = ("heurinet", "mstnet")  # Tables 1 and 2


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    options = Parser(prog="python -m experiments.figures.tables", description=(__doc__ or "").split(":   ")[0])
    options.add_argument("nets", metavar="NET", nargs="*", help="network or run folder (default heurinet mstnet)")
    options.add_argument("--out", metavar="FILE.md", type=Path, help="file to write (default: the screen)")
    arguments = options.parse(argv)
    backend.use("reference")
    made = text(arguments.nets or FRONT_ENDS)
    if arguments.out is None:
        print(made, end="")
    else:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(made, encoding="utf-8")
        print(arguments.out)
    return 0


def text(names: Sequence[str] = FRONT_ENDS) -> str:
    """The tables of these networks, one after the other."""
    return "\n\n".join(page_of(named(name)) for name in names) + "\n"


def named(name: str) -> Network:
    """A network by its name, or the one of a run folder. Raises `InputError` where there is neither."""
    known = {**NETS, **RIVALS}
    if name in known:
        return build(name, rng=np.random.default_rng(0))
    if not Path(name).exists():
        raise InputError(f"{name}: no run folder, and no network (one of {', '.join(known)})")
    return model.load(name).network


def rows(net: Network, group: str) -> list[tuple[str, ...]]:
    """The rows of the table of one group of layers; an activation function counts to the layer before it."""
    shape = (1, net.spec.get("in_channels", 1), 60, 41) if "deepfourier" not in net.groups else (1, 1, 20992)
    x, found, depth = np.zeros(shape, net.dtype), [], 0
    for name, layers in net.groups.items():
        for _, layer in layers:
            before, x = x, layer.forward(x)
            if name != group:
                continue
            if activation := _activation(layer):
                found[-1][6:8] = activation, _by(x.shape[1:])
            elif (kind := KINDS.get(type(layer))) is not None:
                depth += type(layer) in COUNTED
                found.append(_row(kind, layer, depth, before.shape, x.shape))
    return [tuple(row) for row in found]


def _row(kind: str, layer: Layer, depth: int, before: tuple[int, ...], after: tuple[int, ...]) -> list[str]:
    size = sum(a.size for a in layer.params.values())
    return [
        f"{'z' if type(layer) in COUNTED else 'ẑ'}<sup>({depth})</sup>",
        kind,
        str(before[1]),
        str(after[1]),
        _by(getattr(layer, "kernel_size", "–")),
        _by(getattr(layer, "stride", "–")),
        "–",
        _by(after[1:]),
        f"{size:,}" if size else "–",
    ]


def _activation(layer: Layer) -> str:
    """How the paper writes an activation function; nothing for other layers."""
    if isinstance(layer, Modulus):
        return "|·|²" if layer.power == 2 else "|·|"
    if isinstance(layer, Decibel):
        return f"{layer.multiplier:g} log<sub>10</sub>"
    return {ReLU: "ReLU", Tanh: "tanh"}.get(type(layer), "")


def _by(numbers: object) -> str:
    return "×".join(map(str, numbers)) if isinstance(numbers, tuple) else str(numbers)


def page_of(net: Network) -> str:
    """The table of a network's first group of layers, with a headline."""
    group = next(iter(net.groups))
    name = style.title(net.spec["name"])
    title = f"**The DeepFourier part of {name}.**" if group == "deepfourier" else f"**{name}.**"
    total = sum(a.size for key, a in net.params.items() if key.startswith(f"{group}."))
    return f"{title} {total:,} parameters.\n\n{markdown(HEAD, rows(net, group))}"


if __name__ == "__main__":
    sys.exit(main())
