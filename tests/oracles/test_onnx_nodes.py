"""The published node cases of the ONNX project: those in our range pass, the others are listed with the reason."""

import importlib

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="ONNX is an oracle, not a dependency")

from scratchnet import backend as backends  # noqa: E402
from scratchnet import layers  # noqa: E402
from scratchnet.layers.geometry import pad_same  # noqa: E402
from scratchnet.losses import SoftmaxCrossEntropy  # noqa: E402
from scratchnet.optimizers import NesterovSGD  # noqa: E402
from tests.support import assert_within, rounding  # noqa: E402

FILES = ["abs", "adam", "batch_normalization", "conv", "gemm", "globalaveragepool", "maxpool", "momentum", "relu"]
FILES += ["softmax_cross_entropy_loss", "tanh"]
OPERATIONS = {"Abs", "Adam", "BatchNormalization", "Conv", "Gemm", "GlobalAveragePool", "MaxPool", "Momentum", "Relu"}
OPERATIONS |= {"SoftmaxCrossEntropyLoss", "Tanh"}


def published_cases():
    """By name; without those called …_expanded, the same numbers for the operation written out in smaller ones."""
    node = importlib.import_module("onnx.backend.test.case.node")
    for file in FILES:
        importlib.import_module(f"onnx.backend.test.case.node.{file}")
    cases = {case.name: case for case in node._NodeTestCases if case.model.graph.node[0].op_type in OPERATIONS}
    return {name: case for name, case in cases.items() if "_expanded" not in name}


CASES = published_cases()

THREE_D = "three-dimensional: sound and its images have one or two"
DILATED = "dilated windows: no network of the paper has them"
STANDARD = "momentum without Nesterov's look-ahead: the paper trains with it (§2.3.3)"
REDUCTION = "another reduction than the mean over the batch"
BIASED = "a running variance that divides by the count: ours divides by the count less one, as PyTorch's"
WEIGHTED = "class weights: the paper balances by sampling, if at all (§2.3.3)"
IGNORED = "an ignored class: every segment has a label"
OUT_OF_RANGE = {
    "test_maxpool_2d_uint8": "whole numbers: layers compute in float32 and float64",
    "test_maxpool_2d_pads": "padding over half the kernel: windows could hold nothing but padding (PyTorch's rule)",
    "test_maxpool_with_argmax_2d_precomputed_strides": "indices counted by columns: ours are counted by rows",
    "test_maxpool_2d_dilations": DILATED,
    "test_maxpool_3d_default": THREE_D,
    "test_maxpool_3d_dilations": THREE_D,
    "test_maxpool_3d_dilations_use_ref_impl": THREE_D,
    "test_maxpool_3d_dilations_use_ref_impl_large": THREE_D,
    "test_gemm_default_matrix_bias": "a bias for every element: Dense has one for every output",
    "test_batchnorm_example_training_mode": BIASED,
    "test_batchnorm_epsilon_training_mode": BIASED,
    "test_momentum": STANDARD,
    "test_momentum_multiple": STANDARD,
    **{
        name: reason
        for name in CASES
        for word, reason in (("_ii", IGNORED), ("weight", WEIGHTED), ("_none", REDUCTION), ("_sum", REDUCTION))
        if name.startswith("test_sce") and word in name.replace("no_weight", "")
    },
}


def attributes(case):
    return {a.name: onnx.helper.get_attribute_value(a) for a in case.model.graph.node[0].attribute}


def padding_of(given, size, kernel, stride):
    """ONNX's pads (all starts, then all ends) or auto_pad, as pairs."""
    automatic = given.get("auto_pad", b"NOTSET").decode()
    if automatic.startswith("SAME"):
        pairs = [pad_same(*axis) for axis in zip(size, kernel, stride)]
        return [pair[::-1] for pair in pairs] if automatic == "SAME_LOWER" else pairs
    pads = given.get("pads", [0] * 2 * len(kernel))
    return list(zip(pads[: len(kernel)], pads[len(kernel) :]))


def forward(layer, *x):
    layer.params = {name: backends.asarray(value) for name, value in layer.params.items()}
    return backends.to_numpy(layer.forward(*map(backends.asarray, x)))


def conv(given, x, weight):
    kernel, stride = weight.shape[2:], tuple(given.get("strides", (1, 1)))
    padding = tuple(padding_of(given, x.shape[2:], kernel, stride))
    layer = layers.Conv2D(weight.shape[1], weight.shape[0], kernel, stride, padding, bias=False)
    layer.params["weight"] = weight
    return [forward(layer, x)]


def batchnorm(given, x, scale, shift, mean, var):
    layer = layers.BatchNorm2D(len(scale), eps=given.get("epsilon", 1e-5))
    layer.params = {"weight": scale, "bias": shift}
    layer.buffers = {"running_mean": backends.asarray(mean), "running_var": backends.asarray(var)}
    return [forward(layer, x)]


