"""A network's state: a copy that comes back, or is refused before anything has changed."""

import numpy as np
import pytest

from scratchnet import backend as backends
from tests.test_network import NAMES, X, small


def test_the_state_is_a_copy_and_comes_back(backend):
    net, other = small(seed=0), small(seed=1)
    state = net.state_dict()
    assert list(state) == NAMES and all(type(value) is np.ndarray for value in state.values())
    before = backends.to_numpy(other.forward(backends.asarray(X))).copy()
    kept = other.params
    other.load_state_dict(state)
    assert all(other.params[name] is kept[name] for name in NAMES)  # copied into the same arrays
    y = backends.to_numpy(net.forward(backends.asarray(X)))
    assert np.array_equal(backends.to_numpy(other.forward(backends.asarray(X))), y) and not np.array_equal(before, y)
    state["front.conv1.bias"][:] = 100
    assert np.array_equal(backends.to_numpy(net.forward(backends.asarray(X))), y)


def test_wrong_states_are_refused_before_anything_changes():
    net = small()
    before = net.state_dict()
    state = {name: value + 1 for name, value in before.items()}
    missing = {name: value for name, value in state.items() if name != "back.output.bias"}
    with pytest.raises(KeyError, match="unknown parameters: other; missing parameters: back.output.bias"):
        net.load_state_dict({**missing, "other": missing["back.output.weight"]})
    with pytest.raises(KeyError, match="'missing parameters: back.output.bias'"):
        net.load_state_dict(missing)
    with pytest.raises(KeyError, match="other"):
        net.load_state_dict({**state, "other": state["back.output.bias"]}, strict=False)
    with pytest.raises(ValueError, match=r"back.output.bias has shape \(4,\), not \(5,\)"):
        net.load_state_dict({**state, "back.output.bias": np.zeros(5)})
    assert all(np.array_equal(net.params[name], before[name]) for name in before)
    net.load_state_dict(missing, strict=False)
    assert np.array_equal(net.params["back.dense1.bias"], state["back.dense1.bias"])
    assert np.array_equal(net.params["back.output.bias"], before["back.output.bias"])


def test_a_state_of_what_are_no_real_numbers_changes_nothing():
    net = small()
    before = net.state_dict()
    state = {name: a + 1 for name, a in before.items()}
    for wrong in (1j * state["back.output.bias"], state["back.output.bias"].astype(str)):
        with pytest.raises(ValueError, match="back.output.bias takes real numbers"):
            net.load_state_dict({**state, "back.output.bias": wrong})
    assert all((a == before[name]).all() for name, a in net.state_dict().items())
