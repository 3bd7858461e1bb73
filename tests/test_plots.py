import numpy as np
import pytest
from matplotlib import image as matplotlib_image

from scratchnet import plots

SOUND = {"sample_rate": 22050, "hop_length": 512, "n_mels": 60}


def row(phase, epoch, accuracy, loss):
    return {
        "phase": phase,
        "epoch": epoch,
        "train_loss": loss,
        "valid_loss": 1.1 * loss,
        "train_accuracy": accuracy,
        "valid_balanced_accuracy": accuracy,
    }


def inked(path):
    """How much of the picture is not white."""
    image = matplotlib_image.imread(path)[..., :3]
    return float((image < 0.99).any(axis=2).mean())


def test_curves_of_one_phase_of_all_phases_and_with_forcing(tmp_path):
    one = [row(0, 1, 0.3, 2.0)]
    forcing = [row("forcing", epoch, None, 0.1 / epoch) for epoch in (1, 2)]
    everything = [row(0, 1, 0.3, 2.0), row(0, 2, 0.5, 1.0), *forcing, row(1, 1, 0.2, 2.2), row(3, 1, 0.8, 0.5)]
    for name, rows in {"one": one, "forcing": forcing, "everything": everything}.items():
        plots.save_curves(tmp_path / f"{name}.png", rows)
        assert inked(tmp_path / f"{name}.png") > 0.005


def save_confusion(path, confusion, names):
    plots.save_confusions(path, {"test set": confusion}, names)


def test_a_confusion_matrix_is_shaded_by_shares_of_the_true_class(tmp_path):
    names = [f"class {number}" for number in range(10)]
    save_confusion(tmp_path / "even.png", np.full((10, 10), 3), names)
    save_confusion(tmp_path / "many.png", np.full((10, 10), 300), names)  # the same shares
    save_confusion(tmp_path / "right.png", np.diag(np.arange(10)), names)  # class 0 has no observation
    even, many, right = (
        matplotlib_image.imread(tmp_path / f"{name}.png")[..., :3].mean(axis=(0, 1))
        for name in ("even", "many", "right")
    )
    assert np.abs(even - many).max() < 0.02  # but for the digits
    assert np.abs(even - right).max() > 0.02


def test_fifty_classes_fit(tmp_path):
    save_confusion(tmp_path / "fifty.png", np.eye(50, dtype=int), [f"{number}" for number in range(50)])
    height, width, _ = matplotlib_image.imread(tmp_path / "fifty.png").shape
    assert max(height, width) < 2500


@pytest.mark.parametrize(
    "weights",
    [
        {"deepfourier.conv1.weight": (80, 1, 155)},
        {"deepfourier.conv1.weight": (512, 1, 1024)},
        {"deepfourier.conv1.weight": (3, 1, 5)},
        {"deepfourier.conv1.weight": (3, 1, 3)},
        {"piczak.conv1.weight": (80, 2, 57, 6)},
        {"piczak.conv1.weight": (7, 1, 57, 6)},
    ],
)
def test_kernels_of_every_first_layer_are_drawn(tmp_path, weights):
    arrays = {name: np.random.default_rng(0).normal(size=shape) for name, shape in weights.items()}
    arrays["piczak.dense1.bias"] = np.zeros(3)
    plots.save_kernels(tmp_path / "kernels.png", arrays, SOUND)
    assert inked(tmp_path / "kernels.png") > 0.02


def test_kernels_of_a_single_sample_are_dots(tmp_path):
    plots.save_kernels(tmp_path / "dots.png", {"deepfourier.conv1.weight": np.ones((80, 1, 1))}, SOUND)
    assert inked(tmp_path / "dots.png") > 0.005


def test_kernels_that_are_all_zero_are_drawn_too(tmp_path):
    plots.save_kernels(tmp_path / "a.png", {"deepfourier.conv1.weight": np.zeros((8, 1, 9))}, SOUND)
    plots.save_kernels(tmp_path / "b.png", {"piczak.conv1.weight": np.zeros((8, 1, 57, 6))}, SOUND)