def global_avgpool(given, x):
    return [forward(layers.GlobalAveragePool2D(), x)[:, :, None, None]]


def maxpool(given, x):
    kernel = tuple(given["kernel_shape"])
    stride = tuple(given.get("strides", [1] * len(kernel)))
    padding = padding_of(given, x.shape[2:], kernel, stride)
    ceil_mode = bool(given.get("ceil_mode", 0))
    if len(kernel) == 1:
        layer = layers.MaxPool1D(kernel[0], stride[0], padding[0], ceil_mode)
    else:
        layer = layers.MaxPool2D(kernel, stride, tuple(padding), ceil_mode)
    y = forward(layer, x)
    return [y, backends.to_numpy(layer._argmax)]  # one image, one channel: our flat place in the map is ONNX's


def gemm(given, a, b, c=0.0):
    """alpha·A·B + beta·C, as Dense with the weight alpha·Bᵀ and the bias beta·C."""
    a, b = (a.T if given.get("transA") else a), (b.T if given.get("transB") else b)
    layer = layers.Dense(b.shape[0], b.shape[1])
    layer.params["weight"] = np.float32(given.get("alpha", 1)) * b.T
    layer.params["bias"] = np.float32(given.get("beta", 1)) * np.broadcast_to(c, (1, b.shape[1]))[0].astype("float32")
    return [forward(layer, a)]


def cross_entropy(given, scores, target):
    """(N, C, D…): the positions D count as samples."""
    loss = SoftmaxCrossEntropy()
    rows = np.moveaxis(scores, 1, -1).reshape(-1, scores.shape[1])
    value = loss.forward(backends.asarray(rows), backends.asarray(target.reshape(-1)))
    log_p = np.log(backends.to_numpy(loss.probabilities))
    shape = (scores.shape[0], *scores.shape[2:], scores.shape[1])
    return [backends.to_numpy(value), np.moveaxis(log_p.reshape(shape), -1, 1)]


def nesterov(given, rate, t, x, gradient, velocity):
    optimizer = NesterovSGD(float(rate), given["alpha"], given["norm_coefficient"])
    optimizer.load_state_dict({"steps": t, "velocity.x": velocity})
    params = {"x": backends.asarray(x.copy())}
    optimizer.step(params, {"x": backends.asarray(gradient)})
    return [backends.to_numpy(params["x"]), optimizer.state_dict()["velocity.x"]]


def adam(given, rate, t, *tensors):
    """At T = 0 ONNX corrects no bias, as Kingma & Ba's form does after infinitely many steps: 10⁹ of them here."""
    assert t == 0
    count = len(tensors) // 4
    xs, gradients, ms, vs = (tensors[i * count : (i + 1) * count] for i in range(4))
    xs, ms, vs = ([backends.asarray(a.copy()) for a in arrays] for arrays in (xs, ms, vs))
    for x, gradient, m, v in zip(xs, map(backends.asarray, gradients), ms, vs):
        backends.kernels_of(x).adam_steps(
            [x], [gradient], [m], [v], 10**9, float(rate), given["alpha"], given["beta"], given["epsilon"],
            given["norm_coefficient"],
        )  # fmt: skip
    return [backends.to_numpy(a) for a in (*xs, *ms, *vs)]


RUN = {
    "Abs": lambda given, x: [forward(layers.Abs(), x)],
    "Adam": adam,
    "BatchNormalization": batchnorm,
    "Conv": conv,
    "Gemm": gemm,
    "GlobalAveragePool": global_avgpool,
    "MaxPool": maxpool,
    "Momentum": nesterov,
    "Relu": lambda given, x: [forward(layers.ReLU(), x)],
    "SoftmaxCrossEntropyLoss": cross_entropy,
    "Tanh": lambda given, x: [forward(layers.Tanh(), x)],
}


def test_the_list_of_exceptions_is_not_stale():
    assert set(OUT_OF_RANGE) <= set(CASES)
    assert {case.model.graph.node[0].op_type for name, case in CASES.items() if name not in OUT_OF_RANGE} == OPERATIONS


@pytest.mark.parametrize("name", [name for name in CASES if name not in OUT_OF_RANGE])
def test_case(name, backend):
    case = CASES[name]
    for inputs, outputs in case.data_sets:
        found = RUN[case.model.graph.node[0].op_type](attributes(case), *inputs)
        for ours, theirs in zip(found, outputs):  # fewer outputs than ours where the case asks for fewer
            # Float32, at most 25 products a sum (whole numbers where it is a convolution), log and exp to 4 units.
            assert_within(ours, theirs, rounding("float32", 35) * max(1.0, np.abs(theirs).max(initial=0)))
