"""Parameters that someone else puts into a layer, as MelNet's and Piczak's are: those that do not fit are refused."""

import re

import numpy as np
import pytest

from scratchnet.layers import BatchNorm1D, BatchNorm2D, Conv1D, Conv2D, Dense, ReLU
from scratchnet.network import Network

LAYERS = {
    "conv1d": (Conv1D(2, 4, 3), (1, 2, 50)),
    "conv2d": (Conv2D(2, 4, 3), (1, 2, 9, 8)),
    "dense": (Dense(3, 5), (2, 3)),
    "batchnorm1d": (BatchNorm1D(3), (4, 3)),
    "batchnorm2d": (BatchNorm2D(3), (2, 3, 4, 5)),
}
every = pytest.mark.parametrize("name", LAYERS)


def refused(backend, name, key, value, words):
    """By the layer itself, and by a network, which runs some layers in one pass."""
    layer, shape = LAYERS[name]
    before, x = layer.params, np.ones(shape, "float32")
    layer.params = {**before, key: value}
    try:
        for run in (layer, Network([("all", [("one", layer), ("relu", ReLU())])])):
            with pytest.raises(ValueError, match=words):
                run.forward(x)
    finally:
        layer.params = before
    layer.forward(x)


@every
@pytest.mark.parametrize("key", ["weight", "bias"])
def test_of_another_shape(backend, name, key):
    if backend == "cuda":
        pytest.skip("the arrays here are NumPy's")
    layer, right = LAYERS[name][0], LAYERS[name][0].params[key]
    others = [(*right.shape[:-1], right.shape[-1] + 1), (1, *right.shape[1:]), right.shape[:-1], (*right.shape, 1)]
    if right.ndim > 1:  # far beyond what is there
        others += [(right.shape[0], 1, *right.shape[2:]), (right.shape[0], 5_000_000, *right.shape[2:])]
    for shape in others:
        words = f"{layer!r} takes a {key} of shape {right.shape}, and has one of {shape}"
        refused(backend, name, key, np.broadcast_to(np.float32(0), shape), re.escape(words))


@every
@pytest.mark.parametrize(
    "key, dtype", [("weight", "int64"), ("weight", "float16"), ("bias", "float64"), ("bias", "int32")]
)
def test_of_another_type(backend, name, key, dtype):
    if backend == "cuda":
        pytest.skip("the arrays here are NumPy's")
    refused(backend, name, key, LAYERS[name][0].params[key].astype(dtype), f"not a {key} of {dtype}")


@pytest.mark.parametrize("name", ["batchnorm1d", "batchnorm2d"])
@pytest.mark.parametrize("key", ["running_mean", "running_var"])
@pytest.mark.parametrize("shape", [(1,), (2,), (3, 1), ()])
def test_running_statistics_of_another_shape(backend, name, key, shape):
    if backend == "cuda":
        pytest.skip("the arrays here are NumPy's")
    kind, x = type(LAYERS[name][0]), np.ones(LAYERS[name][1], "float32")
    layer = kind(3)
    layer.buffers[key] = np.ones(shape, "float32")
    with pytest.raises(ValueError, match=f"takes a {key} of shape"):
        layer.forward(x)


def test_what_is_no_array_is_told(backend):
    layer, norm = Conv1D(2, 4, 3), BatchNorm1D(4)
    del norm.params["weight"]
    net = Network([("all", [("conv", layer), ("norm", norm)])])
    with pytest.raises(ValueError, match="takes a weight of shape .*, and has none"):
        net.forward(np.ones((1, 2, 50), "float32"))
    layer.params["weight"] = [1.0]
    with pytest.raises(ValueError, match="takes a weight of shape .*, and has no array"):
        layer.forward(np.ones((1, 2, 50), "float32"))


def test_a_bias_may_be_left_out_and_a_weight_not(backend):
    layer = Dense(3, 5)
    del layer.params["bias"]
    assert layer.forward(np.ones((2, 3), "float32")).shape == (2, 5)
    del layer.params["weight"]
    with pytest.raises(ValueError, match="takes a weight of shape .*, and has none"):
        layer.forward(np.ones((2, 3), "float32"))


@pytest.mark.parametrize("kind", [BatchNorm1D, BatchNorm2D])
@pytest.mark.parametrize("dtype", ["int32", "float16"])
def test_a_normalisation_of_a_type_that_no_layer_computes_in_is_refused(kind, dtype):
    with pytest.raises(ValueError, match="dtype must be float32 or float64"):
        kind(3, dtype=dtype)


@pytest.mark.parametrize("layer, shape", [*LAYERS.values(), (ReLU(), (2, 2))], ids=[*LAYERS, "relu"])
def test_complex_numbers_are_refused(layer, shape):
    """Their imaginary part would be lost."""
    for run in (layer, Network([("all", [("one", layer)])])):
        with pytest.raises(ValueError, match="takes real numbers, not complex64"):
            run.forward(np.ones(shape, "complex64"))
