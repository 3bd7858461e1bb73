"""How a window is cut into vectors: what the sparse gradients read, and write back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchnet.kernels.cpu import lowering

WIDTHS = [(16, 5), (8, 10), (4, 20), (2, 3), (8, 1)]  # lanes, vectors of a chunk


@pytest.mark.parametrize("lanes, together", WIDTHS)
@given(data=st.data())
def test_every_tap_once_and_no_number_twice(lanes, together, data):
    kh, kw, channels = (data.draw(st.integers(1, most)) for most in (6, 20, 5))
    height, width = kh + data.draw(st.integers(0, 3)), kw + data.draw(st.integers(0, 40))
    geometry = lowering.lower(channels, (height, width), (kh, kw), (1, 1), ((0, 0), (0, 0)))
    starts, taps = lowering.chunks(geometry, lanes, together)
    assert starts.shape[1] == together and taps.shape == (starts.size * lanes,)

    window = np.arange(geometry.sample_size).reshape(height, width * channels)[:kh, : kw * channels].reshape(-1)
    places = np.add.outer(starts.reshape(-1), np.arange(lanes)).reshape(-1)
    assert sorted(taps[taps >= 0]) == list(range(len(window)))
    assert np.array_equal(places[taps >= 0], window[taps[taps >= 0]])
    assert len(set(places)) == len(places)  # or what one vector adds would be lost when another is stored
    # A whole chunk past the window's end would be work for nothing, and might lie beyond the buffer.
    assert places.max() - window[-1] < lanes * together and places.max() - window[-1] <= lowering.SLACK


def test_rows_of_five_taps_are_one_chunk():
    """SB-CNN's first layer: five vectors that lie a row apart, not five chunks of five."""
    geometry = lowering.lower(1, (60, 41), (5, 5), (1, 1), ((0, 0), (0, 0)))
    assert lowering.chunks(geometry, 16, 5)[0].tolist() == [[0, 41, 82, 123, 164]]
    assert lowering.chunks(geometry, 8, 10)[0].tolist() == [[0, 41, 82, 123, 164, 172, 180, 188, 196, 204]]


def test_where_two_vectors_of_a_run_would_reach_into_the_next_they_run_on():
    """17 taps take two vectors of 16, and rows are 30 apart: though its gaps are wide, the window is one stretch."""
    geometry = lowering.lower(1, (4, 30), (3, 17), (1, 1), ((0, 0), (0, 0)))
    assert lowering.chunks(geometry, 16, 5)[0].tolist() == [[0, 16, 32, 48, 64]]
    wider = lowering.lower(1, (4, 40), (3, 17), (1, 1), ((0, 0), (0, 0)))
    assert lowering.chunks(wider, 16, 6)[0].tolist() == [[0, 16, 40, 56, 80, 96]]
