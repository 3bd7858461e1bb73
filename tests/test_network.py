"""A network: names, freezing, what gradients it computes, its state, its dropout."""

import copy
import pickle

import numpy as np
import pytest

from scratchnet import backend as backends
from scratchnet.gradcheck import gradcheck
from scratchnet.layers import Conv1D, Dense, Dropout, Flatten, Layer, MaxPool1D, ReLU
from scratchnet.network import Network
from tests.support import off_zero, other_shapes

X = off_zero(np.random.default_rng(1), (3, 2, 40))
DY = np.random.default_rng(2).standard_normal((3, 4))


def small(dtype="float64", fused=True, seed=0):
    """front: two convolution blocks; back: two dense layers with dropout between."""
    rng = np.random.default_rng(seed)
    how = {"dtype": dtype, "rng": rng}
    front = [
        ("conv1", Conv1D(2, 4, 5, stride=2, **how)),
        ("relu1", ReLU()),
        ("pool1", MaxPool1D(2)),
        ("conv2", Conv1D(4, 3, 3, padding="same", **how)),
        ("relu2", ReLU()),
    ]
    back = [
        ("flatten", Flatten()),
        ("dense1", Dense(27, 6, **how)),
        ("drop1", Dropout(0.3, rng)),
        ("relu3", ReLU()),
        ("output", Dense(6, 4, **how)),
    ]
    net = Network([("front", front), ("back", back)], fused=fused)
    for layer in net.layers.values():
        if "bias" in layer.params:
            layer.params["bias"] = rng.uniform(-0.1, 0.1, layer.params["bias"].shape).astype(dtype)
        layer.params = {name: backends.asarray(value) for name, value in layer.params.items()}
    return net


def gradients(net, need_dx=False, training=True):
    """→ gradients by name, dx, on the host"""
    net.reseed(5, 1)
    net.forward(backends.asarray(X), training=training)
    dx = net.backward(backends.asarray(DY), need_dx=need_dx)
    return {name: np.array(backends.to_numpy(g)) for name, g in net.grads.items()}, dx


NAMES = [
    f"{layer}.{kind}"
    for layer in ("front.conv1", "front.conv2", "back.dense1", "back.output")
    for kind in ("weight", "bias")
]


def test_layers_of_two_types_are_refused():
    """One by one they would cast, and the network would compute in the less exact without a word."""
    mixed = [("a", [("c", Dense(4, 3, dtype="float64")), ("d", Dense(3, 2))])]
    with pytest.raises(ValueError, match="a.d of float32 and a.c of float64: give all layers one dtype"):
        Network(mixed)


def test_names_and_order():
    assert list(small().params) == NAMES
    assert list(gradients(small())[0]) == NAMES
    assert list(small().groups) == ["front", "back"]


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_gradients(backend, fused, training):
    result = gradcheck(small(fused=fused), X, training=training)
    assert result.ok, str(result)
    assert {report.name for report in result.arrays} == {"input", *NAMES}


@pytest.mark.parametrize("part", ["front", "back", "front.conv1", "front.conv2", "back.dense1", "back.output"])
@pytest.mark.parametrize("fused", [True, False])
def test_freezing_changes_no_gradient_anywhere_else(backend, part, fused):
    """§2.3.1: the derivative runs through frozen weights as if they were not frozen."""
    free, dx = gradients(small(fused=fused), need_dx=True)
    net = small(fused=fused)
    net.freeze(part)
    frozen, frozen_dx = gradients(net, need_dx=True)
    assert set(frozen) == {name for name in NAMES if not name.startswith(part)}
    assert all(np.array_equal(frozen[name], free[name]) for name in frozen)
    assert np.array_equal(backends.to_numpy(frozen_dx), backends.to_numpy(dx))
    net.unfreeze(part)
    thawed, _ = gradients(net)
    assert set(thawed) == set(NAMES) and all(np.array_equal(thawed[name], free[name]) for name in NAMES)


