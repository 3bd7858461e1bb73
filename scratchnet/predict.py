"""`python -m scratchnet.predict RUN FILE…`: what sounds in each file, and when."""

from __future__ import annotations

import glob
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from scratchnet import backend
from scratchnet.cli import Parser, add_backend, add_threads, fail, guard
from scratchnet.ensemble import Ensemble, load
from scratchnet.errors import InputError, printable, say
from scratchnet.model import Model, Prediction, warn_if_unfinished
from scratchnet.sound.io import too_long
from scratchnet.training.resolve import convert

Show = Callable[[Path, Prediction], str]


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Predict; returns the exit status: 2 where a file could not be used, the others being answered."""
    parser = Parser(prog="python -m scratchnet.predict", description="Say what sounds in audio files, and when.")
    parser.add_argument("run", metavar="RUN", help="run folder or model.safetensors")
    parser.add_argument(
        "files", metavar="FILE", nargs="+", help="sound files, or folders of them; /dev/stdin reads a pipe"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--brief", action="store_true", help="one line a file, without its segments")
    form.add_argument("--json", action="store_true", help="one JSON array for machines")
    add_backend(parser)
    add_threads(parser)
    options = parser.parse(argv)
    backend.use(options.backend, convert("threads", options.threads))
    model = load(options.run)
    warn_if_unfinished(options.run, model.what)
    answers: list[dict[str, Any]] = []
    count = bad = 0
    try:
        for answer in _answers(model, options.files, show=None if options.json else _brief if options.brief else _text):
            count, bad = count + 1, bad + ("error" in answer)
            if options.json:  # printed as a whole, so that it is one array after Ctrl-C, too
                answers.append(answer)
    finally:  # Ctrl-C, for one
        if options.json:
            print(json.dumps(answers, indent=1), flush=True)
    if bad and bad < count:
        say(f"{bad} of {count} files could not be used")
    return 2 if bad else 0


def _answers(model: Model | Ensemble, names: Sequence[str], show: Show | None) -> Iterator[dict[str, Any]]:
    """What is heard in each file, or why nothing is, ready for JSON; printed at once as `show` puts it."""
    for name in names:
        for path in _sound_files(Path(name)):
            try:
                if isinstance(path, InputError):
                    raise path
                prediction = _predict(model, path)
            except InputError as error:
                fail(str(error), 2)
                yield {"file": name if isinstance(path, InputError) else str(path), "error": str(error)}
                continue
            if show is not None:
                print(show(path, prediction), flush=True)
            yield {"file": str(path), **prediction.to_dict()}


def _predict(model: Model | Ensemble, path: Path) -> Prediction:
    try:
        return model.predict(path)
    except MemoryError:
        raise too_long(path) from None


def _sound_files(path: Path) -> Iterator[Path | InputError]:
    """The file itself, or the sound files under a folder, sorted; on Windows, whose shells leave that to us, those that
    a pattern such as more/*.ogg matches."""
    if sys.platform == "win32" and not os.path.exists(path) and (matching := sorted(glob.glob(str(path)))):
        for one in map(Path, matching):
            yield from _sound_files(one) if one.is_dir() else [one]
        return
    try:
        folder = path.is_dir()
    except OSError:  # `predict` says why
        folder = False
    if not folder:
        yield path
        return
    from scratchnet.data.source import sounds_below, unreadable_folder

    shut: list[OSError] = []
    found = sounds_below(path, shut.append)
    if not (found or shut):
        yield InputError(f"{path}: no sound file in this folder")
    yield from found
    yield from map(unreadable_folder, shut)


def _brief(path: Path, prediction: Prediction) -> str:
    return f"{printable(str(path))}: {printable(prediction.label)} {prediction.probability:.2f}"


def _text(path: Path, prediction: Prediction) -> str:
    width = max(len(printable(name)) for name in prediction.classes)
    lines = [_brief(path, prediction)]
    for s in prediction.segments():
        name = printable(s["class"])
        lines.append(f"  {s['start']:7.2f} to {s['end']:7.2f} s  {name:<{width}}  {s['probability']:.2f}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
