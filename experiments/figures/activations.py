"""Fig. 5, 6, 9–12, what PiczakNet gets to see:   python -m experiments.figures.activations RUN [--classes …] --out FILE.png

One row for each class: the Mel-spectrogram of a segment of the test fold, drawn at random, and beside it the activation
before PiczakNet with the best weights of Phases 1, 2 and 3. Shades of a row's activations share one scale.
"""  # noqa: E501

from __future__ import annotations

import sys
import textwrap
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.figures import command, style
from experiments.figures.runs import Run, one
from scratchnet import backend, model, plots
from scratchnet.cli import add_backend
from scratchnet.data import Segments, split
from scratchnet.data.source import Source
from scratchnet.errors import InputError
from scratchnet.layers import Conv1D, MaxPool1D, ReflectPad1D
from scratchnet.layers.geometry import pad_1d
from scratchnet.network import Network
from scratchnet.sound import load_clip, segment_clip
from scratchnet.training import dataset
from scratchnet.training.resolve import convert
from scratchnet.training.screen import Screen


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    options = command.parser("activations", __doc__, runs=1)
    options.add_argument("--data", metavar="FOLDER", help="the run's data, where it has moved")
    options.add_argument("--classes", nargs="+", metavar="CLASS", help="names, codes, or places as in 1-5; default all")
    options.add_argument("--phases", nargs="+", default=["1", "2", "3"], metavar="K", help="default 1 2 3")
    options.add_argument("--seed", default=0, metavar="N", help="seed of the draw of segments (default 0)")
    add_backend(options)
    return command.run(options, argv, _draw)


def chosen(words: Sequence[str] | None, names: Sequence[str], codes: Sequence[str]) -> list[int]:
    """The classes meant by `words`: names, codes, places from 1, or ranges of places. Raises `InputError`."""
    if words is None:
        return list(range(len(names)))
    places: list[int] = []
    for word in words:
        first, _, last = word.partition("-")
        if word in names:
            places.append(list(names).index(word))
        elif word in codes:
            places.append(list(codes).index(word))
        elif first.isdecimal() and (last or first).isdecimal() and 1 <= int(first) <= int(last or first) <= len(names):
            places += range(int(first) - 1, int(last or first))
        else:
            raise InputError(f"--classes {word}: the classes are 1-{len(names)}: {', '.join(names)}")
    return places


def examples(label: np.ndarray, test: np.ndarray, classes: Sequence[int], seed: int) -> np.ndarray:
    """One segment of the test fold for each class, drawn at random; the draw of one class is not changed by others."""
    found = []
    for k in classes:
        mine = test[label[test] == k]
        if not len(mine):
            raise InputError(f"--classes: class {k + 1} has no segment in the test fold")
        found.append(int(np.random.default_rng((seed, k)).choice(mine)))
    return np.array(found)


def network_of(run: Run, phase: str) -> Network:
    """The network with the best weights of `phase`. Raises `InputError` where it has no front end."""
    network = model.load_phase(run.path, phase).network
    if "deepfourier" not in network.groups:
        raise InputError(f"--phases {phase}: PiczakNet alone is trained there, on spectrograms; there is no front end")
    return network


def activations(network: Network, waveforms: np.ndarray) -> np.ndarray:
    """(n, 60, 41) what the front end makes of waveforms (n, 1, 20992)."""
    return backend.to_numpy(network.features(backend.asarray(waveforms)))[:, 0]


def seconds(network: Network, length: int, sample_rate: float) -> tuple[float, float]:
    """The front end's output in time: the middle of what its first position hears, and from one to the next."""
    jump, left, width = 1, 0, 1  # in samples: from position to position, where the first begins, what each hears
    for _, layer in network.groups["deepfourier"]:
        if isinstance(layer, ReflectPad1D):
            left -= layer.left * jump
            length += layer.left + layer.right
        elif isinstance(layer, (Conv1D, MaxPool1D)):
            padding = pad_1d(layer.padding, length, layer.kernel_size, layer.stride)
            length = (length + sum(padding) - layer.kernel_size) // layer.stride + 1
            left -= padding[0] * jump
            width += (layer.kernel_size - 1) * jump
            jump *= layer.stride
    return (left + (width - 1) / 2) / sample_rate, jump / sample_rate


def beginning(segments: Segments, source: Source, index: int) -> float:
    """Where in its recording a segment begins, in seconds. Cut again: the cache leaves out what is silent."""
    clip = segments.clip[index]
    x = load_clip(source.root / segments.clips[clip], segments.settings.sample_rate, peak=False)
    starts = segment_clip(x, segments.settings)[1]
    return starts[index - np.flatnonzero(segments.clip == clip)[0]] / segments.settings.sample_rate


