"""A data set that lies on the GPU, where mini-batches are gathered from it: `feed` imports this where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scratchnet.kernels.cuda import batches as on_device
from scratchnet.kernels.cuda import device

if TYPE_CHECKING:
    from scratchnet.data import Batches, Segments

ROWS = 1024  # spectrograms that are read at once


@dataclass(frozen=True)
class Resident:
    """All segments of a data set on the GPU, as a network is fed them.

    `samples` (numbers,): each clip's audio once, or all standardised spectrograms one after the other; `start` (n,)
    where each segment begins, `shape` what it is; `scale` (n,) its factor, or None where all are 1.
    """

    segments: Segments  # kept, so that no other data set is taken for it
    samples: Any
    start: Any
    shape: tuple[int, ...]
    scale: Any | None

    def mini_batches(self, batches: Batches, skip: int) -> Iterator[tuple[Any, Any]]:
        """An epoch out of the GPU's memory: one launch a mini-batch."""
        order = batches.order()
        indices = device.current().upload(order)
        labels = device.current().upload(self.segments.label[order])
        length = int(np.prod(self.shape))
        for first in range(skip * batches.batch_size, len(order), batches.batch_size):
            chosen = indices[first : first + batches.batch_size]
            x = on_device.gather_segments(self.samples, self.start, chosen, length)
            if self.scale is not None:
                x *= self.scale[chosen][:, None]
            yield x.reshape(len(chosen), *self.shape), labels[first : first + batches.batch_size]


_kept: dict[str, tuple[Any, Resident]] = {}  # what lies on the GPU, of one data set at a time, by feature


def resident(batches: Batches) -> Resident | None:
    """The data set of these mini-batches on the GPU; uploaded now if it is not there. None where it does not fit."""
    segments, feature = batches.segments, batches.feature
    norm = (batches.mean, batches.std) if feature == "logmel" else ()  # waveforms are fed as they are
    if any(one.segments is not segments for _, one in _kept.values()):
        _kept.clear()
    if feature not in _kept or _kept[feature][0] != norm:
        _kept.pop(feature, None)  # before the other takes its place
        made = _waveforms(segments) if feature == "waveform" else _logmels(segments, *norm)
        if made is None:
            return None
        _kept[feature] = norm, made
    return _kept[feature][1]


def _waveforms(segments: Segments) -> Resident | None:
    numbers, upload = segments.waveform.size, device.current().upload
    if not on_device.fits(numbers):
        return None
    scale = None if (segments.scale == 1).all() else upload(segments.scale)
    samples = on_device.upload([segments.waveform], numbers)
    return Resident(segments, samples, upload(segments.start), (1, segments.settings.segment_length), scale)


def _logmels(segments: Segments, mean: float, std: float) -> Resident | None:
    n, settings = len(segments), segments.settings
    shape = settings.channels, settings.n_mels, settings.n_frames
    length = int(np.prod(shape))
    if not on_device.fits(n * length):
        return None
    pieces = (np.arange(first, min(first + ROWS, n)) for first in range(0, n, ROWS))
    samples = on_device.upload((segments.logmels(piece, mean=mean, std=std) for piece in pieces), n * length)
    return Resident(segments, samples, device.current().upload(np.arange(n) * length), shape, None)
