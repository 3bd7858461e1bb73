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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from experiments.figures.runs import Run, by_system
from experiments.figures.style import PALETTE
from experiments.paired import p_value, paired_t, points
from experiments.table import Row, find, markdown, output_folder, percent, row_of, same_splits, sha256, write_csv
from scratchnet import backend, plots
from scratchnet.cli import Parser, add_backend, guard
from scratchnet.data import Segments
from scratchnet.data.fingerprint import digest
from scratchnet.data.source import Source, names_digest
from scratchnet.data.synthesis import noise as coloured
from scratchnet.errors import InputError
from scratchnet.model import Model, load
from scratchnet.sound import SoundSettings, load_clip
from scratchnet.training import dataset, metrics
from scratchnet.training.config import Config
from scratchnet.training.evaluation import BATCH
from scratchnet.training.files import read_json, write_json, write_text
from scratchnet.training.resolve import convert
from scratchnet.training.runfolder import MODEL, RunFolder
from scratchnet.training.screen import Screen

NOISES = ("white", "pink", "background")
SNRS = (20, 10, 5, 0)  # dB
KEPT = "noise.json"
SCORES = ("segment_balanced_accuracy", "clip_accuracy_probability")
Clips = dict[str, tuple[np.ndarray, int]]  # path -> (waveform, class)
Cells = dict[tuple[str, str], dict[Any, str]]  # (system, noise) -> ratio -> text


def mix(signal: np.ndarray, noise: np.ndarray, snr: float) -> np.ndarray:
    """signal + g · noise, (n,) both, g such that 10 log10(power of signal / power of g · noise) = snr.

    Raises ValueError where the noise is silent.
    """
    power = np.mean(np.square(noise, dtype=np.float64))
    if power == 0:
        raise ValueError("silent noise reaches no signal-to-noise ratio")
    wanted = np.mean(np.square(signal, dtype=np.float64)) / 10 ** (snr / 10)
    return (signal + np.sqrt(wanted / power) * noise).astype(np.float32)


def looped(x: np.ndarray, n: int, start: int) -> np.ndarray:
    """n samples of x from `start` on, again from its beginning where it ends."""
    return np.resize(np.roll(x, -start), n)


def noise_for(kind: str, name: str, clips: Clips, seed: int) -> np.ndarray:
    """The noise of clip `name`, as long as it: a pure function of these arguments.

    Raises ValueError where no clip of another class could be the background.
    """
    signal, label = clips[name]
    rng = np.random.default_rng([seed, NOISES.index(kind), crc32(name.encode())])
    if kind != "background":
        return coloured(rng, len(signal), NOISES.index(kind))  # power falls with f^-0: white, f^-1: pink
    others = [other for other, (_, its) in sorted(clips.items()) if its != label]
    if not others:
        raise ValueError(f"{name}: there is no clip of another class to be its background")
    x, _ = clips[others[rng.integers(len(others))]]
    part = looped(x, len(signal), int(rng.integers(len(x))))
    return part if part.any() else looped(x, len(signal), int(np.abs(x).argmax()))


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


class Heard(NamedTuple):
    """One trained model in noise: its system's name, test fold and seed, a row for each noise and ratio, and a digest
    of the clips that it heard."""

    system: str
    fold: int
    seed: int
    rows: list[Row]
    clips: str = ""


def hear(system: str, folder: Path, recordings: Recordings, screen: Screen, seed: int = 0) -> Heard:
    """Test the model in a run folder, or find that it has been tested; `seed` is the noise's."""
    result = RunFolder(folder).finished()
    rows = rows_of(folder, recordings, screen, seed)
    return Heard(system, result["test_fold"], result["seed"], rows, read_json(folder / KEPT)["clips"])


