"""Modulus and Decibel: the non-linear parts of eq. 1 and 2."""

import numpy as np
import pytest
from hypothesis import given

from scratchnet.layers import Decibel, Modulus
from tests.support import assert_within, modulus, rounding, run

# Values up to 100 dB: the constants' rounding, the logarithm's (2), the product's and the floor's are 5.
DB = rounding("float64", 5) * 100
# Slopes up to 10/ln 10: logarithm and quotient there and here are 6 roundings, those by x and with dy 2.
SLOPE = rounding("float64", 8) * 10 / np.log(10)


@given(case=modulus())
def test_modulus_is_that_of_complex_numbers(backend, case):
    real, imaginary = np.split(case.x, 2, axis=1)
    size = np.abs(real + 1j * imaginary) ** case.make().power
    # Ours rounds twice (squares, sum; the root halves that and adds its own); the test's hypot once, its square doubles
    # that and adds its own: 5. One is left over for a hypot that is not rounded to the nearest.
    assert_within(run(case.make(), case.x)[0], size, 6 * 2.0**-53 * size)


@pytest.mark.parametrize("power", [1, 2])
def test_the_modulus_of_zero_has_gradient_zero(backend, power):
    _, dx, _ = run(Modulus(power), np.zeros((1, 2, 3)))
    assert np.array_equal(dx, np.zeros((1, 2, 3)))


def test_wrong_moduli_are_refused():
    with pytest.raises(ValueError, match="takes x of shape"):
        Modulus().forward(np.zeros((1, 2, 3, 4)))
    with pytest.raises(ValueError, match="power must be 1 or 2"):
        Modulus(3)
    with pytest.raises(ValueError, match="an even number of channels, not 3"):
        Modulus().forward(np.zeros((1, 3, 2)))


def test_decibel_values(backend):
    x = np.array([[1.0, 10.0, 0.1, 1e-12]])
    assert_within(run(Decibel(10, 1e-10), x)[0], [[0, 10, -10, -100]], DB)
    assert_within(run(Decibel(20, 1e-5), x)[0], [[0, 20, -20, -100]], DB)
    assert_within(run(Decibel(10, 1e-10, 15), x)[0], [[0, 10, -5, -5]], DB)


def test_each_sample_has_its_own_floor(backend):
    x = np.array([[1.0, 1e-4], [100.0, 1e-4]])
    assert_within(run(Decibel(10, 1e-10, 30), x)[0], [[0, -30], [20, -10]], DB)


def test_below_amin_and_floor_the_gradient_is_that_of_the_floor(backend):
    slope = 10 / np.log(10)
    x = np.array([[2.0, 1.0, 1e-12]])
    assert_within(run(Decibel(10, 1e-10), x)[1], [[slope / 2, slope, 0]], SLOPE)
    assert_within(run(Decibel(10, 1.0), x)[1], [[slope / 2, 0, 0]], SLOPE)  # at amin itself, too
    # exactly at the floor nothing was cut: 0 dB, 10 dB under 10 dB
    assert_within(run(Decibel(10, 1e-10, 10), np.array([[10.0, 1.0]]))[1], [[slope / 10, slope]], SLOPE)
    # cut at 15 dB: the third value is the greatest one minus 15 dB, and hands its gradient to it
    assert_within(run(Decibel(10, 1e-10, 15), x)[1], [[2 * slope / 2, slope, 0]], SLOPE)


@pytest.mark.parametrize(
    "wrong", [{"amin": 0}, {"amin": 1e-50}, {"ref": 0}, {"ref": -1.0}, {"ref": 1e-45}, {"top_db": -3}]
)
def test_what_decibel_cannot_take(wrong):
    with pytest.raises(ValueError, match="must be positive"):
        Decibel(**wrong)
