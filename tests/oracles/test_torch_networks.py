"""The same networks in PyTorch, same weights, float64: logits, loss, every gradient and ten optimizer steps agree, and
so do the running statistics of batch normalisations."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is an oracle, not a dependency")

from experiments.bench.twins import masks_of, state_of, twin  # noqa: E402
from scratchnet import backend as backends  # noqa: E402
from scratchnet import nets  # noqa: E402
from scratchnet.losses import MeanSquaredError, SoftmaxCrossEntropy  # noqa: E402
from scratchnet.optimizers import Adam, NesterovSGD  # noqa: E402

EVERY = [*nets.NETS, *nets.RIVALS]
SHAPE = {name: (1, 60, 41) if name == "piczaknet" or name in nets.RIVALS else (1, 20992) for name in EVERY}
N, CLASSES = 2, 6

# Float64 rounds at 1.1e-16. Ten layers of sums of at most 5000 terms, ten steps that feed on each other: 1e-16 · 5000 ·
# 10 · 10 = 5e-11 if every rounding pointed the same way. Any difference in meaning is larger than 1e-9 by far.
RELATIVE = 1e-9


def assert_agree(ours, theirs, what):
    """Relative to the array's largest element."""
    ours, theirs = np.asarray(backends.to_numpy(ours)), theirs.detach().numpy()
    assert ours.shape == theirs.shape
    size = np.abs(theirs).max()
    error = np.abs(ours - theirs).max()
    assert error <= RELATIVE * size, f"{what}: off by {error:.3g}, {error / size:.3g} of its largest element"


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def fast_backend(request):
    try:
        yield backends.use(request.param)
    except backends.InputError as reason:
        pytest.skip(str(reason))
    backends.use("cpu")


def network(name, rng):
    """MelNet's logarithm is steep where a Mel power is small, and its floors are kinks: two orders of summation part
    after a few large steps. A bias of 5 (in the triangles' unit), standardised away again, and short steps keep it
    where it is smooth."""
    if name != "melnet":
        options = {"mean": 0.1, "std": 0.5} if name == "mstnet" else {}
        return nets.build(name, CLASSES, dtype="float64", rng=rng, **options)
    net = nets.melnet(CLASSES, mean=8.0, std=1.0, dtype="float64", rng=rng)
    net.params["deepfourier.conv2.bias"][:] = 5 * 2**15
    return net


def optimizers(name):
    """Nesterov with weight decay for three of them, Adam for one; → ours, and PyTorch's given its parameters."""
    if name == "mstnet":
        return Adam(3e-4), lambda params: torch.optim.Adam(params, lr=3e-4)
    how = {"lr": 1e-5 if name == "melnet" else 1e-3, "momentum": 0.9, "weight_decay": 1e-3}
    return NesterovSGD(**how), lambda params: torch.optim.SGD(params, nesterov=True, **how)


@pytest.mark.parametrize("name", EVERY)
def test_ten_steps(name, fast_backend):
    rng = np.random.default_rng(17)
    net = network(name, rng)
    start = net.state_dict()
    theirs = twin(net, name)
    net.to(fast_backend)
    optimizer, make = optimizers(name)
    torch_optimizer = make(theirs.parameters())
    loss = SoftmaxCrossEntropy()
    for step in range(10):
        x, target = 0.3 * rng.standard_normal((N, *SHAPE[name])), rng.integers(0, CLASSES, N)
        net.reseed(99, step)
        theirs.masks = masks_of(net, step)
        logits = net.forward(backends.asarray(x), training=True)
        value = float(loss.forward(logits, backends.asarray(target)))
        dx = net.backward(loss.backward(), need_dx=step == 0)
        leaf = torch.from_numpy(x).requires_grad_(step == 0)
        their_logits = theirs(leaf)
        their_loss = torch.nn.functional.cross_entropy(their_logits, torch.from_numpy(target))
        torch_optimizer.zero_grad()
        their_loss.backward()
        assert_agree(logits, their_logits, f"logits of step {step}")
        assert abs(value - their_loss.item()) <= RELATIVE * their_loss.item(), f"loss of step {step}"
        if step in (0, 9):
            gradients = dict(theirs.named_parameters())
            assert set(net.grads) == set(gradients)
            for key, gradient in net.grads.items():
                assert_agree(gradient, gradients[key].grad, f"gradient of {key} in step {step}")
        if step == 0:
            assert_agree(dx, leaf.grad, "gradient of the input")
        optimizer.step(net.params, net.grads)
        torch_optimizer.step()
    for key, value in theirs.named_parameters():
        moved = backends.to_numpy(net.params[key]) - start[key]
        assert_agree(moved, value - torch.from_numpy(start[key]), f"what ten steps did to {key}")
    there = state_of(theirs)
    assert set(there) == {*net.params, *net.buffers}
    for key, value in net.buffers.items():
        assert_agree(value, there[key], key)


