"""Nesterov SGD and Adam: their published recurrences over 50 random steps, on every backend."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchnet import backend as backends
from scratchnet.optimizers import Adam, NesterovSGD, Optimizer
from tests.support import seeds

STEPS = 50
# 50 steps, in each about 10 roundings relative to numbers that the recurrences keep of the size of the parameters and
# gradients (under 10 each), and amplified at most tenfold by the momentum: 50·10·10 u, times the size.
SLACK = {"float32": 50 * 10 * 10 * 2.0**-24, "float64": 50 * 10 * 10 * 2.0**-53}


def drive(optimizer, start, gradients):
    """Parameters after all steps, with the backend in use."""
    params = {"w": backends.asarray(start.copy())}
    for gradient in gradients:
        optimizer.step(params, {"w": backends.asarray(gradient.copy())})
    return np.array(backends.to_numpy(params["w"]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(seed=seeds, lr=st.floats(1e-3, 0.1), momentum=st.floats(0, 0.9), decay=st.sampled_from([0.0, 0.01]))
def test_nesterov(backend, dtype, seed, lr, momentum, decay):
    """Nesterov's look-ahead form (Sutskever et al. 2013, eq. 3–4), v ← μ v − ε ∇f(θ + μ v), θ ← θ + v, followed at the
    look-ahead point φ = θ + μ v, which is what a step from the gradient at the parameters means."""
    rng = np.random.default_rng(seed)
    start = rng.standard_normal(7).astype(dtype)
    gradients = rng.standard_normal((STEPS, 7)).astype(dtype)
    theta, v = start.astype("float64"), np.zeros(7)
    for gradient in gradients.astype("float64"):
        ahead = theta + momentum * v
        v = momentum * v - lr * (gradient + decay * ahead)
        theta = theta + v
    expected = theta + momentum * v
    found = drive(NesterovSGD(lr, momentum, decay), start, gradients)
    assert found.dtype == dtype
    assert np.allclose(found, expected, rtol=0, atol=SLACK[dtype] * 10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(seed=seeds, lr=st.floats(1e-4, 0.05), decay=st.sampled_from([0.0, 0.01]))
def test_adam(backend, dtype, seed, lr, decay):
    """Algorithm 1 of Kingma & Ba 2015, word for word, in float64."""
    rng = np.random.default_rng(seed)
    start = rng.standard_normal(7).astype(dtype)
    gradients = rng.standard_normal((STEPS, 7)).astype(dtype)
    beta1, beta2, eps = 0.8, 0.95, 1e-3
    theta, m, v = start.astype("float64"), np.zeros(7), np.zeros(7)
    for t, gradient in enumerate(gradients.astype("float64"), start=1):
        gradient = gradient + decay * theta
        m = beta1 * m + (1 - beta1) * gradient
        v = beta2 * v + (1 - beta2) * gradient**2
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        theta = theta - lr * m_hat / (np.sqrt(v_hat) + eps)
    found = drive(Adam(lr, beta1, beta2, eps, decay), start, gradients)
    assert found.dtype == dtype
    assert np.allclose(found, theta, rtol=0, atol=SLACK[dtype] * 10)


def test_adams_defaults_are_the_papers():
    adam = Adam()
    assert (adam.lr, adam.beta1, adam.beta2, adam.eps, adam.weight_decay) == (1e-3, 0.9, 0.999, 1e-8, 0.0)


def test_adams_first_step_has_length_lr(backend):
    """m̂/√v̂ = ±1 at t = 1, whatever the gradient's size."""
    moved = drive(Adam(0.01), np.zeros(3), [np.array([5.0, -1e-3, 2e4])])
    assert np.allclose(moved, [-0.01, 0.01, -0.01], rtol=1e-4, atol=0)  # eps/|g| = 1e-5 for the smallest


@pytest.mark.parametrize("make", [lambda: NesterovSGD(0.1), lambda: Adam(0.1)])
def test_only_what_has_a_gradient_moves(backend, make):
    params = {name: backends.asarray(np.ones(3, "float32")) for name in "ab"}
    make().step(params, {"a": backends.asarray(np.ones(3, "float32"))})
    assert np.array_equal(backends.to_numpy(params["b"]), np.ones(3))
    assert not np.array_equal(backends.to_numpy(params["a"]), np.ones(3))


