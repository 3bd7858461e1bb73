"""The layers against those of PyTorch, float64, on random shapes; and at the edges: NaN, ties, ceil_mode."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="PyTorch is an oracle, not a dependency")

from torch.nn import functional as F  # noqa: E402

from scratchnet.layers import BatchNorm1D, GlobalAveragePool2D, MaxPool1D, MaxPool2D, ReLU, Tanh  # noqa: E402
from scratchnet.layers.geometry import pad_1d, pad_2d  # noqa: E402
from tests.support import (  # noqa: E402
    assert_within,
    batchnorm,
    conv1d,
    conv2d,
    dense,
    maxpool,
    on_backend,
    rounding,
    run,
    seeds,
)

# Sums of at most 200 products of size under 50, in another order than PyTorch's.
REORDERED = rounding("float64", 200) * 200 * 50


def against(case, function):
    """Our forward and backward, and PyTorch's for y = function(x, parameters): all equal."""
    layer = case.make()
    leaf = torch.from_numpy(case.x.copy()).requires_grad_()
    params = {name: torch.from_numpy(value.copy()).requires_grad_() for name, value in layer.params.items()}
    theirs = function(layer, leaf, params)
    dy = case.rng.standard_normal(tuple(theirs.shape))
    theirs.backward(torch.from_numpy(dy))
    y, dx, grads = run(on_backend(layer), case.x, dy)
    assert_within(y, theirs.detach().numpy(), REORDERED)
    assert_within(dx, leaf.grad.numpy(), REORDERED)
    assert set(grads) == set(params)
    for name, param in params.items():
        assert_within(grads[name], param.grad.numpy(), REORDERED)


@given(case=conv1d())
def test_conv1d(backend, case):
    def theirs(layer, x, p):
        padding = pad_1d(layer.padding, x.shape[2], layer.kernel_size, layer.stride)
        return F.conv1d(F.pad(x, padding), p["weight"], p.get("bias"), layer.stride)

    against(case, theirs)


@given(case=conv2d())
def test_conv2d(backend, case):
    def theirs(layer, x, p):
        vertical, horizontal = pad_2d(layer.padding, tuple(x.shape[2:]), layer.kernel_size, layer.stride)
        return F.conv2d(F.pad(x, (*horizontal, *vertical)), p["weight"], p.get("bias"), layer.stride)

    against(case, theirs)


@given(case=dense())
def test_dense(backend, case):
    against(case, lambda layer, x, p: F.linear(x, p["weight"], p.get("bias")))


@given(case=batchnorm([0, 1, 2]), frozen=st.booleans())
def test_batchnorm(backend, case, frozen):
    """Ours takes PyTorch's numbers, and moves its running statistics as PyTorch does; frozen, as its eval()."""
    layer = case.make()
    names = "running_mean", "running_var", "weight", "bias"
    theirs = (torch.nn.BatchNorm2d if case.x.ndim == 4 else torch.nn.BatchNorm1d)(layer.num_features).double()
    theirs.load_state_dict(
        {name: torch.from_numpy(({**layer.params, **layer.buffers})[name].copy()) for name in names}, strict=False
    )
    theirs.train(not frozen)
    layer.frozen = frozen
    leaf = torch.from_numpy(case.x.copy()).requires_grad_()
    out = theirs(leaf)
    dy = case.rng.standard_normal(case.x.shape)
    out.backward(torch.from_numpy(dy))
    y, dx, grads = run(on_backend(layer), case.x, dy)
    assert_within(y, out.detach().numpy(), REORDERED)
    assert_within(dx, leaf.grad.numpy(), REORDERED)
    for name in ("running_mean", "running_var"):
        assert_within(layer.buffers[name], theirs.state_dict()[name].numpy(), REORDERED)
    for name, value in grads.items():
        assert_within(value, getattr(theirs, name).grad.numpy(), REORDERED)
    assert set(grads) == (set() if frozen else {"weight", "bias"})


def test_batchnorm_has_their_defaults():
    ours, theirs = BatchNorm1D(3), torch.nn.BatchNorm1d(3)
    assert (ours.eps, ours.momentum) == (theirs.eps, theirs.momentum)
    assert set(theirs.state_dict()) == {*ours.params, *ours.buffers, "num_batches_tracked"}


@given(seed=seeds)
def test_global_average_pool(backend, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, 3, *rng.integers(1, 7, 2)))
    leaf = torch.from_numpy(x.copy()).requires_grad_()
    theirs = F.adaptive_avg_pool2d(leaf, 1).flatten(1)
    dy = rng.standard_normal((2, 3))
    theirs.backward(torch.from_numpy(dy))
    y, dx, _ = run(GlobalAveragePool2D(), x, dy)
    assert_within(y, theirs.detach().numpy(), REORDERED)
    assert_within(dx, leaf.grad.numpy(), REORDERED)


def symmetric(case):
    """PyTorch pads a pool by one number for both sides."""
    sides = case.make().padding
    return (
        all(isinstance(side, int) for side in sides)
        and sides[0] == sides[1]
        or all(not isinstance(side, int) and side[0] == side[1] for side in sides)
    )


@given(case=maxpool(1).filter(symmetric))
def test_maxpool1d(backend, case):
    def theirs(layer, x, p):
        return F.max_pool1d(x, layer.kernel_size, layer.stride, layer.padding[0], ceil_mode=layer.ceil_mode)

    against(case, theirs)


@given(case=maxpool(2).filter(symmetric))
def test_maxpool2d(backend, case):
    def theirs(layer, x, p):
        padding = [side[0] for side in layer.padding]
        return F.max_pool2d(x, layer.kernel_size, layer.stride, padding, ceil_mode=layer.ceil_mode)

    against(case, theirs)


@given(seed=seeds, kernel=st.integers(1, 4), stride=st.integers(1, 4))
def test_ties_and_nan_in_pools(backend, seed, kernel, stride):
    """The first of equals wins, NaN wins over all: which element gets the gradient is the same."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 3, (2, 2, 8, 8)).astype("float64")
    for values, layer, pool in [
        (x, MaxPool2D(kernel, stride), F.max_pool2d),
        (x[:, :, 0], MaxPool1D(kernel, stride), F.max_pool1d),
    ]:
        leaf = torch.from_numpy(values.copy()).requires_grad_()
        theirs = pool(leaf, kernel, stride)
        dy = rng.integers(1, 9, tuple(theirs.shape)).astype("float64")
        theirs.backward(torch.from_numpy(dy))
        y, dx, _ = run(layer, values, dy)
        assert np.array_equal(y, theirs.detach().numpy()) and np.array_equal(dx, leaf.grad.numpy())
    x[rng.random(x.shape) < 0.1] = np.nan
    y = run(MaxPool2D(kernel, stride), x)[0]
    assert np.array_equal(y, F.max_pool2d(torch.from_numpy(x), kernel, stride).numpy(), equal_nan=True)


@given(seed=seeds)
def test_activations(backend, seed):
    x = np.random.default_rng(seed).integers(-2, 3, (4, 5)).astype("float64")  # zeros among them: the kink
    for layer, theirs in [(ReLU(), torch.relu), (Tanh(), torch.tanh)]:
        leaf = torch.from_numpy(x.copy()).requires_grad_()
        out = theirs(leaf)
        out.sum().backward()
        y, dx, _ = run(layer, x)
        assert_within(y, out.detach().numpy(), 4 * 2.0**-52)
        assert_within(dx, leaf.grad.numpy(), 12 * 2.0**-52)
