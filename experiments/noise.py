"""Trained runs on noisy test sets:   python -m experiments.noise RUN [RUN…] [--data FOLDER] [--out DIR]

Every test clip is mixed with white noise, pink noise, or another clip of its test fold and of another class, at signal
to noise ratios of 20, 10, 5 and 0 dB; then it is normalised, cut and classified as any sound. The noise of a clip
depends on its name, its fold and the seed alone: every network hears the same. Figures of a model are kept as
noise.json in its run folder, and not made again. Where several systems are named, each is tested against the first,
fold by fold, where both were tested on the same clips.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from experiments.figures.runs import Run, by_system
from experiments.noise_mix import NOISES, SNRS, Clips, mix, noise_for
from experiments.noise_report import SCORES, Heard, report, write
from experiments.table import Row, find, output_folder, row_of, same_splits, sha256
from scratchnet import backend
from scratchnet.cli import Parser, add_backend, guard
from scratchnet.data import Segments
from scratchnet.data.fingerprint import digest
from scratchnet.data.source import Source, names_digest
from scratchnet.errors import InputError
from scratchnet.model import Model, load
from scratchnet.sound import SoundSettings, load_clip
from scratchnet.training import dataset, metrics
from scratchnet.training.config import Config
from scratchnet.training.evaluation import BATCH
from scratchnet.training.files import read_json, write_json
from scratchnet.training.resolve import convert
from scratchnet.training.runfolder import MODEL, RunFolder
from scratchnet.training.screen import Screen

KEPT = "noise.json"


class Recordings:
    """The test clips of a data source; those of the fold asked for last are kept in memory. `config`: where and with
    how many threads it is read."""

    def __init__(self, source: Source, config: Config, screen: Screen) -> None:
        self.source, self.config, self.screen = source, config, screen
        self._last: tuple[Any, Clips] = (None, {})
        self._segments: dict[SoundSettings, Segments] = {}

    def check(self, folder: Path) -> None:
        """Raise `InputError` where the run was trained on other recordings."""
        mine, known = RunFolder.open(folder)
        here = {name: getattr(self.config, name) for name in ("data", "threads", "strict")}
        config = known.with_(**here, augment=0)
        if config.sound() not in self._segments:
            self._segments[config.sound()] = dataset.prepare_data(config, self.source, self.screen)
        same_name = mine.about("data_name") == self.source.name
        if not (same_name and mine.trained_on(self._segments[config.sound()])):
            raise InputError(
                f"{folder}: {self.source.root} is not the data that it was trained on; name that with --data, and runs "
                "of one data set at a time"
            )

    def of(self, run: Path, model: Model) -> Clips:
        """The waveforms of a run's test fold, those of files that cannot be read left out."""
        key = RunFolder(run).finished()["test_fold"], model.settings.sample_rate
        if self._last[0] != key:
            self._last = key, dict(self._read(*key))
        return self._last[1]

    def _read(self, fold: int, sample_rate: int) -> Iterator[tuple[str, tuple[np.ndarray, int]]]:
        for clip in self.source.clips:
            if clip.fold == fold:
                with suppress(InputError):
                    yield clip.path, (load_clip(self.source.root / clip.path, sample_rate, peak=False), clip.label)


def tested(model: Model, clips: Clips) -> Clips:
    """Those that the model's settings do not drop."""
    settings = model.settings
    least = settings.segment_length if settings.short == "drop" else 0
    return {name: clip for name, clip in clips.items() if len(clip[0]) >= least}


def figures(model: Model, clips: Clips, disturb: Callable[[str, np.ndarray], np.ndarray]) -> dict[str, float]:
    """`SCORES` of a model on clips, each disturbed by its name and waveform."""
    probs, label, number, waiting = [], [], [], []
    for i, (name, (x, its)) in enumerate(clips.items()):
        inputs, _ = model.inputs(disturb(name, x))
        waiting.append(inputs)
        label += [its] * len(inputs)
        number += [i] * len(inputs)
        if sum(map(len, waiting)) >= BATCH or i == len(clips) - 1:
            probs.append(model.classify(np.concatenate(waiting)))
            waiting.clear()
    found = metrics.scores(np.concatenate(probs), np.array(label), np.array(number), model.classes)
    return {score: found[score] for score in SCORES}


