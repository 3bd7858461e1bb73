"""The paper's argument (section 2.1): eq. 1 and 2 are convolutions. Both roads give the same numbers."""

import numpy as np

from scratchnet.sound import fourier_kernels, mel_filters, mel_kernels, stft
from scratchnet.sound.convolution import mel_spectrogram, power_spectrogram, strided_convolution
from scratchnet.sound.mel import melspectrogram, power_to_db
from tests.support import assert_within, rounding


def test_kernels_are_the_complex_exponentials_of_eq_1():
    kernels = fourier_kernels(16, "rectangular", np.float64)
    assert kernels.shape == (18, 1, 16)
    for k in range(9):
        # This angle goes up to 47: 2πk and 2πkl/16 are rounded by 2⁻⁴⁸ at most, and 47/π times the error of π, 1.2e-16,
        # is 2e-15. The kernels' angle stays under 2π; with cosine and sine that is another 1e-15: 1e-14 in all.
        v = np.exp(-2j * np.pi * k * np.arange(16) / 16)
        np.testing.assert_allclose(kernels[k, 0], v.real, rtol=0, atol=1e-14)
        np.testing.assert_allclose(kernels[9 + k, 0], v.imag, rtol=0, atol=1e-14)


def test_eq_1_as_a_convolution_is_the_stft(rng):
    x = rng.standard_normal((2, 5000))
    # 1024 terms w·x whose sizes add up to 434 at most: off by 1028 · 2⁻⁵³ · 434 = 5e-11, and by a tenth of that in the
    # FFT. The largest |S| is 68, so the squares differ by 2 · 68 · 5.5e-11 = 7.5e-9 at most.
    for center in (True, False):
        expected = np.abs(stft(x, center=center)) ** 2
        np.testing.assert_allclose(power_spectrogram(x, center=center), expected, rtol=0, atol=7.5e-9)


def test_eq_2_as_a_convolution_is_the_mel_spectrogram(real_segments):
    x = real_segments[:3]
    kernels = mel_kernels()
    assert kernels.shape == (60, 513, 1) and np.array_equal(kernels[:, :, 0], mel_filters())
    by_convolution = mel_spectrogram(power_spectrogram(x), kernels)
    # The FFT's road is in float32: powers, weights, products, and the sum over the bins of a triangle, none negative.
    # Its decibels, up to 100 in size, have the logarithm (2 roundings), the product and the floor.
    bins = np.count_nonzero(mel_filters(), axis=1).max()
    bound = 10 * np.log10(1 + rounding("float32", bins + 3)) + 4 * 100 * 2.0**-24
    np.testing.assert_allclose(power_to_db(by_convolution), power_to_db(melspectrogram(x)), rtol=0, atol=bound)


def test_strided_convolution_is_numpys(rng):
    x, kernels = rng.standard_normal(50), rng.standard_normal((3, 1, 8))
    expected = np.stack([np.correlate(x, kernel[0], "valid")[::5] for kernel in kernels])
    sizes = np.stack([np.correlate(np.abs(x), np.abs(kernel[0]), "valid")[::5] for kernel in kernels])
    assert_within(strided_convolution(x, kernels, 5), expected, 2 * rounding("float64", 8) * sizes)  # 8 terms, twice
