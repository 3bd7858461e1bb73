"""What layers refuse by themselves, they refuse in one pass."""

import numpy as np
import pytest

from scratchnet import layers
from scratchnet.network import Network


@pytest.mark.parametrize("conv, pool, shape", [
    (layers.Conv1D(1, 2, 3), layers.MaxPool2D((1, 3)), (1, 1, 20)),
    (layers.Conv2D(1, 2, 3), layers.MaxPool1D(3), (1, 1, 8, 20)),
])  # fmt: skip
def test_a_pool_of_other_dimensions_is_refused_as_by_the_layers(conv, pool, shape):
    for fused in (True, False):
        with pytest.raises(ValueError, match="takes x of shape"):
            Network([("g", [("c", conv), ("p", pool)])], fused=fused).forward(np.zeros(shape, np.float32))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [1, 3])
def test_a_normalisations_parameters_of_another_shape_are_refused_as_by_the_layer(training, size):
    norm = layers.BatchNorm1D(2)
    norm.params["weight"] = np.ones(size, np.float32)
    for fused in (True, False):
        net = Network([("g", [("c", layers.Conv1D(1, 2, 3)), ("n", norm), ("r", layers.ReLU())])], fused=fused)
        with pytest.raises(ValueError, match=r"takes a weight of shape \(2,\), and has one of"):
            net.forward(np.zeros((3, 1, 20), np.float32), training=training)
