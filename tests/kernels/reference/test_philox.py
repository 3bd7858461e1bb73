"""The random numbers behind dropout: Philox4x32-10, written a second time in whole numbers, one counter at a time."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scratchnet.kernels import reference

LOW = 0xFFFFFFFF


def philox4x32_10(counter, key):
    """Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3": ten rounds of two 32×32-bit products."""
    c, k = list(counter), list(key)
    for _ in range(10):
        first, second = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(second >> 32) ^ c[1] ^ k[0], second & LOW, (first >> 32) ^ c[3] ^ k[1], first & LOW]
        k = [(k[0] + 0x9E3779B9) & LOW, (k[1] + 0xBB67AE85) & LOW]
    return c


@pytest.mark.parametrize(
    "counter, key, words",
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((LOW,) * 4, (LOW,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_the_authors_known_answers(counter, key, words):
    """The vectors that come with Random123, its authors' library: they hold the second writing to the published one."""
    assert tuple(philox4x32_10(counter, key)) == words


@example(seed=2**64 - 1, offset=2**64 - 1, blocks=2)  # every bit counts
@given(seed=st.integers(0, 2**64 - 1), offset=st.integers(0, 2**64 - 1), blocks=st.integers(1, 9))
def test_the_reference_draws_them(seed, offset, blocks):
    expected = [philox4x32_10((i, 0, offset & LOW, offset >> 32), (seed & LOW, seed >> 32)) for i in range(blocks)]
    assert np.array_equal(reference.philox(blocks, seed, offset), expected)


@given(seed=st.integers(0, 2**63 - 1), offset=st.integers(0, 99), p=st.floats(0.001, 0.999), size=st.integers(1, 30))
def test_element_i_takes_word_i(seed, offset, p, size):
    """Kept where its word is at least round(p · 2³²)."""
    words = [w for i in range(8) for w in philox4x32_10((i, 0, offset, 0), (seed & LOW, seed >> 32))]
    expected = [word >= round(p * 2**32) for word in words[:size]]
    assert np.array_equal(reference.dropout_mask((size,), p, seed, offset), expected)
