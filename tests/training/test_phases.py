import numpy as np
import pytest

from scratchnet.nets import build
from scratchnet.training.icebreaker import freeze_for
from scratchnet.training.phases import ICEBREAKER, RANDOM, phases_of, start_weights, trains

FRONT = {"deepfourier.conv1.weight", "deepfourier.conv2.bias"}
FIRST = {"piczak.conv1.weight", "piczak.conv1.bias"}
REST = {"piczak.conv2.weight", "piczak.dense1.weight", "piczak.output.bias"}


def origins(phase, names):
    """Where each weight of a phase comes from, told by values that are names of origins."""
    fresh = dict.fromkeys(names, "fresh")
    best = {k: dict.fromkeys(names, k) for k in (0, 1, 2, "forcing")}
    return start_weights(phase, fresh, best)


@pytest.mark.parametrize(
    ("number", "trained"), [(0, FIRST | REST), (1, FRONT), (2, FRONT | FIRST), (3, FRONT | FIRST | REST)]
)
def test_what_trains_in_each_phase(number, trained):
    names = FRONT | FIRST | REST if number else FIRST | REST
    assert {name for name in names if trains(ICEBREAKER[number], name)} == trained


def test_where_weights_come_from_is_section_2_3_1():
    names = FRONT | FIRST | REST
    expected = {
        1: dict.fromkeys(FRONT, "fresh") | dict.fromkeys(FIRST | REST, 0),
        2: dict.fromkeys(FRONT, 1) | dict.fromkeys(FIRST | REST, 0),
        3: dict.fromkeys(FRONT | FIRST, 2) | dict.fromkeys(REST, 0),
    }
    for number, table in expected.items():
        assert origins(ICEBREAKER[number], names) == table
    assert set(origins(ICEBREAKER[0], FIRST | REST).values()) == {"fresh"}
    assert set(origins(RANDOM, names).values()) == {"fresh"}


def test_a_prefix_ends_at_a_dot():
    assert not trains(ICEBREAKER[2], "piczak.conv10.weight")


def test_which_phases_a_network_goes_through():
    assert [phase.name for phase in phases_of("heurinet", "icebreaker")] == [0, 1, 2, 3]
    assert [phase.name for phase in phases_of("melnet", "icebreaker")] == [0, 1, 2, 3]
    mst = phases_of("mstnet", "icebreaker")
    assert [phase.name for phase in mst] == [0, "forcing", 1, 2, 3]
    assert set(origins(mst[2], FRONT).values()) == {"forcing"}
    assert set(origins(mst[3], FRONT).values()) == {1}
    assert set(origins(mst[1], FIRST | REST).values()) == {0}  # what stands behind the forced front end
    assert phases_of("mstnet", "forcing") == mst[:2]
    assert [phase.name for phase in phases_of("mstnet", "random")] == ["random"]
    assert [phase.name for phase in phases_of("piczaknet", "icebreaker")] == [0]


@pytest.mark.parametrize("name", ["sbcnn", "minivgg"])
def test_with_another_back_end(name):
    """Its own Phase 0, its own first layer in Phase 2, batch normalisation included."""
    assert phases_of(name, "icebreaker") == phases_of(name, "random")
    assert phases_of(name, "icebreaker")[0].net == phases_of("heurinet", "icebreaker", name)[0].net == name
    phases = phases_of("mstnet", "icebreaker", name)
    assert [phase.name for phase in phases] == [0, "forcing", 1, 2, 3]
    net = build("mstnet", 3, back_end=name, rng=np.random.default_rng(0))
    for phase in phases[2:]:
        freeze_for(net, phase)
        trained = {layer for layer, made in net.layers.items() if made.params and not made.frozen}
        first = {f"{name}.conv1", *([f"{name}.norm1"] if name == "minivgg" else [])}
        whole = {layer for layer, made in net.layers.items() if made.params}
        front = {layer for layer in whole if layer.startswith("deepfourier")}
        assert trained == {1: front, 2: front | first, 3: whole}[phase.name]
        assert not {key for key in phase.starts if key.startswith("piczak")}
    random = phases_of("melnet", "random", name)[0]
    assert random.trains == ("deepfourier", name)


def test_magnitudes_are_learned_behind_melnets_own_front_end():
    """The stored spectrograms are those of powers."""
    zero, *others = phases_of("melnet", "icebreaker", "piczak", 1)
    assert zero.net is None and not trains(zero, "deepfourier.conv1.weight") and trains(zero, "piczak.conv1.weight")
    assert tuple(others) == phases_of("melnet", "icebreaker")[1:]


@pytest.mark.parametrize(("number", "parameters"), [(1, 84_540), (2, 84_540 + 27_440), (3, 26_391_270)])
def test_a_frozen_network_has_gradients_of_what_trains_alone(number, parameters):
    # Counts: Table 1's front end; 80 (57, 6) kernels and biases of PiczakNet's first layer; everything.
    net = build("heurinet", 10, rng=np.random.default_rng(0))
    freeze_for(net, ICEBREAKER[number])
    x = np.random.default_rng(1).normal(size=(1, 1, 20992)).astype(np.float32)
    net.forward(x, training=True)
    net.backward(np.ones((1, 10), np.float32))
    assert sum(grad.size for grad in net.grads.values()) == parameters
    assert all(trains(ICEBREAKER[number], name) for name in net.grads)