def _draw(arguments: Namespace) -> None:
    seed = convert("seed", arguments.seed)
    run = one(arguments.runs[0])
    if run.config.is_back_end:
        raise InputError(f"{run.path}: {run.system} has no front end; name a run of HeuriNet, MSTNet or MelNet")
    data = run.config.data if arguments.data is None else convert("data", arguments.data)
    config = run.config.with_(backend=arguments.backend, data=data, augment=0)
    backend.use(config.backend, config.threads)
    screen = Screen(quiet=True)
    source = dataset.open_data(config, screen)
    segments = dataset.prepare_data(config, source, screen)
    if not run.folder.trained_on(segments):
        raise InputError(f"{run.path}: was trained on other data; name them with --data")
    classes = chosen(arguments.classes, segments.classes, segments.codes)
    _, _, test = split(segments, *dataset.folds_of(segments.clip_fold, config)[0])
    index = examples(segments.label, test, classes, seed)
    waveforms = segments.waveforms(index)
    columns = {}
    for k in arguments.phases:
        network = network_of(run, k)
        columns[f"Phase {k}" if k.isdecimal() else "trained"] = activations(network, waveforms)
    timing = seconds(network, config.segment_length, config.sample_rate)
    for k, i in zip(classes, index):
        start = beginning(segments, source, i)
        print(f"{segments.codes[k]}: {segments.clips[segments.clip[i]]} from {start:.2f} s")
    names = [run.labels()[k] for k in classes]
    figure = _figure(segments.logmel[index], columns, names, config.sound().to_dict(), timing, style.title(config.net))
    plots.save_figure(figure, arguments.out)


def _figure(
    spectrograms: np.ndarray,
    columns: Mapping[str, np.ndarray],
    names: Sequence[str],
    sound: Mapping[str, Any],
    timing: tuple[float, float],
    title: str,
) -> Any:
    rows = len(names)
    figure, axes = plots.new_figure(rows, 1 + len(columns), (style.PAGE, 1.15 * rows + 1.5))
    look: dict[str, Any] = {"origin": "lower", "aspect": "auto", "cmap": style.MAP, "interpolation": "nearest"}
    hop, length = (sound[name] / sound["sample_rate"] for name in ("hop_length", "segment_length"))
    for row, name in zip(range(rows), names):
        first, *others = axes[row]
        spectrogram = spectrograms[row] - spectrograms[row].max()
        mel = first.imshow(spectrogram, extent=_extent(spectrogram, 0.0, hop), vmin=-80, vmax=0, **look)
        style.mel_axis(first, sound)
        first.set_ylabel("\n".join(textwrap.wrap(name, 12)), fontsize=9)
        maps = [values[row] for values in columns.values()]
        low, high = min(float(a.min()) for a in maps), max(float(a.max()) for a in maps)
        for axis, values in zip(others, maps):
            drawn = axis.imshow(values, extent=_extent(values, *timing), vmin=low, vmax=high, **look)
            axis.set_yticks([0, 29, 59], ["1", "30", "60"] if axis is others[0] else [])
        bar = figure.colorbar(drawn, ax=list(others), aspect=10, pad=0.02, fraction=0.04)
        bar.set_label("activation", fontsize=8)
        bar.ax.tick_params(labelsize=7, length=2)
        bar.ax.locator_params(nbins=4)
    for axis in axes.flat:
        axis.tick_params(labelsize=7, length=2)
        axis.set(xlim=(-hop / 2, length), xticks=np.arange(0, length, 0.5 if length < 2 else 1.0))
    for axis in axes[:-1].flat:
        axis.set_xticklabels([])
    for axis in axes[-1]:
        axis.set_xlabel("time in seconds", fontsize=8)
    below = figure.colorbar(mel, ax=list(axes[:, 0]), location="bottom", aspect=12, pad=0.02 if rows > 1 else 0.06)
    below.set_label("dB relative to the loudest", fontsize=8)
    below.ax.tick_params(labelsize=7, length=2)
    axes[0, 0].set_title("Mel-spectrogram,\nfrequency in hertz", fontsize=8)
    for axis, name in zip(axes[0, 1:], columns):
        axis.set_title(f"{name},\nchannels 1 to 60", fontsize=8)
    figure.suptitle(title, fontsize=9)
    return figure


def _extent(image: np.ndarray, first: float, step: float) -> tuple[float, float, float, float]:
    """Of an image (channels, positions) whose positions have their middles at `first`, `first` + `step` … seconds."""
    height, width = image.shape
    return first - step / 2, first + (width - 0.5) * step, -0.5, height - 0.5


if __name__ == "__main__":
    sys.exit(main())
