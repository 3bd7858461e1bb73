"""From a sound file to what the networks take: reading, segments, spectrograms (eq. 1 and 2), deltas."""

from scratchnet.sound.convolution import fourier_kernels, mel_kernels
from scratchnet.sound.deltas import delta
from scratchnet.sound.io import load, load_clip, normalize_peak
from scratchnet.sound.mel import log_melspectrogram, mel_filters, melspectrogram, power_to_db, segment_log_mel
from scratchnet.sound.segments import segment_clip, segment_starts
from scratchnet.sound.settings import SoundSettings
from scratchnet.sound.stft import stft

__all__ = [
    "SoundSettings",
    "delta",
    "fourier_kernels",
    "load",
    "load_clip",
    "log_melspectrogram",
    "mel_filters",
    "mel_kernels",
    "melspectrogram",
    "normalize_peak",
    "power_to_db",
    "segment_clip",
    "segment_log_mel",
    "segment_starts",
    "stft",
]