def test_a_frozen_network_keeps_no_stale_gradients(backend):
    net = small()
    gradients(net)
    net.freeze("front")
    assert set(net.grads) == {name for name in NAMES if name.startswith("back")}
    net.freeze("back")
    assert gradients(net)[0] == {}


def test_a_name_is_a_whole_name():
    net = Network([("front", [("conv1", Conv1D(1, 1, 1)), ("conv10", Conv1D(1, 1, 1))])])
    net.freeze("front.conv1")
    assert net.layers["front.conv1"].frozen and not net.layers["front.conv10"].frozen


def test_layers_that_would_not_run_cannot_be_put_in():
    net = small()
    for names in (net.groups, net.layers):
        with pytest.raises(TypeError, match="does not support item assignment"):
            names["front.conv1"] = Conv1D(2, 4, 5)
    with pytest.raises(TypeError, match="does not support item assignment"):
        net.groups["front"][0] = ("conv1", Conv1D(2, 4, 5))


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["deepcopy", "pickle"]
)
def test_a_copy_is_a_network_of_its_own(copied):
    net = small()
    other = copied(net)
    assert np.array_equal(other.forward(X), net.forward(X))
    ran = copied(net)  # with what its layers remember
    ran.backward(DY)
    net.backward(DY)
    assert set(ran.grads) == set(NAMES)
    assert all(np.array_equal(grad, net.grads[name]) for name, grad in ran.grads.items())
    for layer in net.layers.values():
        layer.grads = {}
    other.layers["front.conv1"].params["weight"][...] = 0
    other.backward(DY)
    assert net.layers["front.conv1"].params["weight"].any() and not net.grads and set(other.grads) == set(NAMES)
    assert not np.array_equal(other.forward(X), net.forward(X))


@pytest.mark.parametrize("before", [
    lambda net: None,
    lambda net: net.features(X),
    lambda net: (net.forward(X), setattr(net, "fused", not net.fused)),
    lambda net: (net.forward(X), net.features(X)),
], ids=["nothing", "features", "fused", "features again"])  # fmt: skip
def test_forward_comes_before_backward(before):
    net = small()
    before(net)
    with pytest.raises(RuntimeError, match="forward comes before backward"):
        net.backward(DY)


def test_unknown_parts_are_refused():
    for name in ("fron", "front.conv3", ""):
        with pytest.raises(ValueError, match="no part of this network is called"):
            small().freeze(name)
    with pytest.raises(ValueError, match="front.relu1 has no parameters or buffers; this network has back, "):
        small().freeze("front.relu1")


def test_a_layer_that_has_buffers_alone_is_frozen_too():
    class Count(ReLU):
        def __init__(self):
            super().__init__()
            self.buffers = {"batches": np.zeros(())}

        def forward(self, x, training=False):
            self.buffers["batches"] += training and not self.frozen
            return super().forward(x, training)

    net = Network([("a", [("count", Count())]), ("b", [("dense", Dense(3, 2))])])
    for name, expected in ((None, 1), ("a", 1), ("b", 1)):
        if name:
            net.freeze(name)
        net.forward(np.ones((2, 3), np.float32), training=True)
        assert net.buffers["a.count.batches"] == expected
    net.unfreeze("a.count")
    net.forward(np.ones((2, 3), np.float32), training=True)
    assert net.buffers["a.count.batches"] == 2


def test_a_layer_without_parameters_of_its_own_class_is_named():
    class Hasty(Layer):
        def __init__(self):
            pass

    with pytest.raises(ValueError, match=r"a.one is a Hasty without params: call super\(\).__init__\(\)"):
        Network([("a", [("one", Hasty())])])


def test_a_forward_that_is_put_in_later_runs():
    layer = ReLU()
    net = Network([("a", [("relu", layer)])])
    layer.forward = lambda x, training=False: x + 7
    assert net.forward(np.zeros((1, 1), np.float32)) == 7


