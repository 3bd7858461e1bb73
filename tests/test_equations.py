"""Equations 1 to 9 worked out again, word for word, beside the code; and docs/equations.md kept true.

The tests compute in double precision with the letters of the paper, which counts from 1. Two orders of summation of n
products differ by at most 2 n eps times the sum of the products' magnitudes: that is the tolerance throughout.
"""

import ast
import re
from pathlib import Path

import numpy as np
import pytest

from scratchnet import backend
from scratchnet.nets import heurinet, mstnet
from scratchnet.sound import log_melspectrogram, stft
from scratchnet.sound.convolution import mel_kernels, mel_spectrogram, power_spectrogram

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "equations.md").read_text(encoding="utf-8")
EPS = np.finfo(np.float64).eps
F, Z, L, H, U = 1024, 512, 1024, 60, 41
SAMPLES = 20992


# --- eq. 1 and 2: the Mel transform ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def segment():
    return np.random.default_rng(0).uniform(-1, 1, SAMPLES)


@pytest.fixture(scope="module")
def S(segment):
    """Eq. 1 to the letter, with all F bins: S[t-1, k-1]. Without padding, 40 windows fit into a segment."""
    l, k = np.arange(1, L + 1), np.arange(1, F + 1)  # noqa: E741
    v = np.exp(-2j * np.pi * np.outer(l - 1, k - 1) / L)
    windows = 1 + (SAMPLES - L) // Z
    return np.array([np.abs(segment[(t - 1) * Z + l - 1] @ v) ** 2 for t in range(1, windows + 1)])


def test_eq1(segment, S):
    half = F // 2 + 1
    # Beside the summation, the angles of v, up to 2 pi F, are rounded. |a|^2 - |b|^2 is at most 2 |a| |a - b|.
    size = max(np.abs(segment[t * Z : t * Z + L]).sum() for t in range(len(S)))
    tolerance = 2 * size * (2 * L + 2 * np.pi * F) * EPS * size
    by_fft = np.abs(stft(segment, n_fft=L, hop_length=Z, window="rectangular", center=False)) ** 2
    as_convolution = power_spectrogram(segment, n_fft=L, hop_length=Z, window="rectangular", center=False)
    for got in (by_fft, as_convolution):
        assert got.shape == (half, len(S))
        np.testing.assert_allclose(got, S[:, :half].T, rtol=0, atol=tolerance)
    mirror = S[:, F - np.arange(1, half - 1)]  # the other 511 bins say nothing new
    np.testing.assert_allclose(mirror, S[:, 1 : half - 1], rtol=0, atol=tolerance)


def slaney(hz):
    """Slaney's Mel scale: linear under 1 kHz, logarithmic above."""
    return np.where(hz < 1000, hz * 3 / 200, 15 + 27 * np.log(np.maximum(hz, 1) / 1000) / np.log(6.4))


def triangle(m, bins):
    """Delta_m, of area 1, drawn through its three corners, which bisection finds on the scale."""
    mel = slaney(11025) * np.arange(m - 1, m + 2) / (H + 1)
    low, high = np.zeros(3), np.full(3, 11025.0)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = np.where(slaney(middle) < mel, middle, low), np.where(slaney(middle) < mel, high, middle)
    return np.interp(bins, low, [0, 2 / (low[2] - low[0]), 0], left=0, right=0)


def test_eq2(segment, S):
    half = F // 2 + 1
    bins = np.arange(half) * 22050 / F
    triangles = [triangle(m, bins) for m in range(1, H + 1)]
    product = np.array([[S[t, :half] @ triangle for t in range(len(S))] for triangle in triangles])
    M = 10 * np.log10(product)
    # In single precision a sum of `half` products, none negative, has a relative error of at most half + 3 roundings.
    relative = (half + 3) * np.finfo(np.float32).eps
    tolerance = 10 / np.log(10) * relative + np.abs(M).max() * 2 * np.finfo(np.float32).eps
    by_fft = log_melspectrogram(
        segment, n_fft=L, hop_length=Z, n_mels=H, window="rectangular", center=False, top_db=None
    )
    np.testing.assert_allclose(by_fft, M, rtol=0, atol=tolerance)
    # As a convolution, in double precision. A corner, found twice on its own, may be off by some roundings of 11025 Hz;
    # that tilts a side of a triangle, 54 Hz wide at least, by so much of the triangle's height.
    as_convolution = mel_spectrogram(S[:, :half].T, mel_kernels(n_fft=F, n_mels=H, dtype=np.float64))
    heights = np.max(triangles, axis=1)[:, None]
    tolerance = heights * S[:, :half].sum(axis=1) * (16 * 11025 / 54 + 2 * half) * EPS
    assert (abs(as_convolution - product) <= tolerance).all()