def gather(models: Iterable[Heard]) -> list[Row]:
    """Models of the same system: mean and sample deviation per noise and ratio of those that have figures there."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for model in models:
        for row in model.rows:
            groups.setdefault((model.system, row["noise"], row["snr"]), []).append(row)
    made = []
    for key, rows in groups.items():
        heard = [r for r in rows if r[SCORES[0]] is not None]
        row = dict(zip(("system", "noise", "snr"), key)) | {"models": len(heard)}
        for score in SCORES:
            values = [r[score] for r in heard]
            row[score] = float(np.mean(values)) if values else None
            row[f"{score}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
        made.append(row)
    return made


def against_first(models: Sequence[Heard]) -> list[Row]:
    """Every system minus the first, per noise, ratio and score: the mean difference over the test folds that both have
    (of the seeds that both have there, their means), its sample deviation, and the p-value of the paired t-test. Models
    that heard other clips are no pair."""
    found: dict[tuple[Any, ...], dict[tuple[int, int, str], float]] = {}
    for model in models:
        for row in model.rows:
            for score in SCORES:
                mine = found.setdefault((model.system, row["noise"], row["snr"], score), {})
                if row[score] is not None:
                    mine[model.fold, model.seed, model.clips] = row[score]
    first, made = models[0].system, []
    for (system, *rest), mine in found.items():
        other = found[first, *rest]
        pairs = [key for key in mine if key in other]
        both = sorted({fold for fold, *_ in pairs})
        if system == first or not both:
            continue
        a, b = (
            np.array([np.mean([those[key] for key in pairs if key[0] == fold]) for fold in both])
            for those in (mine, other)
        )
        sd = float(np.std(a - b, ddof=1)) if len(both) > 1 else None
        row = dict(zip(("system", "against", "noise", "snr", "score"), (system, first, *rest)))
        row |= {"folds": len(both), "difference": float(np.mean(a - b)), "difference_sd": sd, "p_t": paired_t(a, b)}
        made.append(row)
    return made


def check_pairs(systems: Mapping[str, Sequence[Run]]) -> None:
    """Raise `InputError` where a system has two runs of one fold and seed, or runs learned from different folds."""
    rows = {name: [row_of(run.path, hashed=False) for run in runs] for name, runs in systems.items()}
    for name, mine in rows.items():
        for (fold, seed), count in Counter((row["fold"], row["seed"]) for row in mine).items():
            if count > 1:
                raise InputError(f"{name}: more than one run of seed {seed} on fold {fold}; name one of them")
    same_splits(row for mine in rows.values() for row in mine)


def unpaired(models: Sequence[Heard]) -> list[str]:
    """The systems that cannot be compared with the first on some fold, since they heard other clips there."""
    first = {(m.fold, m.seed): m.clips for m in models if m.system == models[0].system}
    return list(dict.fromkeys(m.system for m in models if first.get((m.fold, m.seed), m.clips) != m.clips))


def against_markdown(rows: Sequence[Row], score: str = SCORES[1]) -> str:
    """A line per system and noise, a column per ratio: points of clip accuracy by mean probability, and p."""
    cells: Cells = {}
    for row in rows:
        if row["score"] == score:
            p = "" if row["p_t"] is None else f" ({p_value(row['p_t'])})"
            cells.setdefault((row["system"], row["noise"]), {})[row["snr"]] = points(row["difference"]) + p
    return _by_ratio(f"minus {rows[0]['against']}, points (p, paired t)", "", cells)


def noise_markdown(rows: Sequence[Row], score: str = SCORES[1]) -> str:
    """A line per system and noise, a column per ratio: clip accuracy by mean probability; where not all models have
    it, of how many it is."""
    cells: Cells = {}
    all_of = {row["system"]: row["models"] for row in rows if row["noise"] == "none"}
    for row in rows:
        text = "" if row[score] is None else percent(row[score], row[f"{score}_sd"])
        if 0 < row["models"] < all_of[row["system"]]:
            text += f" ({row['models']} of {all_of[row['system']]})"
        cells.setdefault((row["system"], row["noise"]), {})[row["snr"]] = text
    return _by_ratio("system", " (%)", cells)


def _by_ratio(title: str, unit: str, cells: Cells) -> str:
    lines = [
        [name, kind, cells[name, "none"][None], *(mine[snr] for snr in SNRS)]
        for (name, kind), mine in cells.items()
        if kind != "none"
    ]
    return markdown([title, "noise", f"clean{unit}", *(f"{snr} dB{unit}" for snr in SNRS)], lines)


def report(models: Sequence[Heard]) -> str:
    """The tables as Markdown: every system, then against the first."""
    tests, parts = against_first(models), [noise_markdown(gather(models))]
    if tests:
        parts.append(against_markdown(tests))
    if others := unpaired(models):
        parts.append(f"Tested on other clips than {models[0].system}, so not compared with it: {', '.join(others)}.")
    return "\n\n".join(parts)


def write(out: Path, models: Sequence[Heard], classes: int) -> None:
    """noise.csv, noise.md, noise.png; with several systems, noise_paired.csv."""
    rows, tests = gather(models), against_first(models)
    write_csv(out / "noise.csv", rows)
    if tests:
        write_csv(out / "noise_paired.csv", tests)
    else:
        (out / "noise_paired.csv").unlink(missing_ok=True)  # of other systems
    write_text(out / "noise.md", report(models) + "\n")
    draw(out / "noise.png", rows, classes)


# As many as there are colours: lines can be told apart in grey, too. More systems are in the tables alone.
MARKERS, DASHES = "osD^vPX*", ("-", "-", "-", "--", "--", ":", ":", ":")
PANELS = {"white": "white noise", "pink": "pink noise", "background": "another clip as background"}


def draw(path: Path, rows: Sequence[Row], classes: int, score: str = SCORES[1]) -> None:
    """Clip accuracy over the ratio, a panel a noise, a line for each of the first eight systems; bars reach a sample
    deviation up and down."""
    figure, axes = plots.new_figure(1, len(PANELS), (9, 4), sharey=True)
    places = {None: 0, **{snr: i for i, snr in enumerate(SNRS, 1)}}
    systems = list(dict.fromkeys(row["system"] for row in rows))[: len(MARKERS)]
    for axis, (kind, title) in zip(axes[0], PANELS.items()):
        for number, system in enumerate(systems):
            mine = [r for r in rows if r["system"] == system and r["noise"] in ("none", kind) and r[score] is not None]
            x = [places[r["snr"]] + 0.05 * (number - (len(systems) - 1) / 2) for r in mine]
            style = {"color": PALETTE[number], "marker": MARKERS[number], "linestyle": DASHES[number]}
            spread = [r[f"{score}_sd"] or 0 for r in mine]
            axis.errorbar(
                x, [r[score] for r in mine], spread, label=system, markersize=4, linewidth=1.2, elinewidth=0.6, **style
            )
        axis.axhline(1 / classes, color="0.4", linewidth=0.8, linestyle=":")
        axis.set_title(title, fontsize=9)
        axis.set_xticks(range(len(places)), ["clean", *map(str, SNRS)])
        axis.set(xlabel="signal-to-noise ratio in dB", ylim=(0, 1.02))
        axis.grid(axis="y", color="0.92")
    axes[0, 0].set_ylabel("accuracy of clips, by mean probability")
    axes[0, 0].text(0, 1 / classes + 0.01, "chance", fontsize=8, color="0.3")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    plots.legend_below(figure, handles, labels)
    plots.save_figure(figure, path)


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
