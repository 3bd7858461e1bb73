"""From a sound file to what the networks take: reading, segments, spectrograms (eq. 1 and 2), deltas, augmentation."""

from scratchnet.sound.augmentation import Augmentation, make_variant
from scratchnet.sound.convolution import fourier_kernels, mel_kernels
from scratchnet.sound.deltas import delta
from scratchnet.sound.io import load, load_clip, normalize_peak
from scratchnet.sound.mel import log_melspectrogram, mel_filters, melspectrogram, power_to_db, segment_log_mel
from scratchnet.sound.segments import segment_clip, segment_starts
from scratchnet.sound.settings import SoundSettings
from scratchnet.sound.stft import stft
from scratchnet.sound.stretch import pitch_shift, time_stretch

__all__ = [
    "Augmentation",
    "SoundSettings",
    "delta",
    "fourier_kernels",
    "load",
    "load_clip",
    "log_melspectrogram",
    "make_variant",
    "mel_filters",
    "mel_kernels",
    "melspectrogram",
    "normalize_peak",
    "pitch_shift",
    "power_to_db",
    "segment_clip",
    "segment_log_mel",
    "segment_starts",
    "stft",
    "time_stretch",
]
