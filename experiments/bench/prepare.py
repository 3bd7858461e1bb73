"""From sound files to cached segments, against librosa:   python -m experiments.bench.prepare --data FOLDER

Decode, resample to 22,050 Hz, scale to peak 1, cut into segments, log-Mel, drop silence, write to disk. On the other
side librosa does it file by file and segment by segment, as Piczak's notebooks do.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.bench import output
from experiments.bench.frontend import librosa_log_mel
from experiments.bench.timing import interleave
from scratchnet import backend
from scratchnet.data import Segments, Source, open_source
from scratchnet.data import prepare as prepare_source
from scratchnet.sound import SoundSettings
from scratchnet.training.markdown import markdown

OURS, LOOP = "scratchnet", "librosa, in a loop"
LENGTH, HOP = 20992, 10496


def with_librosa(source: Source, folder: Path) -> np.ndarray:
    """The waveforms and spectrograms of all audible segments, saved in `folder`; returns the spectrograms."""
    import librosa

    waveforms, logmels = [], []
    for clip in source.clips:
        x, _ = librosa.load(source.root / clip.path, sr=22050)
        if not x.any():
            continue
        x = np.pad(x, (0, max(0, LENGTH - len(x)))) / np.abs(x).max()
        segments = [x[start : start + LENGTH] for start in range(0, len(x) - LENGTH + 1, HOP)]
        spectrograms = [librosa_log_mel(segment) for segment in segments]
        audible = [i for i, s in enumerate(spectrograms) if s.mean() > -70]
        for i in audible or [int(np.argmax([s.mean() for s in spectrograms]))]:
            waveforms.append(segments[i])
            logmels.append(spectrograms[i])
    np.save(folder / "waveforms.npy", np.stack(waveforms))
    made = np.stack(logmels)
    np.save(folder / "logmels.npy", made)
    return made


def with_scratchnet(source: Source, folder: Path) -> Segments:
    """Our cache, made in a new folder."""
    where = tempfile.mkdtemp(dir=folder)
    return prepare_source(source, SoundSettings(), cache_dir=where, workers=backend.threads())


def measure(data: str | None, rounds: int, clips: int | None = None) -> dict[str, Any]:
    """Times over all clips of the data set, or over about `clips`, as many of each class."""
    source = open_source(data)
    if clips is not None:
        each = max(1, clips // len(source.classes))
        of_class = [[clip for clip in source.clips if clip.label == label] for label in range(len(source.classes))]
        source = replace(source, clips=[clip for some in of_class for clip in some[:each]])
    for clip in source.clips:  # into the system's file cache, for both
        (source.root / clip.path).read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)

        def again() -> None:
            """The folder is removed in the measured time: else a large data set fills the disk, round after round."""
            with tempfile.TemporaryDirectory(dir=place) as where:
                with_scratchnet(source, Path(where))

        found = {OURS: again}
        ours = with_scratchnet(source, place)
        result: dict[str, Any] = {"data": source.name, "clips": len(source.clips), "segments": len(ours)}
        try:
            theirs = with_librosa(source, place)
            found[LOOP] = lambda: with_librosa(source, place)
            result["segments_of_librosa"] = len(theirs)
            if len(theirs) == len(ours):
                result["differs_db"] = float(np.abs(theirs - ours.logmel).max())
        except ImportError as error:
            output.say(f"without librosa: {error}")
        times = interleave(found, rounds, warm=False, slow=np.inf)
    result["times"] = {name: timing.to_dict() for name, timing in times.items()}
    return result


def table(result: dict[str, Any]) -> str:
    """Markdown: times and clips a second."""
    ours = result["times"][OURS]["seconds"]
    columns = [f"{result['data']}: {result['clips']} files → {result['segments']} segments", "time", "/ scratchnet",
               "files a second"]  # fmt: skip
    lines = [
        [name, output.timed(t), f"{t['seconds'] / ours:.1f}", f"{result['clips'] / t['seconds']:.0f}"]
        for name, t in result["times"].items()
    ]
    differ = result.get("differs_db")
    same = f"\n\nThe spectrograms of both differ by {differ:.1g} dB at most." if differ is not None else ""
    return markdown(columns, lines, numbers=True) + same


def main(argv: Sequence[str] | None = None) -> int:
    """Read the options, measure, print and write."""
    parser = output.parser("prepare", __doc__, nets=(), data=True)
    parser.add_argument("--rounds", type=output.positive, default=5, help=output.ROUNDS)
    parser.add_argument("--clips", type=output.positive, help="about so many files, of each class alike (default: all)")
    return output.run(parser, argv, lambda a: measure(a.data, a.rounds, a.clips), table)


if __name__ == "__main__":
    sys.exit(main())