@pytest.mark.parametrize("make", [lambda: NesterovSGD(0.1, 0.9, 0.01), lambda: Adam(0.1)])
def test_gradients_are_left_alone(backend, make):
    grads = {"w": backends.asarray(np.arange(4.0))}
    make().step({"w": backends.asarray(np.ones(4))}, grads)
    assert np.array_equal(backends.to_numpy(grads["w"]), np.arange(4))


@pytest.mark.parametrize("make", [lambda: NesterovSGD(0.1), lambda: Adam(0.1)])
def test_the_state_travels(backend, make):
    """Ten steps at once are five, a state_dict, and five more: bit for bit."""
    rng = np.random.default_rng(1)
    start, gradients = rng.standard_normal(6), rng.standard_normal((10, 6))
    whole = drive(make(), start, gradients)
    first = make()
    half = drive(first, start, gradients[:5])
    state = first.state_dict()
    drive(first, half, gradients[5:])  # goes on without the state that was given away
    second = make()
    second.load_state_dict(state)
    assert np.array_equal(drive(second, half, gradients[5:]), whole)
    assert second.steps == 10


@pytest.mark.parametrize("make", [lambda: NesterovSGD(0.1), lambda: Adam(0.1)])
def test_strided_parameters_move_in_place(backend, make):
    large = backends.asarray(np.ones((4, 6)))
    make().step({"w": large[:, 1:4]}, {"w": backends.asarray(np.ones((4, 3)))})
    moved = backends.to_numpy(large)
    assert (moved[:, 1:4] < 1).all() and (moved[:, [0, 4, 5]] == 1).all()


@pytest.mark.parametrize("make", [lambda: NesterovSGD(0.1), lambda: Adam(0.1)])
@pytest.mark.parametrize("shape", [(1,), (4,), (4, 3), (3, 1), (1, 4), (12,), (3, 4, 1), (5, 4)])
def test_gradients_of_another_shape_are_refused(backend, make, shape):
    optimizer = make()
    params = {name: backends.asarray(np.ones((3, 4), "float32")) for name in "ab"}
    grads = {"a": backends.asarray(np.ones((3, 4), "float32")), "b": backends.asarray(np.ones(shape, "float32"))}
    with pytest.raises(ValueError, match=re.escape(f"b has shape (3, 4), its gradient {shape}")):
        optimizer.step(params, grads)
    assert optimizer.steps == 0 and all((backends.to_numpy(param) == 1).all() for param in params.values())


def test_so_is_the_state_of_another_network(backend):
    small, large = ({"w": backends.asarray(np.ones(n, "float32"))} for n in (2, 4096))
    other, optimizer = NesterovSGD(0.1), NesterovSGD(0.1)
    other.step(small, small)
    optimizer.load_state_dict(other.state_dict())
    with pytest.raises(ValueError, match=r"w has shape \(4096,\), its velocity \(2,\)"):
        optimizer.step(large, large)


@pytest.mark.parametrize("make", [lambda: NesterovSGD(0.1, 0.9, 0.01), lambda: Adam(0.1)])
def test_a_parameter_that_is_one_number_moves_as_an_array_of_one(backend, make):
    gradients = np.array([2.0, -1.0, 0.0, 0.0, 0.5])
    whole = drive(make(), np.full(1, 3.0), gradients[:, None])
    assert np.array_equal(drive(make(), np.array(3.0), gradients), whole[0])


@pytest.mark.parametrize("dtype", ["int64", "float16", "bool"])
def test_parameters_that_cannot_be_moved_are_refused(backend, dtype):
    params = {"a": backends.asarray(np.ones(3)), "b": backends.asarray(np.ones(3, dtype))}
    with pytest.raises(ValueError, match=f"^b is of {dtype}: parameters are of float32 or float64$"):
        NesterovSGD(0.1).step(params, params)
    assert (backends.to_numpy(params["a"]) == 1).all()


def test_the_state_of_another_optimizer_is_refused():
    adam = Adam()
    adam.step({"w": np.ones(2)}, {"w": np.ones(2)})
    with pytest.raises(ValueError, match=r"NesterovSGD keeps no m\.w: this is the state of another optimizer"):
        NesterovSGD(0.1).load_state_dict(adam.state_dict())


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="lr must not be negative"):
        NesterovSGD(-1)
    with pytest.raises(KeyError):
        NesterovSGD(1.0).step({}, {"w": np.ones(1)})


