"""The gradient check of layers that are not written as ours are: parameters as attributes, gradients in place."""

import numpy as np
import pytest

from scratchnet.gradcheck import gradcheck
from scratchnet.layers import BatchNorm1D, Dense, Dropout, Layer, ReLU, Tanh
from scratchnet.network import Network

X = np.random.default_rng(0).standard_normal((3, 4))
PILES_UP = "the second of two equal passes gives another gradient"
both_types = pytest.mark.parametrize("dtype", ["float32", "float64"])


class Scale:
    """y = w · x, its parameter an attribute too, its gradient an array that is there from the start."""

    def __init__(self, dtype):
        self.w = np.arange(1, 5).astype(dtype)
        self.dw = np.zeros(4, dtype)
        self.params, self.grads = {"w": self.w}, {"w": self.dw}

    def forward(self, x, training=False):
        self.x = x
        return self.w * x

    def backward(self, dy):
        self.write((dy * self.x).sum(axis=0))
        return self.w * dy

    def write(self, dw):
        self.dw[...] = dw


class Assigns(Scale):
    def write(self, dw):
        self.grads["w"] = dw


class InItsPlace(Scale):
    def write(self, dw):
        self.grads["w"][...] = dw


class Inside:
    """A layer that another one does the work of."""

    def __init__(self, dtype):
        self.parts = [Scale(dtype)]
        self.params, self.grads = self.parts[0].params, dict(self.parts[0].grads)

    def forward(self, x, training=False):
        return self.parts[0].forward(x)

    def backward(self, dy):
        return self.parts[0].backward(dy)


@both_types
@pytest.mark.parametrize("kind", [Scale, Assigns, InItsPlace, Inside])
def test_a_right_layer_passes_and_is_left_as_it_was(kind, dtype):
    layer = kind(dtype)
    held, before = layer.grads["w"], layer.params["w"].copy()
    held[...] = 7
    result = gradcheck(layer, X)
    assert result.ok and {report.name for report in result.arrays} == {"input", "w"}, str(result)
    assert result.max_error < 1e-9 or dtype == "float64"  # in the copy the gradient's own array is float64 as well
    assert np.array_equal(layer.params["w"], before) and (held == 7).all()
    again = gradcheck(layer, X)
    assert again.ok, str(again)


@both_types
def test_a_wrong_gradient_in_place_is_wrong(dtype):
    class Twice(Scale):
        def write(self, dw):
            self.dw[...] = 2 * dw

    result = gradcheck(Twice(dtype), X)
    assert not result.ok and "w (4,): WRONG at 4 of 4" in str(result) and "ratio 2" in str(result)


@both_types
def test_an_array_that_backward_never_writes_is_no_gradient(dtype):
    class Silent(Scale):
        def write(self, dw):
            pass

    layer = Silent(dtype)
    layer.dw[...] = (X * X).sum(axis=0)  # as if an earlier pass had left it
    assert "w (4,): backward gives no gradient" in str(gradcheck(layer, X))
    layer.frozen = True
    assert gradcheck(layer, X).ok


@both_types
def test_an_array_written_in_part_is_zero_elsewhere(dtype):
    """As that of a weight of which a part is masked may be."""

    class Masked(Scale):
        def forward(self, x, training=False):
            self.x = x * [1, 1, 0, 1]
            return self.w * self.x

        def backward(self, dy):
            self.dw[self.written] = (dy * self.x).sum(axis=0)[self.written]
            return self.w * dy * [1, 1, 0, 1]

    layer = Masked(dtype)
    layer.written = [0, 1, 3]
    assert gradcheck(layer, X).ok
    layer.written = [0, 1]
    result = gradcheck(layer, X)
    assert "w (4,): WRONG at 1 of 4" in str(result) and "at [3]: backward gives 0," in str(result)


class Adds(Scale):
    def write(self, dw):
        self.dw += dw


class AddsIfThere(Scale):
    """`grads` empty at first."""

    def __init__(self, dtype):
        super().__init__(dtype)
        self.grads = {}

    def write(self, dw):
        self.grads["w"] = self.grads.get("w", 0) + dw


class AddsUnlessNone(Scale):
    def __init__(self, dtype):
        super().__init__(dtype)
        self.grads = {"w": None}

    def write(self, dw):
        self.grads["w"] = dw if self.grads["w"] is None else self.grads["w"] + dw


