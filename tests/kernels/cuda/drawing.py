"""What the tests of CUDA kernels draw: random numbers with kinks among them, shapes and types."""

import numpy as np
import pytest
from hypothesis import strategies as st

REALS = pytest.mark.parametrize("dtype", [np.float32, np.float64])
UNIT = {np.float32: 2.0**-24, np.float64: 2.0**-53}
shapes = st.lists(st.integers(1, 7), min_size=1, max_size=4).map(tuple)


def draw(shape, dtype=np.float32, seed=0):
    x = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    x.reshape(-1)[seed % 5 :: 5] = 0  # the kinks; where a gradient is drawn with another seed, it is not 0
    return x
