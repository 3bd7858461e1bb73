"""When Winograd's filtering is taken, and what it costs in rounding; that it is right stands in
test_equal_the_reference.py."""

import numpy as np
import pytest

from scratchnet.kernels import cpu, reference
from scratchnet.kernels.cpu import lowering, winograd


@pytest.mark.parametrize(
    "shape, out_channels, kernel, stride, relu, taken",
    [
        ((100, 512, 1, 41), 256, (1, 3), (1, 1), False, True),
        ((100, 16, 1, 120), 256, (1, 6), (1, 2), False, True),
        ((100, 512, 1, 41), 31, (1, 3), (1, 1), True, False),
        ((100, 31, 1, 41), 256, (1, 3), (1, 1), True, False),
        ((10, 512, 1, 41), 256, (1, 3), (1, 1), True, False),
        ((100, 512, 1, 41), 256, (1, 4), (1, 1), True, False),
        ((100, 1, 1, 20480), 512, (1, 1024), (1, 512), True, True),  # MSTNet's
        ((100, 1, 1, 20480), 512, (1, 1024), (1, 512), False, False),  # MelNet's, which is to stay exact
    ],
)
def test_two_outputs_at_a_time_where_it_pays(shape, out_channels, kernel, stride, relu, taken):
    geometry = lowering.lower(shape[1], shape[2:], kernel, stride, ((0, 0), (0, 0)))
    assert winograd.pays(geometry, shape[0], out_channels, stride, relu) == taken


# The sum of b·B products, with partial sums of variance k after k of them, has a squared error like Σk = (b·B)²/2.
# Three blocks of B: 4.5 B² plainly; here s and d have B products of variance 1.5 each, 0.75 B² both, and the last B
# add to sums of variance 3 B: 3 B². That is the same. Two blocks: 2 B² plainly; here s has B products of variance 2,
# 1 B², and the last B add to sums of variance 2 B: 2 B². That is √1.5 times the error. What the factors' own sums round
# is of order B: a fifth more is left for it.
@pytest.mark.parametrize("blocks, channels, stride, more", [(3, 64, 1, 1.2), (2, 1, 64, 1.2 * np.sqrt(1.5))])
def test_two_outputs_at_a_time_round_hardly_worse(blocks, channels, stride, more):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, channels, 1, 41 * stride), np.float32)
    weight = rng.standard_normal((64, channels, 1, blocks * stride), np.float32)
    arguments = None, (1, stride), ((0, 0), (0, 0))
    right = reference.conv2d_forward(x.astype(float), weight.astype(float), *arguments)
    errors = []
    for least in (1, np.inf):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(winograd, "POSITIONS", least)
            y, _ = cpu.conv_block_forward(x, weight, *arguments, "relu", None)
        errors.append(np.sqrt(np.mean((y - right)[right > 0] ** 2)))
    assert errors[0] != errors[1] and errors[0] < more * errors[1]


# Here both ways add up as much: of P pairs, plainly 2P products, (2P)²/2 = 2 P². Of three blocks, ∂s and ∂d have P
# products of variance 1 each, P²/2 both, and P of variance 2 come to ∂g₀ and ∂g₂, P² each; none to ∂g₁. Of two, ∂s has
# P of variance 2, and so has what comes to ∂g₀ and ∂g₁.
@pytest.mark.parametrize("blocks, channels, stride", [(3, 64, 1), (2, 1, 64)])
def test_the_weights_gradient_of_two_outputs_at_a_time_rounds_about_the_same(blocks, channels, stride):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, channels, 1, 41 * stride), np.float32)
    geometry = (1, blocks * stride), (1, stride), ((0, 0), (0, 0))
    dy = rng.standard_normal((60, 64, 1, 42 - blocks), np.float32)
    right = reference.conv2d_backward_weight(x.astype(float), dy.astype(float), *geometry)[0]
    errors = []
    for least in (1, np.inf):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(winograd, "POSITIONS", least)
            errors.append(np.std(cpu.conv2d_backward_weight(x, dy, *geometry)[0] - right))
    assert errors[0] != errors[1] and errors[0] < 1.2 * errors[1]