class AddsApart(Scale):
    """The sum is kept where the check does not see it."""

    def __init__(self, dtype):
        super().__init__(dtype)
        self.sum = np.zeros(4)

    def write(self, dw):
        self.sum += dw
        self.grads["w"] = self.sum.copy()


@both_types
@pytest.mark.parametrize("kind", [Adds, AddsIfThere, AddsUnlessNone, AddsApart])
def test_a_gradient_that_piles_up_is_found(kind, dtype):
    result = gradcheck(kind(dtype), X)
    assert not result.ok and f"w (4,): {PILES_UP}: backward must assign it, not add" in str(result), str(result)
    assert str(result).startswith(f"{kind.__name__}: WRONG GRADIENT\n") and "input (3, 4): ok" in str(result)


def test_so_is_that_of_a_layer_in_a_network_and_that_of_the_input():
    class Piled(Dense):
        def backward(self, dy):
            bias = self.grads.get("bias", 0)
            dx = super().backward(dy)
            self.grads["bias"] += bias
            self.dx = getattr(self, "dx", 0) + dx
            return self.dx

    net = Network([("a", [("one", Piled(4, 3, dtype="float64")), ("two", Dense(3, 2, dtype="float64"))])])
    result = gradcheck(net, X)
    wrong = {report.name for report in result.arrays if PILES_UP in report.complaint}
    assert not result.ok and wrong == {"input", "a.one.bias"}, str(result)


def test_gradients_that_cannot_be_filled():
    """A number, a view to read only, and dy itself: each is right."""

    class Shift:
        def __init__(self):
            self.params = {"a": np.array(0.5), "b": np.ones(4), "c": np.ones((3, 4))}
            self.grads = {}

        def forward(self, x, training=False):
            return x + self.params["a"] + self.params["b"].sum() + self.params["c"]

        def backward(self, dy):
            self.grads = {"a": dy.sum(), "b": np.broadcast_to(dy.sum(), 4), "c": dy}
            return dy

    layer = Shift()
    for _ in range(2):
        result = gradcheck(layer, X)
        assert result.ok and len(result.arrays) == 4, str(result)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0)])
def test_an_input_without_elements_is_refused(shape):
    class Cube:
        def forward(self, x, training=False):
            self.x = x
            return x**3

        def backward(self, dy):
            return 3 * dy * self.x**2

    with pytest.raises(ValueError, match=r"Cube gives an output of shape .* for an input of shape .* nothing to comp"):
        gradcheck(Cube(), np.zeros(shape))


def test_so_is_an_output_without_elements():
    class Nothing:
        def forward(self, x, training=False):
            return x[:, :0]

        def backward(self, dy):
            return np.zeros((3, 4))

    with pytest.raises(ValueError, match="there is nothing to compare"):
        gradcheck(Nothing(), X)
    with pytest.raises(ValueError, match="there is nothing to compare"):
        gradcheck(Dense(4, 2), np.zeros((0, 4)))


class InPlace:
    """ReLU, or |x|, written into its input."""

    def __init__(self, absolute, right):
        self.absolute, self.right = absolute, right

    def forward(self, x, training=False):
        self.slope = np.where(x > 0, 1.0, -1.0 if self.absolute else 0.0)
        x *= self.slope
        return x

    def backward(self, dy):
        return dy * self.slope if self.right else dy


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_a_layer_that_works_in_its_input_is_judged_by_its_gradient(seed, absolute, right):
    assert gradcheck(InPlace(absolute, right), np.random.default_rng(seed).standard_normal((4, 5))).ok is right


def test_what_is_checked_stays_as_it_is():
    norm, drop = BatchNorm1D(3, dtype="float64"), Dropout(0.3, np.random.default_rng(0))
    network = Network([("a", [("fc", Dense(3, 4, dtype="float64")), ("drop", drop)])])
    before = drop.seed, drop.offset
    x = 5 + np.random.default_rng(1).standard_normal((6, 3))
    assert gradcheck(norm, x, training=True).ok and gradcheck(network, x, training=True).ok
    assert not norm.buffers["running_mean"].any() and (drop.seed, drop.offset) == before


@pytest.mark.parametrize("value", [2.0, np.float64(2), None])
def test_a_parameter_that_is_no_array_is_named(value):
    layer = Scale("float64")
    layer.params["gain"] = value
    with pytest.raises(ValueError, match="parameter gain is no array"):
        gradcheck(layer, X)


