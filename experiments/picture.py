"""Draws the one picture that explains the idea, docs/pictures/idea.png:   python -m experiments.picture

waveform → DeepFourier → PiczakNet → label, for the front ends of Tables 1 and 2. Every shape is that of the array which
leaves the layer; the waveform is synthetic voices, and the image is what MelNet, whose front end starts as the Mel
transform itself, makes of it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.figures.command import make_room
from scratchnet import backend
from scratchnet.cli import Parser, guard
from scratchnet.data.synthetic import CLASSES
from scratchnet.data.urban_sounds import children_playing
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
from scratchnet.nets import heurinet, melnet, mstnet
from scratchnet.network import Network

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "pictures" / "idea.png"
WIDTH, HEIGHT = 160, 56  # the drawing's own units, a tenth of an inch
BLUE, ORANGE, GREEN, GREY = "#4c78a8", "#e07b1a", "#3d8f5f", "#666666"


class Stage(NamedTuple):
    """One step of a network as drawn: what it does, in words, and the shape (without the batch) of what leaves."""

    operation: str
    shape: tuple[int, ...]


def stages(net: Network, group: str, x: np.ndarray) -> list[Stage]:
    """The stages of one group of layers run on x; a batch normalisation or an activation function counts to the layer
    before it.
    """
    drawn: list[Stage] = []
    for _, layer in net.groups[group]:
        x = layer.forward(x)
        if isinstance(layer, (BatchNorm1D, BatchNorm2D, ReLU, Tanh, Modulus, Decibel)):
            drawn[-1] = Stage(f"{drawn[-1].operation}\n{type(layer).__name__}", x.shape[1:])
        elif words := describe(layer):
            drawn.append(Stage(words, x.shape[1:]))
    return drawn


def describe(layer: Layer) -> str:
    """The layer in a line or two; nothing for layers that only rearrange or drop out."""
    if isinstance(layer, Dense):
        return "dense"
    if isinstance(layer, GlobalAveragePool2D):
        return "average"
    if not isinstance(layer, (Conv1D, Conv2D, MaxPool1D, MaxPool2D)):
        return ""
    name = "conv" if isinstance(layer, (Conv1D, Conv2D)) else "max-pool"
    stride = by(layer.stride)
    return f"{name} {by(layer.kernel_size)}" + (f"\nstride {stride}" if set(stride) - set("1×") else "")


def by(numbers: int | tuple[int, ...]) -> str:
    """(57, 6) as 57×6."""
    return "×".join(str(n) for n in np.atleast_1d(numbers))


def arrow(axes, start: float, end: float, y: float) -> None:
    """A small arrow from left to right."""
    axes.annotate("", (end, y), (start, y), arrowprops={"arrowstyle": "-|>", "color": GREY, "lw": 1.2})


def draw_stages(axes, drawn: list[Stage], left: float, right: float, y: float, colour: str) -> None:
    """A row of blocks between left and right: the taller the more channels, the wider the more positions."""
    step = (right - left) / len(drawn)
    end = left
    for i, (operation, shape) in enumerate(drawn):
        centre = left + (i + 0.5) * step
        width = 0.8 + 0.4 * np.log2(np.prod(shape[1:], dtype=int))
        height = 1.05 * np.log2(shape[0])
        arrow(axes, end + 0.3, centre - width / 2 - 0.1, y)
        axes.add_patch(_rectangle(centre - width / 2, y - height / 2, width, height, facecolor=colour))
        axes.text(centre, y + height / 2 + 0.7, operation, ha="center", va="bottom", fontsize=8, color=GREY)
        axes.text(centre, y - height / 2 - 0.7, by(shape), ha="center", va="top", fontsize=9)
        end = centre + width / 2
    arrow(axes, end + 0.3, right, y)


def draw(path: Path = PICTURE) -> None:
    """Run the networks on one segment and write the picture to `path`."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    backend.use("reference")
    rng = np.random.default_rng(2)
    waveform = children_playing(rng, 20992)
    x = (waveform / np.abs(waveform).max()).astype(np.float32)[None, None]
    heuri, mst = heurinet(rng=rng), mstnet(rng=rng)
    image = melnet(rng=rng).features(x)

    figure = plt.figure(figsize=(WIDTH / 10, HEIGHT / 10), dpi=110)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, HEIGHT))
    axes.axis("off")
    middle = 25

    _panel(figure, 2, middle - 8, 16, 16).plot(x[0, 0], lw=0.3, color="black")
    _caption(axes, 10, "waveform", f"{by(x.shape[1:])} samples, 0.95 s", middle - 8)

    axes.add_patch(_rectangle(22, 2, 43, 46, facecolor="#f3f5f8"))
    _caption(axes, 43.5, "DeepFourier", "", 0)
    for y, name, net, colour in ((35, "HeuriNet's", heuri, BLUE), (12.5, "or MSTNet's", mst, ORANGE)):
        axes.text(23.5, y + 10.6, name, fontsize=10, weight="bold", color=colour)
        draw_stages(axes, stages(net, "deepfourier", x), 23, 64, y, colour)
    arrow(axes, 18.5, 22, middle)

    panel = _panel(figure, 68.5, middle - 8, 11, 16)
    panel.imshow(image[0, 0], origin="lower", aspect="auto", cmap="magma")
    _caption(axes, 74, "image", f"{by(image.shape[1:])}: where the Mel\nspectrogram used to be", middle - 8)
    arrow(axes, 65, 68, middle)

    axes.add_patch(_rectangle(83, 2, 60, 46, facecolor="#f2f7f3"))
    _caption(axes, 113, "PiczakNet", "", 0)
    draw_stages(axes, stages(heuri, "piczak", image), 83.5, 143, middle, GREEN)
    arrow(axes, 80, 83, middle)

    _caption(axes, 152, "label", "", 0)
    for i, name in enumerate(CLASSES):
        mine = name == children_playing.__name__
        y = middle + 1.9 * (len(CLASSES) / 2 - i - 0.5)
        axes.text(145, y, name.replace("_", " "), va="center", fontsize=9, color="black" if mine else "#999999",
                  weight="bold" if mine else "normal")  # fmt: skip

    figure.savefig(path, metadata={"Software": None} if path.suffix.lower() == ".png" else None)
    plt.close(figure)
    print(path)


def _rectangle(x: float, y: float, width: float, height: float, facecolor: str):
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), width, height, facecolor=facecolor, lw=0)


def _panel(figure, x: float, y: float, width: float, height: float):
    """Axes for data inside the drawing, without ticks."""
    axes = figure.add_axes((x / WIDTH, y / HEIGHT, width / WIDTH, height / HEIGHT))
    axes.set(xticks=[], yticks=[])
    return axes


def _caption(axes, x: float, title: str, below: str, y: float) -> None:
    axes.text(x, 52, title, ha="center", va="center", fontsize=14, weight="bold")
    axes.text(x, y - 1, below, ha="center", va="top", fontsize=9)


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    options = Parser(prog="python -m experiments.picture", description="Draw the picture that explains the idea.")
    words = "PNG, PDF or SVG (default: the README's)"
    options.add_argument("--out", metavar="FILE", type=Path, default=PICTURE, help=words)
    out = options.parse(argv).out
    make_room(out)
    draw(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
