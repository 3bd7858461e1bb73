"""The paper's argument (section 2.1): eq. 1 and 2 are convolutions. Both roads give the same numbers."""

import numpy as np

from scratchnet.sound import fourier_kernels, mel_filters, mel_kernels, stft
from scratchnet.sound.convolution import mel_spectrogram, power_spectrogram, strided_convolution
from scratchnet.sound.mel import melspectrogram, power_to_db


def test_kernels_are_the_complex_exponentials_of_eq_1():
    kernels = fourier_kernels(16, "rectangular", np.float64)
    assert kernels.shape == (18, 1, 16)
    for k in range(9):
        v = np.exp(-2j * np.pi * k * np.arange(16) / 16)
        np.testing.assert_allclose(kernels[k, 0], v.real, atol=1e-14)
        np.testing.assert_allclose(kernels[9 + k, 0], v.imag, atol=1e-14)


def test_eq_1_as_a_convolution_is_the_stft(rng):
    x = rng.standard_normal((2, 5000))
    np.testing.assert_allclose(power_spectrogram(x), np.abs(stft(x)) ** 2, atol=1e-8)
    np.testing.assert_allclose(power_spectrogram(x, center=False), np.abs(stft(x, center=False)) ** 2, atol=1e-8)


def test_eq_2_as_a_convolution_is_the_mel_spectrogram(real_segments):
    x = real_segments[:3]
    kernels = mel_kernels()
    assert kernels.shape == (60, 513, 1) and np.array_equal(kernels[:, :, 0], mel_filters())
    by_convolution = mel_spectrogram(power_spectrogram(x), kernels)
    np.testing.assert_allclose(power_to_db(by_convolution), power_to_db(melspectrogram(x)), atol=1e-4)


def test_strided_convolution_is_numpys(rng):
    x, kernels = rng.standard_normal(50), rng.standard_normal((3, 1, 8))
    expected = np.stack([np.correlate(x, kernel[0], "valid")[::5] for kernel in kernels])
    np.testing.assert_allclose(strided_convolution(x, kernels, 5), expected, atol=1e-13)