# --- eq. 3 to 9: the networks' front ends ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def outputs(segment):
    """What leaves each layer of the two front ends, by its equation: {3: z1, 4: z1 pooled, ...}, and their weights."""
    before = backend.current()
    backend.use("reference")
    z, w = {}, {}
    for build, layer_of in (
        (heurinet, {3: "conv1", 4: "pool1", 5: "conv2", 6: "pool2"}),
        (mstnet, {7: "conv1", 8: "conv2", 9: "conv3"}),
    ):
        net = build(dtype="float64", rng=np.random.default_rng(1))
        x = segment[None, None]
        equation_of = {name: equation for equation, name in layer_of.items()}
        for name, layer in net.groups["deepfourier"]:
            equation = equation_of.get(name)
            if equation:
                last, z[f"into {equation}"] = equation, x
                w[equation] = layer.params.get("weight")
            x = layer.forward(x)
            z[last] = x  # an activation function belongs to the equation of the layer before it
    backend.use(before)
    return z, w


def slide(x, w, stride):
    """x * w: sum_l x[(t-1) stride + l] w[l], t = 1, 2, ... as long as the kernel fits."""
    return np.array([x[t * stride : t * stride + len(w)] @ w for t in range((len(x) - len(w)) // stride + 1)])


def maxpool(x, width, stride):
    return np.array([max(x[t : t + width]) for t in range(0, len(x) - width + 1, stride)])


def relu(x):
    return np.maximum(x, 0)


def check_convolution(outputs, equation, activation, stride, border=0):
    """z_q = activation(x_1 * w_q1 + x_2 * w_q2 + ...) for every 37th q."""
    z, w = outputs
    x, got = np.pad(z[f"into {equation}"][0], ((0, 0), (border, border))), z[equation][0]
    kernels = w[equation]
    assert len(got) == len(kernels)
    for q in range(0, len(kernels), 37):
        total = sum(slide(xp, wqp, stride) for xp, wqp in zip(x, kernels[q]))
        size = sum(slide(abs(xp), abs(wqp), stride) for xp, wqp in zip(x, kernels[q])).max()
        tolerance = 2 * kernels[q].size * EPS * size + EPS
        np.testing.assert_allclose(got[q], activation(total), rtol=0, atol=tolerance)


def check_maxpool(outputs, equation, width, stride):
    z, _ = outputs
    pooled = [maxpool(channel, width, stride) for channel in z[f"into {equation}"][0]]
    np.testing.assert_array_equal(z[equation][0], pooled)


def test_eq3(outputs):
    check_convolution(outputs, 3, relu, stride=10)


def test_eq4(outputs):
    check_maxpool(outputs, 4, 9, 3)


def test_eq5(outputs):
    check_convolution(outputs, 5, relu, stride=4)


def test_eq6(outputs):
    check_maxpool(outputs, 6, 9, 4)


def test_eq7(outputs):
    check_convolution(outputs, 7, relu, stride=Z, border=256)


def test_eq8(outputs):
    check_convolution(outputs, 8, relu, stride=1, border=1)


def test_eq9(outputs):
    check_convolution(outputs, 9, np.tanh, stride=1, border=1)


# --- the page --------------------------------------------------------------------------------------------------------

SECTIONS = {int(number): text for number, text in re.findall(r"^## Eq\. (\d):(.*?)(?=^## |\Z)", PAGE, re.M | re.S)}
REFERENCE = re.compile(r"`(\w+)` in \[([^\]]+)\]\(\.\./([^)]+)\)(?:: `([^`]+)`)?")


def test_the_page_has_every_equation():
    assert sorted(SECTIONS) == list(range(1, 10))


@pytest.mark.parametrize("name, shown, path, line", sorted(set(REFERENCE.findall(PAGE))))
def test_every_name_and_line_on_the_page_is_there(name, shown, path, line):
    assert shown == path
    source = (ROOT / path).read_text(encoding="utf-8")
    functions = {node.name: node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)}
    assert name in functions, f"{path} has no function {name}"
    code = ast.get_source_segment(source, functions[name])
    assert " ".join(line.split()) in " ".join(code.split()), f"{name} in {path} has no such line"


@pytest.mark.parametrize("equation", range(1, 10))
def test_every_equation_names_its_test(equation):
    assert f"| `test_eq{equation}` in [" in SECTIONS[equation]


@pytest.mark.parametrize("equation", range(3, 10))
def test_the_shapes_on_the_page_are_those_of_the_networks(equation, outputs):
    z, _ = outputs
    into, out = (f"(N, {', '.join(map(str, a.shape[1:]))})" for a in (z[f"into {equation}"], z[equation]))
    assert f"| shape | `{into}` → `{out}` |" in SECTIONS[equation]


def test_the_shapes_of_the_mel_transform_are_those_of_the_code(segment):
    spectrum = stft(segment, n_fft=L, hop_length=Z)[:, :U]
    mel = log_melspectrogram(segment, n_fft=L, hop_length=Z, n_mels=H, n_frames=U)
    assert f"`(N, {SAMPLES})` → `(N, {spectrum.shape[0]}, {spectrum.shape[1]})`" in SECTIONS[1]
    assert f"`(N, {spectrum.shape[0]}, {spectrum.shape[1]})` → `(N, {mel.shape[0]}, {mel.shape[1]})`" in SECTIONS[2]
