"""Figures 7 and 8: kernels of the first layer, over time and as spectra."""

import numpy as np
import pytest

from experiments.figures import kernels, spectra
from experiments.figures.runs import one
from scratchnet.training.files import read_arrays

RATE, WIDTH = 22050, 155


@pytest.fixture
def waves():
    """Kernels of one frequency each, out of order: 20, 5, 40, 0 periods in their width, one of them weak."""
    time = np.arange(WIDTH) / WIDTH
    return np.stack([np.cos(2 * np.pi * periods * time + 0.3) for periods in (20, 5, 40)] + [np.full(WIDTH, 0.1)])


def test_dominant_frequencies_are_those_put_in(waves):
    assert spectra.dominant(waves, RATE) == pytest.approx(np.array([20, 5, 40, 0]) * RATE / WIDTH)
    assert spectra.by_frequency(waves).tolist() == [3, 1, 0, 2]


def test_spectra_are_sorted_and_scaled(waves):
    image = spectra.image(waves)
    assert image.shape == (1 + WIDTH // 2, 4)
    assert image.argmax(axis=0).tolist() == [0, 5, 20, 40]
    np.testing.assert_allclose(image.max(axis=0), 1)
    absolute = spectra.image(waves, absolute=True)
    # A cosine of amplitude 1 has the magnitude WIDTH / 2, the constant 0.1 has WIDTH / 10.
    np.testing.assert_allclose(absolute.max(axis=0), [0.2, 1, 1, 1], atol=1e-9)
    assert np.isfinite(spectra.image(np.zeros((2, 8)))).all()


def test_coarse_spectra_keep_every_peak(waves):
    image = np.zeros((513, 3))
    image[[0, 300, 512], [0, 1, 2]] = 1
    rows = spectra.coarse(image)
    assert len(rows) <= spectra.MAX_ROWS
    step = -(-513 // spectra.MAX_ROWS)
    assert rows.argmax(axis=0).tolist() == [0, 300 // step, 512 // step]
    assert rows.max(axis=0).tolist() == [1, 1, 1]


def test_kernels_are_picked_evenly_by_frequency(waves):
    shown, hertz = kernels.picked(waves, 3, RATE)
    assert hertz == pytest.approx(np.array([0, 20, 40]) * RATE / WIDTH)  # lowest, middle (of an even number), highest
    assert np.array_equal(shown[2], waves[2])
    assert len(kernels.picked(waves, 99, RATE)[0]) == 4


def test_kernels_are_those_of_the_run(runs):
    run = one(runs / "heurinet")
    stored = read_arrays(runs / "heurinet" / "checkpoint" / "phase-2.safetensors")[0]["deepfourier.conv1.weight"]
    assert np.array_equal(run.kernels("2"), stored[:, 0])
    assert run.kernels().shape == (80, WIDTH)
    assert not np.array_equal(run.kernels(), run.kernels("1"))


@pytest.mark.parametrize("name", ["heurinet", "mstnet"])
def test_fig_7_and_8_are_drawn(runs, draw, name):
    draw(kernels.main, runs / name, "--count", 6, "--phase", 1)
    draw(spectra.main, runs / name)


def test_fig_8_has_a_panel_for_each_run(runs, draw):
    alone, _ = draw(spectra.main, runs / "heurinet", "--absolute")
    both, _ = draw(spectra.main, runs)
    assert both.shape[1] > 1.3 * alone.shape[1]


def test_bad_input_is_one_line(runs, draw):
    assert "--count" in draw(kernels.main, runs / "heurinet", "--count", 0, status=2)
    assert "no phase 9" in draw(kernels.main, runs / "heurinet", "--phase", 9, status=2)
    assert "hears no waveform" in draw(kernels.main, runs / "heurinet", "--phase", 0, status=2)
