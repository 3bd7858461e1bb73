"""How a convolution is cut into tiles: what fits shared memory, and all ways to cut."""

import pytest

from scratchnet.kernels.cuda.conv_forward_plan import room_for
from scratchnet.kernels.cuda.conv_tiling import Tiling, best_tiling, tilings


@pytest.mark.parametrize("window, patches", [(None, 64), (600, 0)])
def test_room(window, patches):
    """As many stages as shared memory holds, then as many channels a round, to the byte."""
    tables = 2 * 64 * 16
    slices = {n: tables + 4 * (n * (48 + patches) * 16 + (window or 0)) for n in (4, 3, 2)}
    results = {channels: tables + 4 * 64 * (channels + 4) for channels in (48, 32)}
    every = [(n, channels, max(slices[n], results[channels])) for n in slices for channels in results]
    for size in {size for *_, size in every}:
        assert room_for(48, 64, 4, size, window) == next(one for one in every if one[2] <= size)
    assert room_for(48, 64, 4, every[-1][2] - 1, window) is None


def test_tilings():
    """All that fit, each with as many tiles as hold all groups."""
    found = list(tilings(3, (5, 7), ((3, 2), (2, 2)), 64))
    assert {(t.tile_rows, t.tile_columns) for t in found} == {
        (rows, columns) for rows in range(1, 6) for columns in range(1, 8) if (2 * rows + 1) * 2 * columns <= 64
    }
    for t in found:
        span = (2 * t.tile_rows + 1) * 2 * t.tile_columns
        assert t.size == 64 and t.groups * span <= 64 < (t.groups + 1) * span
        groups = len(range(0, 5, t.tile_rows)) * len(range(0, 7, t.tile_columns)) * 3
        assert (t.tiles - 1) * t.groups < groups <= t.tiles * t.groups
    assert best_tiling(3, (5, 7), ((3, 2), (2, 2)), [40, 64]) in [
        *found, *tilings(3, (5, 7), ((3, 2), (2, 2)), 40)
    ]  # fmt: skip
    assert best_tiling(1, (1, 1), ((5, 9), (1, 1)), [32, 44]) is None
    assert best_tiling(1, (1, 1), ((5, 9), (1, 1)), [45]) == Tiling(45, 1, 1, 1, 1)