class Slope:
    """max(x, 0) + slope · min(x, 0), its gradient a number and no array; `indices` and `mask` are no fractions."""

    def __init__(self, dtype, right=True):
        self.params, self.right = {"slope": np.array(0.25, dtype)}, right
        self.buffers = {"indices": np.array([2, 0, 1, 3]), "mask": np.array([True, False, True, True])}

    def forward(self, x, training=False):
        self.x = x[:, self.buffers["indices"]] * ~self.buffers["mask"]
        return np.maximum(self.x, 0) + self.params["slope"] * np.minimum(self.x, 0)

    def backward(self, dy):
        self.grads = {"slope": float((dy * np.minimum(self.x, 0)).sum()) if self.right else 1.0}
        dx = np.zeros_like(dy)
        dx[:, self.buffers["indices"]] = np.where(self.x > 0, dy, self.params["slope"] * dy) * ~self.buffers["mask"]
        return dx


@both_types
def test_a_gradient_that_is_a_number_and_buffers_that_are_indices(dtype):
    layer = Slope(dtype)
    result = gradcheck(layer, X)
    assert result.ok, str(result)
    assert layer.buffers["indices"].dtype == np.int64 and layer.buffers["mask"].dtype == bool
    assert not gradcheck(Slope(dtype, right=False), X).ok


def test_a_parameter_that_is_a_list_is_no_array():
    layer = Scale("float64")
    layer.params["gain"] = [2.0]
    with pytest.raises(ValueError, match="parameter gain is no array"):
        gradcheck(layer, X)


@pytest.mark.parametrize("layers", [[ReLU(), Tanh()], (Tanh(),), 3])
def test_a_layer_may_call_anything_its_layers(layers):
    class Chain(Layer):
        def __init__(self):
            super().__init__()
            self.layers = layers
            self.chain = layers if isinstance(layers, (list, tuple)) else [Tanh()] * 1

        def forward(self, x, training=False):
            for layer in self.chain:
                x = layer.forward(x)
            return x

        def backward(self, dy):
            for layer in reversed(self.chain):
                dy = layer.backward(dy)
            return dy

    assert gradcheck(Chain(), X)


def test_a_network_needs_no_parameters():
    assert gradcheck(Network([("all", [("tanh", Tanh())])]), X)


def test_a_network_reseeds_any_layer_that_can_be():
    class Noise(Layer):
        def reseed(self, seed, step):
            self.rng = np.random.default_rng((seed, step))

        def forward(self, x, training=False):
            self.noise = self.rng.random(x.shape)
            return x * self.noise

        def backward(self, dy):
            return dy * self.noise

    dense = Dense(4, 3, dtype="float64", rng=np.random.default_rng(0))
    assert gradcheck(Network([("all", [("noise", Noise()), ("dense", dense)])]), X)


def test_a_forward_that_writes_into_its_input_is_named():
    class Doubles(Layer):
        def forward(self, x, training=False):
            x *= 2
            return x

        def backward(self, dy):
            return 2 * dy

    result = gradcheck(Doubles(), X)
    assert result and "forward writes into it" in str(result)
    assert "writes" not in str(gradcheck(Tanh(), X))
    assert not gradcheck(Network([("all", [("tanh", Tanh()), ("doubles", Doubles())])]), X)


def test_an_error_in_forward_leaves_the_parameters_as_they_were():
    class Fails(Dense):
        calls = 0

        def forward(self, x, training=False):
            self.calls += 1
            if self.calls == 40:
                raise ZeroDivisionError
            return super().forward(x, training)

    layer = Fails(4, 3, dtype="float64", rng=np.random.default_rng(0))
    before = {name: value.copy() for name, value in layer.params.items()}
    with pytest.raises(ZeroDivisionError):
        gradcheck(layer, X[:1])
    assert all(np.array_equal(layer.params[name], value) for name, value in before.items())


def test_parameters_that_the_first_forward_makes_are_checked():
    class Lazy(Layer):
        def forward(self, x, training=False):
            self.params.setdefault("w", np.ones(x.shape[1]))
            self.x = x
            return x * self.params["w"]

        def backward(self, dy):
            self.grads["w"] = (dy * self.x).sum(axis=0)
            return dy * self.params["w"]

    result = gradcheck(Lazy(), X)
    assert result and [report.name for report in result.arrays] == ["input", "w"]