def test_the_input_gradient_is_given_on_request_alone(backend):
    assert gradients(small())[1] is None
    assert gradients(small(), need_dx=True)[1].shape == X.shape
    # and asking once changes nothing later
    net = small()
    gradients(net, need_dx=True)
    assert gradients(net)[1] is None and gradients(net, need_dx=True)[1] is not None


@pytest.mark.parametrize("part, lowest", [("front", "back.dense1"), ("front.conv1", "front.conv2")])
def test_nothing_runs_below_the_last_layer_that_trains(part, lowest):
    net = small(fused=False)
    net.freeze(part)
    for name, layer in net.layers.items():
        if name == lowest:
            break
        layer.backward = None  # calling it would raise
    given = {}
    for name in (lowest, "back.output"):

        def watched(dy, name=name, backward=net.layers[name].backward):
            given[name] = backward(dy)
            return given[name]

        net.layers[name].backward = watched
    gradients(net)
    assert given[lowest] is None and given["back.output"] is not None


@pytest.mark.parametrize("fused", [True, False])
def test_gradients_of_another_shape_are_refused(backend, fused):
    """From the caller, and from a layer of one's own above the convolutions."""

    class Careless(Layer):
        def forward(self, x, training=False):
            return x

        def backward(self, dy):
            return dy[:, :, :-1]

    net = small(fused=fused)
    net.forward(backends.asarray(X), training=True)
    for shape in other_shapes(DY.shape):
        with pytest.raises(ValueError, match=r"Dense\(6, 4\) takes dy of shape \(3, 4\), not "):
            net.backward(backends.asarray(np.ones(shape)))
    assert net.grads == {} and set(gradients(net)[0]) == set(NAMES)
    front, back = net.groups["front"], net.groups["back"]
    net = Network([("front", [*front, ("careless", Careless())]), ("back", back)], fused=fused)
    net.forward(backends.asarray(X), training=True)
    with pytest.raises(ValueError, match=r"ReLU\(\) takes dy of shape \(3, 3, 9\), not \(3, 3, 8\)"):
        net.backward(backends.asarray(DY))


def test_seeds_wrap_at_63_bits():
    net = Network([("a", [("drop1", Dropout(0.5)), ("drop2", Dropout(0.5))])])
    net.reseed(2**63 - 1, 4)
    assert [layer.seed for layer in net.layers.values()] == [2**63 - 2, 2**63 - 1]


def test_dropout_is_a_function_of_seed_and_step(backend):
    def logits(net, seed, step):
        net.reseed(seed, step)
        return np.array(backends.to_numpy(net.forward(backends.asarray(X), training=True)))

    net = small()
    first = logits(net, 1, 1)
    logits(net, 1, 2)
    assert np.array_equal(logits(net, 1, 1), first) and np.array_equal(logits(small(), 1, 1), first)
    assert not np.array_equal(logits(net, 1, 2), first) and not np.array_equal(logits(net, 2, 1), first)


def test_two_dropouts_draw_different_masks():
    rng = np.random.default_rng(0)
    net = Network([("a", [("drop1", Dropout(0.5, rng)), ("drop2", Dropout(0.5, rng))])])
    net.reseed(3, 7)
    first, second = net.layers["a.drop1"], net.layers["a.drop2"]
    assert first.seed != second.seed and first.offset == second.offset == 6


def test_features_and_front_are_the_first_groups_output(backend):
    net = small()
    features = backends.to_numpy(net.features(backends.asarray(X)))
    front = net.front()
    assert np.array_equal(backends.to_numpy(front.forward(backends.asarray(X))), features)
    assert features.shape == (3, 3, 9)
    assert all(front.params[name] is net.params[name] for name in front.params)  # the same arrays
    assert list(front.params) == NAMES[:4]


