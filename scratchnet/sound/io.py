"""Reading a sound file: any format of libsndfile to mono float32 at one sample rate."""

from __future__ import annotations

import math
import stat
from io import BytesIO
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scratchnet.errors import InputError, check_utf8
from scratchnet.sound.workers import go_on

if TYPE_CHECKING:
    from soundfile import SoundFile

SYSTEM = 2  # libsndfile's error where reading failed
UNKNOWN = (1, 7)  # libsndfile's errors where it knows no format of the content, and where an .mp3 is none
CANCELLED = 1e-3  # of a channel's peak: what rounding leaves where channels cancel out
SLOWEST = 100  # hertz
BLOCK = 1 << 20  # frames decoded at a time, so that an hour of 8-channel sound is never held with all its channels


def load(path: str | Path, sample_rate: int = 22050) -> np.ndarray:
    """Read a sound file: channels averaged, resampled with soxr's high quality, (n,) float32 in about [-1, 1].

    Reads what libsndfile reads: WAV of every sort, FLAC, Ogg (Vorbis, Opus), MP3, AIFF, ...; out of a pipe too, such as
    /dev/stdin. The values are `librosa.load`'s. Raises `InputError` naming the file where it is missing, cannot be
    read or decoded, holds fewer than two samples, less than 100 of them a second, a NaN or infinite one, or channels
    that cancel each other out; and for a `sample_rate` that is no number of hertz.
    """
    import soundfile  # here, so that a machine that trains from a prepared cache needs no such library

    check_rate(sample_rate)
    path = Path(path)
    kind = _kind(path)
    if kind not in (stat.S_IFREG, stat.S_IFIFO):
        other = "is a folder" if kind == stat.S_IFDIR else "is neither a file nor a pipe"
        raise InputError(f"{path} {other}: name a sound file")
    try:
        if kind == stat.S_IFREG:
            with path.open("rb") as opened:  # of a file that may not be read libsndfile says "System error" alone
                if not opened.read(1):
                    raise InputError(f"{path} is empty, 0 bytes: fetch it again, or remove it")
        with soundfile.SoundFile(path if kind == stat.S_IFREG else BytesIO(path.read_bytes())) as file:
            rate = file.samplerate
            if rate < SLOWEST:  # a minute of it would become days
                raise InputError(f"{path} is said to have {rate} samples a second, no rate of a sound: export it again")
            x, count, loudest = _resampled(file, sample_rate)
    except InputError:
        raise
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
        if isinstance(error, UnicodeEncodeError):  # the name was none when the file came out of its archive
            check_utf8([path.name], path.parent)
            raise InputError(f"{path}: the name is not UTF-8; rename it") from error
        if getattr(error, "code", None) in UNKNOWN:
            raise InputError(unreadable(path)) from error
        if isinstance(error, OSError) and error.strerror:
            raise cannot_be_read(path, error) from error
        reason = str(getattr(error, "error_string", error)).strip().rstrip(".")
        raise InputError(unreadable(path, reason)) from error
    except MemoryError as error:
        raise too_long(path) from error
    if min(count, len(x)) < 2:
        words = "no sample" if count == 0 else "a single sample"
        raise InputError(f"{path} holds {words}: it may have been cut off; replace it, or remove it")
    if not np.isfinite(_peak(x)):  # of the resampled sound, which is shorter as a rule: a filter passes NaN on
        raise InputError(f"{path} holds NaN or infinite samples: export it again, or remove it")
    if file.channels > 1 and _peak(x) < CANCELLED * loudest:
        raise InputError(f"{path}: its channels cancel each other out: keep one of them")
    return np.ascontiguousarray(x, dtype=np.float32)


