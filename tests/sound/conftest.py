"""Sounds to test with: real recordings where they lie beside the checkout, and files of every awkward kind."""

from pathlib import Path

import numpy as np
import pytest

ESC10 = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "ESC-10"
LENGTH = 20992


@pytest.fixture(scope="session")
def recordings():
    """One real recording of each class of ESC-10, 22.05 kHz."""
    from scratchnet.sound import load

    files = sorted(path for folder in ESC10.glob("0*") for path in sorted(folder.glob("*.ogg"))[7:8])
    if not files:
        pytest.skip("ESC-10 is not in ../shared/data")
    return [(path, load(path)) for path in files]


@pytest.fixture(scope="session")
def real_segments(recordings):
    """Segments (b, 20992) of real recordings, peak-normalised by clip."""
    from scratchnet.sound import normalize_peak

    return np.stack([normalize_peak(x)[i : i + LENGTH] for _, x in recordings for i in (0, 10496, 31488)])


@pytest.fixture
def rng():
    return np.random.default_rng(5)