@pytest.mark.parametrize("fused", [True, False])
def test_what_the_front_remembers_is_no_longer_the_networks(backend, fused):
    """A block keeps by itself what it needs; a layer that runs alone says that it has run elsewhere."""
    net = small(fused=fused)
    y = net.forward(backends.asarray(X))
    net.backward(y)
    expected = {name: np.array(backends.to_numpy(a)) for name, a in net.grads.items()}
    net.front().forward(backends.asarray(X[:1]))
    if fused:
        net.backward(y)
        assert all(np.array_equal(backends.to_numpy(a), expected[name]) for name, a in net.grads.items())
    else:
        with pytest.raises(
            RuntimeError, match=r"ReLU\(\) has run in another network since: forward comes before backward"
        ):
            net.backward(y)


def test_forward_and_backward_are_of_one_backend():
    net = small()
    before = backends.current()
    try:
        backends.use("reference")
        y = net.forward(X)
        backends.use("cpu")
        with pytest.raises(RuntimeError, match="forward comes before backward, on the same backend"):
            net.backward(y)
        net.backward(net.forward(X))
    finally:
        backends.use(before)


def test_inputs_take_the_networks_type(backend):
    net = small("float32")
    assert net.dtype == np.float32
    assert net.forward(backends.asarray(X)).dtype == np.float32
    first = Network([("a", [("relu", ReLU())]), ("b", [("flatten", Flatten()), ("dense", Dense(80, 2))])])
    assert first.features(X).dtype == np.float32  # at once, not only where the first weights are


def test_batches_without_training_do_not_depend_on_each_other(backend):
    net = small()
    whole = backends.to_numpy(net.forward(backends.asarray(X)))
    for i in range(3):
        one = backends.to_numpy(net.forward(backends.asarray(X[i : i + 1])))
        assert np.allclose(one[0], whole[i], rtol=0, atol=1e-14)  # sums of at most 27 terms under 1


def test_it_prints_what_it_is():
    text = repr(small())
    assert "front.conv1" in text and "Conv1D(2, 4, kernel_size=5, stride=2)" in text


def test_a_network_leaves_its_layers_as_it_found_them(backend):
    """Its lowest layer computes no gradient of the input for the network; asked by itself, it does."""
    layer = Dense(3, 2, rng=np.random.default_rng(0))
    net = Network([("all", [("one", layer)])])
    net.fused = False
    net.to(backends.current())
    x, dy = (backends.asarray(np.ones(shape, np.float32)) for shape in ((4, 3), (4, 2)))
    net.forward(x, training=True)
    assert net.backward(dy) is None
    assert layer.need_dx and layer.backward(dy).shape == x.shape


def test_names_and_places_are_not_shared():
    one, two = Dense(4, 4), Dense(4, 4)
    for groups in ([("a", [("fc", one), ("fc", two)])], [("a", [("fc", one)]), ("a", [("out", two)])]):
        with pytest.raises(ValueError, match="2 groups or layers are called 'a"):
            Network(groups)
    with pytest.raises(ValueError, match="stands in two places"):
        Network([("a", [("fc", one), ("relu", ReLU()), ("out", one)])])


@pytest.mark.parametrize("fused", [True, False])
def test_a_layer_frozen_by_hand_shows_no_old_gradient(fused):
    network = small(fused=fused)
    network.forward(X)
    network.backward(DY)
    for name in ("front.conv2", "back.dense1", "front.conv1"):  # in the middle first, where backward still runs
        network.layers[name].frozen = True
        network.forward(X)
        network.backward(DY)
        assert not [key for key in network.grads if key.startswith(name)] and network.grads


def test_layers_derive_from_layer():
    class Cube:
        def forward(self, x, training=False):
            return x**3

        def backward(self, dy):
            return dy

    with pytest.raises(
        ValueError, match="^all.cube is a Cube: a network's layers derive from scratchnet.layers.Layer$"
    ):
        Network([("all", [("cube", Cube())])])