def measure(model: Model, clips: Clips, seed: int) -> list[Row]:
    """A row for the clean test set and for each noise and ratio; where a fold's `clips` are all of one class, and have
    no background of another, without figures there. Those that the model drops may be background."""
    chosen = tested(model, clips)
    made: list[Row] = [{"noise": "none", "snr": None, **figures(model, chosen, lambda name, x: x)}]
    for kind in NOISES:
        if kind == "background" and len({label for _, label in clips.values()}) < 2:
            made += [{"noise": kind, "snr": snr, **dict.fromkeys(SCORES)} for snr in SNRS]
            continue
        noises = {name: noise_for(kind, name, clips, seed) for name in chosen}
        for snr in SNRS:

            def disturb(name: str, x: np.ndarray, noises: Any = noises, snr: float = snr) -> np.ndarray:
                return mix(x, noises[name], snr)

            made.append({"noise": kind, "snr": snr, **figures(model, chosen, disturb)})
    return made


def rows_of(folder: Path, recordings: Recordings, screen: Screen, seed: int = 0) -> list[Row]:
    """The rows of one trained model, made now or found in its folder. Raises `InputError` as `Recordings` does."""
    recordings.check(folder)
    data = names_digest(recordings.source)
    about = {"seed": seed, "snrs": list(SNRS), "model": sha256(folder / MODEL), "data": data}
    with suppress(InputError):  # not there, of another test, or damaged: made now
        return read_json(folder / KEPT, lambda found: _is_kept(found, about))["rows"]
    fold = RunFolder(folder).finished()["test_fold"]
    screen.say(f"noise    {folder}: fold {fold}, {len(NOISES)} noises at {', '.join(map(str, SNRS))} dB")
    model = load(folder)
    clips = recordings.of(folder, model)
    rows = measure(model, clips, seed)
    write_json(folder / KEPT, {**about, "clips": digest(sorted(tested(model, clips))), "rows": rows})
    return rows


def _is_kept(found: Any, about: Row) -> bool:
    """Whether these are all rows of the test that `about` describes."""
    if not isinstance(found, dict) or {name: found.get(name) for name in about} != about:
        return False
    rows, names = found.get("rows"), {"noise", "snr", *SCORES}
    if not isinstance(found.get("clips"), str):  # of a version that drew backgrounds from these alone
        return False
    if not isinstance(rows, list) or not all(isinstance(row, dict) and names <= row.keys() for row in rows):
        return False
    return [(row["noise"], row["snr"]) for row in rows] == [("none", None), *product(NOISES, SNRS)]


def hear(system: str, folder: Path, recordings: Recordings, screen: Screen, seed: int = 0) -> Heard:
    """Test the model in a run folder, or find that it has been tested; `seed` is the noise's."""
    result = RunFolder(folder).finished()
    rows = rows_of(folder, recordings, screen, seed)
    return Heard(system, result["test_fold"], result["seed"], rows, read_json(folder / KEPT)["clips"])


def check_pairs(systems: Mapping[str, Sequence[Run]]) -> None:
    """Raise `InputError` where a system has two runs of one fold and seed, or runs learned from different folds."""
    rows = {name: [row_of(run.path, hashed=False) for run in runs] for name, runs in systems.items()}
    for name, mine in rows.items():
        for (fold, seed), count in Counter((row["fold"], row["seed"]) for row in mine).items():
            if count > 1:
                raise InputError(f"{name}: more than one run of seed {seed} on fold {fold}; name one of them")
    same_splits(row for mine in rows.values() for row in mine)


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Test in noise, print the table, write table and picture; returns the exit status."""
    parser = Parser(prog="python -m experiments.noise", description="Test trained runs in noise.")
    parser.add_argument("runs", metavar="RUN", nargs="+", help="run folders, or folders of them")
    parser.add_argument("--data", metavar="FOLDER", help="the recordings, where they have moved")
    parser.add_argument("--out", metavar="DIR", help="write noise.csv, noise.md and noise.png there")
    parser.add_argument("--seed", default=0, metavar="N", help="seed of the noise (default 0)")
    add_backend(parser)
    options = parser.parse(argv)
    seed = convert("seed", options.seed)
    out = output_folder(options.out)
    backend.use(options.backend)
    screen = Screen()
    systems = by_system(Run(*RunFolder.open(folder)) for folder in find(options.runs))
    check_pairs(systems)
    config = next(iter(systems.values()))[0].config
    if options.data is not None:
        config = config.with_(data=convert("data", options.data))
    recordings = Recordings(dataset.open_data(config, screen), config, screen)
    for one in (one for runs in systems.values() for one in runs):
        recordings.check(one.path)  # before the first test
    models = [hear(name, one.path, recordings, screen, seed) for name, runs in systems.items() for one in runs]
    print(report(models))
    if out:
        write(out, models, len(recordings.source.classes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
