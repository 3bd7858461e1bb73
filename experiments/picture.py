"""Draws the one picture that explains the idea, docs/pictures/idea.png:   python -m experiments.picture

waveform → DeepFourier → PiczakNet → label, for the front ends of Tables 1 and 2 and for MelNet's, which starts as the
Mel transform itself. Every shape is that of the array which leaves the layer; the waveform is synthetic voices, and the
image is what MelNet makes of it.
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
WIDTH, HEIGHT = 100, 79  # the drawing's own units, a tenth of an inch
BLUE, ORANGE, PURPLE, GREEN, GREY = "#4c78a8", "#c8660a", "#8a5fa8", "#3d8f5f", "#555555"


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
        width = 0.7 + 0.35 * np.log2(np.prod(shape[1:], dtype=int))
        height = 0.7 * np.log2(shape[0])
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
    heuri, mst, mel = heurinet(rng=rng), mstnet(rng=rng), melnet(rng=rng)
    image = mel.features(x)

    figure = plt.figure(figsize=(WIDTH / 10, HEIGHT / 10), dpi=150)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, HEIGHT))
    axes.axis("off")

    upper, lower = 52, 11.5  # the middles of the two rows
    _panel(figure, 1, upper - 7, 14, 14).plot(x[0, 0], lw=0.3, color="black")
    _caption(axes, 8, 76.7, "waveform", f"{by(x.shape[1:])}\nsamples, 0.95 s", upper - 7)
    arrow(axes, 15.5, 18, upper)

    axes.add_patch(_rectangle(18, 32, 62, 42.5, facecolor="#f3f5f8"))
    _caption(axes, 49, 76.7, "DeepFourier, one of three", "", 0)
    fronts = (
        ("HeuriNet's", heuri, BLUE),
        ("MSTNet's", mst, ORANGE),
        ("MelNet's,\nat first the\nMel transform", mel, PURPLE),
    )
    for y, (name, net, colour) in zip((66, 52, 38), fronts):
        axes.text(19, y, name, fontsize=10, weight="bold", color=colour, va="center")
        draw_stages(axes, stages(net, "deepfourier", x), 32, 79.5, y, colour)

    panel = _panel(figure, 84, upper - 7, 14, 14)
    panel.imshow(image[0, 0], origin="lower", aspect="auto", cmap="magma")
    _caption(axes, 91, 76.7, "image", f"{by(image.shape[1:])}, where the\nspectrogram used to be", upper - 7)
    arrow(axes, 80, 83.5, upper)

    turn = 27.7
    axes.plot([91, 91, 0.8, 0.8], [upper - 12.5, turn, turn, lower], color=GREY, lw=1.2, solid_joinstyle="miter")
    arrow(axes, 0.8, 3, lower)
    axes.add_patch(_rectangle(3, 1, 77, 21, facecolor="#f2f7f3"))
    _caption(axes, 41, 24.7, "PiczakNet", "", 0)
    draw_stages(axes, stages(heuri, "piczak", image), 3.5, 80, lower, GREEN)

    _caption(axes, 90, 24.7, "label", "", 0)
    arrow(axes, 80, 82, lower)
    for i, name in enumerate(CLASSES):
        mine = name == children_playing.__name__
        y = lower + 2.2 * (len(CLASSES) / 2 - i - 0.5)
        axes.text(83, y, name.replace("_", " "), va="center", fontsize=9, color="black" if mine else "#808080",
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


def _caption(axes, x: float, top: float, title: str, below: str, y: float) -> None:
    axes.text(x, top, title, ha="center", va="center", fontsize=14, weight="bold")
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
