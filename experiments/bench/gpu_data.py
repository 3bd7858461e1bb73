"""Prepared segments made small enough to travel:   python -m experiments.bench.gpu_data FOLDER FILE

FOLDER is a cache of prepared segments, FILE what `experiments.bench.gpu --cache FILE` takes on a machine without
network, soundfile and soxr: ESC-10's 199 MB become 52 MiB. The waveforms are rounded to 16 bits (or `--bits`), what no
segment covers is left out, and the spectrograms are made again there.

    python -c "from scratchnet.data import open_source, prepare; print(prepare(open_source('ESC-10')).folder)"
    python -m experiments.bench.gpu_data THAT_FOLDER esc10.zip
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile

import numpy as np

from scratchnet.cli import Parser, guard
from scratchnet.data.segments import INDEX, LOGMEL, META, VERSION, WAVEFORM, Segments, open_cache
from scratchnet.errors import InputError
from scratchnet.sound.mel import segment_log_mel

BITS = "bits"


def covered(segments: Segments) -> np.ndarray:
    """Which samples lie in some segment, (samples,) bool."""
    steps = np.zeros(segments.waveform.size + 1, np.int64)
    np.add.at(steps, segments.start, 1)
    np.add.at(steps, segments.start + segments.settings.segment_length, -1)
    return np.cumsum(steps[:-1]) > 0


def pack(folder: str | Path, file: str | Path, bits: int = 16) -> int:
    """Write the cache in `folder` to `file`, its samples as whole numbers of so many bits; returns the bytes written.

    Raises InputError where there is no cache, or where samples are beyond ±1.
    """
    segments = open_cache(folder)
    samples = np.asarray(segments.waveform)[covered(segments)]
    if np.abs(samples).max() > 1:
        raise InputError(f"{folder}: the samples go beyond ±1, so {bits} bits do not hold them")
    whole = np.round(samples * (2 ** (bits - 1) - 1)).astype(np.int16)
    steps = np.diff(whole, prepend=np.int16(0))  # small numbers, whose high bytes are alike; they may wrap round
    with ZipFile(file, "w", ZIP_DEFLATED, compresslevel=6) as target:
        about = json.loads((segments.folder / META).read_text(encoding="utf-8"))
        target.writestr(META, json.dumps({**about, BITS: bits}))
        target.write(segments.folder / INDEX, INDEX)
        target.writestr(WAVEFORM, steps.astype("<i2").view(np.uint8).reshape(-1, 2).T.tobytes())
    return Path(file).stat().st_size


def read_about(file: str | Path) -> dict[str, Any]:
    """What a packed file says of itself. Raises InputError where it is none, or one of another version."""
    try:
        with ZipFile(file) as source:
            about = json.loads(source.read(META))
            if not isinstance(about, dict) or not {"version", BITS, "samples", "settings"} <= about.keys():
                raise ValueError(f"{META} says too little")
            if not {INDEX, WAVEFORM} <= set(source.namelist()) or source.testzip() is not None:
                raise ValueError("damaged")
    except (BadZipFile, KeyError, ValueError) as error:
        raise InputError(f"{file}: no packed data ({error}): experiments.bench.gpu_data makes it") from None
    if about["version"] != VERSION:
        raise InputError(f"{file}: packed as version {about['version']}, this is {VERSION}: pack it again")
    return about


def unpack(file: str | Path, folder: str | Path) -> Segments:
    """The cache that `pack` wrote to `file`, as a folder of prepared segments again; `folder` must be there."""
    folder, about = Path(folder), read_about(file)
    with ZipFile(file) as source:
        planes = np.frombuffer(source.read(WAVEFORM), np.uint8).reshape(2, -1)
        (folder / INDEX).write_bytes(source.read(INDEX))
    (folder / META).write_text(json.dumps(about), encoding="utf-8")
    n = len(np.load(folder / INDEX)["start"])
    for name, numbers in ((WAVEFORM, about["samples"]), (LOGMEL, n * _values(about))):
        np.memmap(folder / name, np.float32, "w+", shape=(numbers,)).flush()
    segments = open_cache(folder)
    whole = np.cumsum(np.ascontiguousarray(planes.T).view("<i2")[:, 0], dtype=np.int16)
    waveform = np.memmap(folder / WAVEFORM, np.float32, "r+")
    waveform[covered(segments)] = whole / np.float32(2 ** (about[BITS] - 1) - 1)
    waveform.flush()
    logmel = np.memmap(folder / LOGMEL, np.float32, "r+", shape=segments.logmel.shape)
    for first in range(0, n, 256):
        piece = np.arange(first, min(first + 256, n))
        logmel[piece] = segment_log_mel(segments.waveforms(piece)[:, 0], segments.settings)
    logmel.flush()
    return open_cache(folder)


def repeat(segments: Segments, times: int, folder: str | Path) -> Segments:
    """A data set so many times as large: the same clips again under new numbers, as a cache in a new folder there."""
    folder = Path(folder) / f"{times}times"
    folder.mkdir()
    for name in (WAVEFORM, LOGMEL):
        with open(folder / name, "wb") as target:
            for _ in range(times):
                target.write((segments.folder / name).read_bytes())
    about = json.loads((segments.folder / META).read_text(encoding="utf-8"))
    samples, clips = about["samples"], about["clips"]
    about |= {"samples": times * samples, "clips": [f"{i}/{clip}" for i in range(times) for clip in clips]}
    about["contents"] *= times
    (folder / META).write_text(json.dumps(about), encoding="utf-8")
    with np.load(segments.folder / INDEX) as index:
        step = {"start": samples, "clip": len(clips)}
        arrays = {n: np.concatenate([a + i * step.get(n, 0) for i in range(times)]) for n, a in index.items()}
    np.savez(folder / INDEX, **arrays)
    return open_cache(folder)


def _values(about: dict[str, Any]) -> int:
    return int(about["settings"]["n_mels"] * about["settings"]["n_frames"])


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Pack, and say how large it became."""
    options = Parser(prog="python -m experiments.bench.gpu_data", description=(__doc__ or "").split(":   ")[0])
    options.add_argument("folder", type=Path, help="of the cache, with prepared segments")
    options.add_argument("file", type=Path, help="where to write it")
    options.add_argument("--bits", type=int, choices=range(8, 17), default=16, help="bits of a sample (default 16)")
    a = options.parse(argv)
    print(f"{a.file}: {pack(a.folder, a.file, a.bits) / 2**20:.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