def test_a_parameter_that_was_frozen_begins_with_its_own_first_step(backend):
    """Adam's factors for the first steps are those of a parameter's own, as PyTorch's; the state says how many."""
    params = {name: backends.asarray(np.zeros(3)) for name in "ab"}
    grads = {name: backends.asarray(np.array([1.0, -2.0, 3.0])) for name in "ab"}
    optimizer = Adam(0.01)
    for _ in range(50):
        optimizer.step(params, {"a": grads["a"]})
    again = Adam(0.01)
    optimizer.step(params, grads)
    first = backends.to_numpy(params["b"]).copy()
    np.testing.assert_allclose(first, [-0.01, 0.01, -0.01], rtol=1e-6)  # lr · sign: m̂ = g, √v̂ = |g|
    again.load_state_dict(optimizer.state_dict())
    assert again.steps == optimizer.steps == 51
    copies = {name: backends.asarray(backends.to_numpy(value).copy()) for name, value in params.items()}
    optimizer.step(params, grads)
    again.step(copies, grads)
    for name in "ab":
        assert np.array_equal(backends.to_numpy(copies[name]), backends.to_numpy(params[name]))


@pytest.mark.parametrize(
    "make",
    [
        lambda: NesterovSGD(0.1, momentum=-1),
        lambda: NesterovSGD(0.1, weight_decay=-1),
        lambda: Adam(beta1=1),
        lambda: Adam(beta2=-0.1),
        lambda: Adam(eps=-1),
        lambda: Adam(float("nan")),
    ],
)
def test_settings_that_cannot_be_are_refused(make):
    with pytest.raises(ValueError, match="must"):
        make()


def test_an_optimizer_that_keeps_nothing_counts_its_steps():
    class Plain(Optimizer):
        def _update(self, names, params, grads):
            for param, grad in zip(params, grads):
                param -= self.lr * grad

    first, second = Plain(0.1), Plain(0.1)
    for _ in range(3):
        first.step({"w": np.ones(2)}, {"w": np.ones(2)})
    second.load_state_dict(first.state_dict())
    assert second.steps == first.steps == 3


@pytest.mark.parametrize("make", [lambda: NesterovSGD(0.1), lambda: Adam(0.1)])
def test_a_parameter_that_cannot_be_written_moves_no_other(make):
    params = {"a": np.ones(3), "b": np.ones(3)}
    params["b"].flags.writeable = False
    optimizer = make()
    with pytest.raises(ValueError, match="b is read-only"):
        optimizer.step(params, {"a": np.ones(3), "b": np.ones(3)})
    assert optimizer.steps == 0 and (params["a"] == 1).all()


@pytest.mark.parametrize("dtype", ["float16", ">f8", "longdouble", "int64"])
@pytest.mark.parametrize("make", [lambda: NesterovSGD(0.1), lambda: Adam(0.1)])
def test_gradients_of_any_real_type_are_taken(make, dtype):
    params, expected = {"a": np.ones(3)}, {"a": np.ones(3)}
    make().step(params, {"a": np.array([1, 2, -3]).astype(dtype)})
    make().step(expected, {"a": np.array([1.0, 2, -3])})
    np.testing.assert_allclose(params["a"], expected["a"], rtol=1e-12)
    with pytest.raises(ValueError, match="real numbers"):
        make().step(params, {"a": np.ones(3) * 1j})


def test_a_state_that_lacks_something_is_refused():
    optimizer = Adam(0.1)
    optimizer.step({"a": np.ones(2), "b": np.ones(2)}, {"a": np.ones(2), "b": np.ones(2)})
    state = optimizer.state_dict()
    for name in ("steps", "m.b", "v.a"):
        with pytest.raises(ValueError, match="a part of this state is missing"):
            Adam(0.1).load_state_dict({key: a for key, a in state.items() if key != name})


def test_what_is_kept_follows_the_parameters_type():
    optimizer = NesterovSGD(0.1)
    optimizer.step({"a": np.ones(2, np.float32)}, {"a": np.ones(2, np.float32)})
    param = np.ones(2)
    optimizer.step({"a": param}, {"a": np.ones(2)})
    assert optimizer.state_dict()["velocity.a"].dtype == param.dtype == np.float64