def test_spectrogram_forcing(fast_backend):
    """MSTNet's front end alone, mean square error, Adam at 3e-4 (§2.3.2)."""
    rng = np.random.default_rng(3)
    net = nets.mstnet(CLASSES, dtype="float64", rng=rng)
    theirs = twin(net, "mstnet").deepfourier
    net.to(fast_backend)
    front, loss, optimizer = net.front(), MeanSquaredError(), Adam(3e-4)
    torch_optimizer = torch.optim.Adam(theirs.parameters(), lr=3e-4)
    for step in range(5):
        x, target = rng.standard_normal((N, 1, 20992)), rng.uniform(-1, 1, (N, 60, 41))
        value = float(loss.forward(front.forward(backends.asarray(x), training=True), backends.asarray(target)))
        front.backward(loss.backward())
        optimizer.step(front.params, front.grads)
        y = torch.relu(theirs.conv2(torch.relu(theirs.conv1(torch.from_numpy(x)))))
        their_loss = torch.nn.functional.mse_loss(torch.tanh(theirs.conv3(y)), torch.from_numpy(target))
        torch_optimizer.zero_grad()
        their_loss.backward()
        torch_optimizer.step()
        assert abs(value - their_loss.item()) <= RELATIVE * their_loss.item(), f"loss of step {step}"
    for key, param in theirs.named_parameters():
        assert_agree(net.params[f"deepfourier.{key}"], param, key)


@pytest.mark.parametrize("name", EVERY)
def test_weights_travel(name, tmp_path):
    """As safetensors to the PyTorch twin, and back: bit for bit, and with the same logits."""
    from safetensors.numpy import load_file, save_file
    from safetensors.torch import load_file as load_torch
    from safetensors.torch import save_file as save_torch

    rng = np.random.default_rng(5)
    net = nets.build(name, CLASSES, rng=rng)
    for value in net.buffers.values():
        value[...] = rng.uniform(0.5, 1.5, value.shape)
    save_file(net.state_dict(), tmp_path / "ours.safetensors")
    other = twin(net, name).float().eval()
    other.load_state_dict({key: 0 * value for key, value in other.state_dict().items()})
    other.load_state_dict(
        load_torch(tmp_path / "ours.safetensors")
    )  # strict: the same names and shapes, no more, no less
    x = rng.uniform(-1, 1, (N, *SHAPE[name])).astype("float32")
    ours, theirs = net.forward(x), other(torch.from_numpy(x)).detach().numpy()
    # Float32: ten layers, each of sums of up to 5000 terms whose roundings mostly cancel (their root: 70): 10·70·6e-8.
    assert np.abs(ours - theirs).max() <= 10 * 70 * 2.0**-24 * np.abs(theirs).max()
    save_torch(state_of(other), tmp_path / "theirs.safetensors")
    fresh = nets.build(name, CLASSES, rng=rng)
    fresh.load_state_dict(load_file(tmp_path / "theirs.safetensors"))
    assert all(np.array_equal(fresh.state_dict()[key], value) for key, value in net.state_dict().items())
    assert np.array_equal(fresh.forward(x), ours)
