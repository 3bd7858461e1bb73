"""Fig. 1, a network as a drawing:   python -m experiments.figures.pipeline piczaknet|heurinet|mstnet|…|RUN --out FILE.png

Every shape is that of the array which leaves the layer when the network runs; blocks are the taller the more channels,
the wider the more positions. The input is a synthetic sound.
"""  # noqa: E501

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.figures import command, style
from experiments.figures.tables import named
from experiments.picture import Stage, by, draw_stages, stages
from scratchnet import backend, plots
from scratchnet.data.urban_sounds import street_music
from scratchnet.network import Network
from scratchnet.sound import delta, log_melspectrogram

LEFT, BLOCK, ROW = 16.0, 10.5, 23.0  # room for the input, for a layer, for a group of them, in tenths of an inch
NAMES = {"deepfourier": "DeepFourier", "piczak": "PiczakNet"}


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    options = command.parser("pipeline", __doc__, runs="?", what="network or run folder (default piczaknet)")
    options.set_defaults(runs=Path("piczaknet"))
    return command.run(options, argv, _draw)


def rows(net: Network, x: np.ndarray) -> dict[str, tuple[np.ndarray, list[Stage]]]:
    """Of every group of layers its input and its drawn stages; x (1, …) runs through them one after the other."""
    drawn = {}
    for group, layers in net.groups.items():
        if found := stages(net, group, x):
            drawn[group] = x, found
        for _, layer in layers:
            x = layer.forward(x)
    return drawn


def example(channels: int | None) -> np.ndarray:
    """A segment of street music: (1, 1, 20992), or its spectrograms in dB (1, channels, 60, 41)."""
    waveform = street_music(np.random.default_rng(2), 20992)
    waveform = (waveform / np.abs(waveform).max()).astype(np.float32)
    if channels is None:
        return waveform[None, None]
    spectrogram = log_melspectrogram(waveform, sr=22050, n_fft=1024, hop_length=512, n_mels=60)[:, :41]
    return np.stack([spectrogram, delta(spectrogram)][:channels])[None].astype(np.float32)


def _draw(arguments: Namespace) -> None:
    backend.use("reference")
    net = named(str(arguments.runs))
    name = net.spec["name"]
    x = example(None if "deepfourier" in net.groups else net.spec.get("in_channels", 1))
    drawn = rows(net, x)
    width = LEFT + BLOCK * max(len(found) for _, found in drawn.values()) + 7
    height = ROW * len(drawn) + 3
    figure, grid = plots.new_figure(1, 1, (width / 10, height / 10))
    figure.set_layout_engine("none")
    axes = grid[0, 0]
    axes.set(position=(0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    millions = sum(a.size for a in net.params.values()) / 1e6
    headline = f"{style.title(name)}: {millions:.1f} million parameters"
    axes.text(width / 2, height - 0.8, headline, ha="center", va="top", fontsize=10, weight="bold")
    for number, (group, (entering, found)) in enumerate(drawn.items()):
        middle = height - 3 - ROW * (number + 0.5)
        spectrogram = "Mel-spectrogram" + " and Δ" * (entering.shape[1] > 1)
        what = "image" if number else ("waveform" if entering.ndim == 3 else spectrogram)
        _draw_input(figure, axes, entering, middle, what)
        colour = style.OF_NET[name] if group == "deepfourier" else style.GREEN
        end = LEFT + BLOCK * len(found)
        draw_stages(axes, found, LEFT, end, middle, colour)
        axes.text(2, middle + 7.2, NAMES.get(group, style.title(group)), fontsize=9, weight="bold", color=colour)
        after = "image\n(below)" if number < len(drawn) - 1 else f"{found[-1].shape[0]}\nclasses"
        axes.text(end + 0.5, middle, after, va="center", fontsize=9)
    plots.save_figure(figure, arguments.out)


def _draw_input(figure, axes, x: np.ndarray, middle: float, what: str) -> None:
    """The waveform, or the images one behind the other, at the left."""
    width, height = axes.get_xlim()[1], axes.get_ylim()[1]
    images = [None] if x.ndim == 3 else reversed(range(x.shape[1]))
    for channel in images:
        shift = 1.2 * (channel or 0)
        panel = figure.add_axes(((2 + shift) / width, (middle - 5 + shift) / height, 12 / width, 10 / height))
        if channel is None:
            panel.plot(x[0, 0], color="black", linewidth=0.3)
        else:
            panel.imshow(x[0, channel], origin="lower", aspect="auto", cmap=style.MAP)
        panel.set(xticks=[], yticks=[])
    axes.text(8, middle - 5.7, f"{what}\n{by(x.shape[1:])}, 0.95 s", ha="center", va="top", fontsize=8)


if __name__ == "__main__":
    sys.exit(main())