def _resampled(file: SoundFile, sample_rate: float) -> tuple[np.ndarray, int, float]:
    """All of a file's sound, resampled block by block: an hour of it is never held at its own rate. Its frames, and
    the greatest sample of any channel."""
    import soxr

    to_rate = None
    if file.samplerate != sample_rate:
        to_rate = soxr.ResampleStream(file.samplerate, sample_rate, 1, dtype="float32", quality="HQ")
    blocks: list[np.ndarray] = []
    frames, last, loudest = 0, False, 0.0
    while not last:
        go_on()
        channels = file.read(BLOCK, dtype="float32", always_2d=True)
        block, loudest = _mean_of_channels(channels), max(loudest, float(np.abs(channels).max(initial=0)))
        frames, last = frames + len(block), len(block) < BLOCK
        blocks.append(block if to_rate is None else to_rate.resample_chunk(block, last=last))
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks), frames, loudest


def _kind(path: Path) -> int:
    """Whether it is a file, a folder, a pipe (stat.S_IFREG, …). Raises `InputError` where there is none."""
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError) as error:
        if path.is_symlink():
            raise InputError(f"{path} is a link that leads nowhere: remove it") from error
        hint = ", or /dev/stdin for what comes out of a pipe" if str(path) == "-" else ""
        raise InputError(f"{path} does not exist: name a sound file{hint}") from error
    except OSError as error:
        raise cannot_be_read(path, error) from error
    except ValueError:  # a NUL
        raise InputError(f"{str(path)!r} is no name of a file") from None


def check_rate(sample_rate: float) -> None:
    """Raise `InputError` unless this is a rate of sound: soxr would never come back from NaN, and 44.1 is kilohertz."""
    if not (isinstance(sample_rate, Real) and not isinstance(sample_rate, bool) and SLOWEST <= sample_rate < math.inf):
        raise InputError(f"sample_rate {sample_rate!r}: takes hertz, a number of at least {SLOWEST}")


def cannot_be_read(path: str | Path, error: OSError) -> InputError:
    """What to say of a file that the system does not give out, and because of which error."""
    said = InputError(f"{path} cannot be read ({error.strerror}): see to it, or remove it")
    said.__cause__ = error
    return said


def too_long(path: str | Path) -> InputError:
    """What to say of a file whose sound the memory cannot hold."""
    return InputError(f"{path} is too long for the memory there is: cut it into several files")


def may_pass(error: InputError) -> bool:
    """Whether the system kept a file from being read, a drive that is not there, say, and not what is in the file."""
    return isinstance(error.__cause__, OSError) or getattr(error.__cause__, "code", None) == SYSTEM


def unreadable(path: str | Path, reason: str = "no format that libsndfile reads") -> str:
    """What to say of a file that cannot be decoded."""
    return f"{path} cannot be read as sound ({reason}): convert it, say to FLAC, or remove it"


def load_clip(path: str | Path, sample_rate: int = 22050, peak: bool = True) -> np.ndarray:
    """`load`, scaled to peak 1 (unless `peak` is False); also raises `InputError` for a file that is wholly silent."""
    x = load(path, sample_rate)
    if not x.any():
        raise InputError(f"{path} is silent, every sample is 0: replace it, or remove it")
    return normalize_peak(x) if peak else x


def normalize_peak(x: np.ndarray) -> np.ndarray:
    """x / max|x| along the last axis, (..., n), so that the loudest sample is at ±1; silence stays silence."""
    x = np.asarray(x)
    x = x if x.dtype.kind == "f" else x.astype(np.float32)  # int16 has no +32768
    peak = _peak(x)
    return x / np.where(peak > 0, peak, 1)


def _peak(x: np.ndarray) -> np.ndarray:
    """max|x| along the last axis, (..., 1); NaN where a sample is."""
    return np.maximum(x.max(axis=-1, keepdims=True), -x.min(axis=-1, keepdims=True))


def _mean_of_channels(block: np.ndarray) -> np.ndarray:
    """(n, channels) -> (n,), channel by channel: NumPy's mean over so short an axis takes twenty times as long."""
    total = block[:, 0]
    for channel in block.T[1:]:
        total = total + channel
    return total if block.shape[1] == 1 else total / np.float32(block.shape[1])
