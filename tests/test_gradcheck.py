"""The gradient check itself: does it see every wrong derivative, say where, and stay calm at right ones?"""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scratchnet import backend as backends
from scratchnet import gradcheck as package
from scratchnet import layers, losses, nets
from scratchnet.gradcheck import gradcheck
from scratchnet.network import Network
from tests.support import off_zero, on_backend

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 2, 17))


class Cube:
    """A user's own layer: no parameters, no base class."""

    factor = 3

    def forward(self, x, training=False):
        self.x = x
        return x**3

    def backward(self, dy):
        return self.factor * dy * self.x**2


def test_a_users_own_layer():
    result = gradcheck(Cube(), X)
    assert result and result.ok and result.max_error < 1e-6
    assert str(result).startswith("Cube: ok, worst relative error ")


def test_a_wrong_factor_is_found_with_its_place_and_both_values():
    class Wrong(Cube):
        factor = 2

    result = gradcheck(Wrong(), X)
    assert not result and not result.ok
    assert result.worst.name == "input" and result.worst.wrong == result.worst.checked == 40
    worst = result.worst.worst
    # The report's analytic value is what the wrong layer computes there, the numeric one is the truth.
    assert abs(worst.error - 1 / 3) < 1e-6 and abs(worst.analytic / worst.numeric - 2 / 3) < 1e-6
    assert re.search(
        r"Wrong: WRONG GRADIENT\n  input \(3, 2, 17\): WRONG at 40 of 40 checked; worst at \[\d, \d, \d+\]: "
        r"backward gives \S+, central differences \S+ \(relative error 3.3e-01, ratio 0.667 everywhere\)",
        str(result),
    )


def test_a_wrong_element_is_told_rather_than_a_direction_and_whether_all_are_wrong_alike():
    class Wrong(Cube):
        def backward(self, dy):
            dx = super().backward(dy)
            dx[0] *= 5
            dx[1] *= 0.5
            return dx

    result = gradcheck(Wrong(), X)
    (report,) = result.arrays
    assert report.wrong and report.worst.index is not None
    assert re.search(r"worst at \[\d, \d, \d+\]: .*, ratio \S+, all from 0\.5 to 5\)", str(result))
    assert result.max_error == report.largest >= report.worst.error


def broken(layer, spoil):
    """The layer with a backward that `spoil(layer, dy, dx)` tampers with; it returns the dx to give."""
    right = layer.backward
    layer.backward = lambda dy: spoil(layer, dy, right(dy))
    return layer


def conv():
    layer = layers.Conv1D(2, 3, 5, stride=2, padding=2, dtype="float64", rng=np.random.default_rng(1))
    layer.params["bias"][:] = [0.1, 0.2, 0.3]
    return layer


def in_place(name, change):
    """Change a parameter's gradient in place."""

    def spoil(layer, dy, dx):
        change(layer.grads[name])
        return dx

    return spoil


def drop(array, index):
    array[index] = 0


def scale(array, factor):
    array *= factor


def swap(array):
    array[...] = array[..., ::-1].copy()


@pytest.mark.parametrize(
    "spoil, where",
    [
        (
            in_place("weight", lambda g: drop(g, (0, 0, 0))),
            "weight (3, 2, 5): WRONG at 1 of 30 checked; worst at [0, 0, 0]",
        ),
        (
            in_place("weight", lambda g: drop(g, (2, 1, 4))),
            "weight (3, 2, 5): WRONG at 1 of 30 checked; worst at [2, 1, 4]",
        ),
        (in_place("weight", lambda g: scale(g, -1)), "weight (3, 2, 5): WRONG at 30 of 30 checked"),
        (in_place("weight", swap), "weight (3, 2, 5): WRONG at"),
        (in_place("bias", lambda g: scale(g, 1 + 1e-5)), "bias (3,): WRONG at"),
        (in_place("bias", lambda g: drop(g, 1)), "bias (3,): WRONG at 1 of 3 checked; worst at [1]"),
        (lambda layer, dy, dx: np.roll(dx, 1, axis=2), "input (3, 2, 17): WRONG at"),
        (lambda layer, dy, dx: dx * 0, "input (3, 2, 17): WRONG at"),
        (lambda layer, dy, dx: dx[:, :, :-1], "input (3, 2, 17): its gradient has shape (3, 2, 16)"),
        (lambda layer, dy, dx: dx * np.where(np.arange(17) == 3, np.nan, 1), "its gradient is not finite at [0, 0, 3]"),
    ],
)
def test_every_spoiled_convolution_is_named(spoil, where):
    assert gradcheck(conv(), X).ok
    result = gradcheck(broken(conv(), spoil), X)
    assert not result.ok and where in str(result), str(result)
    assert "WRONG" in str(result).splitlines()[0]


def test_one_wrong_element_of_a_large_array_shows_in_the_random_direction():
    """1 of 240 000 elements, one that the 40 sampled coordinates miss."""
    layer = layers.Dense(600, 400, dtype="float64", rng=np.random.default_rng(2))
    assert gradcheck(layer, RNG.standard_normal((2, 600))).ok

    def spoil(layer, dy, dx):
        layer.grads["weight"][123, 456] += 5
        return dx

    result = gradcheck(broken(layer, spoil), RNG.standard_normal((2, 600)))
    assert not result.ok and result.worst.name == "weight"
    assert result.worst.wrong == 0 and "along a random direction" in str(result)


def test_gradients_that_are_missing_among_zeros_are_found():
    """Behind a max-pool most gradients are zero; a backward that returns too many zeros looks just like it."""
    x = RNG.permutation(np.linspace(-1, 1, 900)).reshape(1, 1, 900)

    def spoil(layer, dy, dx):
        alive = np.flatnonzero(dx)
        dx.flat[alive[len(alive) // 3 :]] = 0
        return dx

    assert gradcheck(layers.MaxPool1D(9, 9), x).ok
    assert not gradcheck(broken(layers.MaxPool1D(9, 9), spoil), x).ok


def test_errors_that_cancel_under_an_all_ones_gradient_are_found():
    """Σ y does not depend on the order of y: an all-ones gradient cannot tell this backward from the right one."""

    class Reversed:
        def forward(self, x, training=False):
            return x[:, ::-1]

        def backward(self, dy):
            return dy

    assert not gradcheck(Reversed(), RNG.standard_normal((2, 5))).ok


class TestKinks:
    def test_at_a_kink_itself_the_check_says_that_there_is_nothing_to_check(self):
        result = gradcheck(layers.ReLU(), np.zeros((3, 4)))
        assert not result.ok and "only 0 of 12 coordinates have a derivative to compare with" in str(result)

    def test_ties_in_a_pool_are_seen(self):
        result = gradcheck(layers.MaxPool1D(3), np.ones((2, 2, 9)))
        assert not result.ok and "kinks" in str(result)

    def test_a_kink_among_smooth_places_is_left_out_and_counted(self):
        x = off_zero(RNG, (4, 5))
        x[2, 3] = 0
        result = gradcheck(layers.ReLU(), x)
        assert result.ok and result.arrays[0].left_out == 1 and result.arrays[0].checked == 19
        assert "1 beside kinks or lost in rounding left out" in str(result)

    @pytest.mark.parametrize("distance", [1e-3, 1e-5, 1e-6, 3e-7])
    def test_beside_a_kink_narrower_steps_are_taken(self, distance):
        """The step is chosen per element: these lie off the kink, if only just, and are checked."""
        x = off_zero(RNG, (4, 5))
        x[2, 3] = distance
        result = gradcheck(layers.ReLU(), x)
        assert result.ok and result.arrays[0].checked == 20

    def test_a_kink_excuses_no_wrong_gradient_elsewhere(self):
        x = off_zero(RNG, (4, 5))
        x[2, 3] = 0
        result = gradcheck(broken(layers.ReLU(), lambda layer, dy, dx: 1.001 * dx), x)
        assert not result.ok and result.worst.wrong == np.count_nonzero(x > 0)


class TestSubjects:
    def test_a_loss_takes_its_target(self):
        assert gradcheck(losses.SoftmaxCrossEntropy(), RNG.standard_normal((4, 5)), np.array([0, 4, 2, 2])).ok

    def test_a_wrong_loss(self):
        class Sum(losses.SoftmaxCrossEntropy):  # forgets the mean
            def backward(self):
                return super().backward() * len(self._target)

        result = gradcheck(Sum(), RNG.standard_normal((4, 5)), np.array([0, 4, 2, 2]))
        assert not result.ok and "ratio 4" in str(result)

    def test_float32_layers_are_checked_in_a_copy(self):
        layer = layers.Conv1D(2, 3, 5)
        before = {name: value.copy() for name, value in layer.params.items()}
        assert gradcheck(layer, X.astype("float32")).ok
        assert all(np.array_equal(layer.params[name], before[name]) for name in before)
        assert layer.params["weight"].dtype == np.float32 and layer.grads == {}

    def test_float64_parameters_and_the_input_come_back_bit_for_bit(self):
        layer, x = conv(), X.copy()
        before = {name: value.copy() for name, value in layer.params.items()}
        gradcheck(layer, x)
        assert np.array_equal(x, X)
        assert all(np.array_equal(layer.params[name], before[name]) for name in before)

    def test_numpys_arrays_are_brought_to_the_backend(self, backend):
        """A layer as it was made, an input and a target: what a script has in hand, whatever backend it chose."""
        layer = conv()
        weight, before = layer.params["weight"], layer.params["weight"].copy()
        assert gradcheck(layer, X).ok
        assert layer.params["weight"] is weight and np.array_equal(weight, before)
        norm = layers.BatchNorm1D(2, dtype="float64")
        assert gradcheck(norm, X).ok and gradcheck(norm, X, training=True).ok
        assert gradcheck(losses.SoftmaxCrossEntropy(), RNG.standard_normal((4, 5)), np.array([0, 4, 2, 2])).ok
        assert gradcheck(losses.MeanSquaredError(), X, X[::-1]).ok

    def test_arrays_of_another_backend_are_brought_to_the_one_in_use(self, backend):
        layer, x = on_backend(conv()), backends.asarray(X)
        backends.use("cpu")
        assert gradcheck(layer, x).ok

    def test_frozen_parameters_are_not_checked(self):
        layer = conv()
        layer.frozen = True
        assert [report.name for report in gradcheck(layer, X).arrays] == ["input"]

    def test_dropout_is_rewound(self):
        assert gradcheck(layers.Dropout(0.5), off_zero(RNG, (3, 4)), training=True).ok

    def test_a_float32_network_of_ours(self):
        net = nets.piczaknet(3, rng=np.random.default_rng(0))
        result = gradcheck(net, RNG.standard_normal((1, 1, 60, 41)), samples=1)
        assert result.ok, str(result)
        assert {report.name for report in result.arrays} == {"input", *net.params}
        assert net.dtype == np.float32

    def test_a_layer_that_computes_in_float32_is_refused(self):
        class Single(Cube):
            def forward(self, x, training=False):
                return super().forward(x).astype("float32")

        with pytest.raises(ValueError, match="Single answers float64 in float32"):
            gradcheck(Single(), X)

    def test_a_layer_that_rolls_dice_is_refused(self):
        class Noise(Cube):
            def forward(self, x, training=False):
                return super().forward(x) + np.random.default_rng().standard_normal(x.shape)

        with pytest.raises(ValueError, match="Noise gives two outputs for one input"):
            gradcheck(Noise(), X)

    def test_an_infinite_output_is_refused(self):
        class Inverse(Cube):
            def forward(self, x, training=False):
                with np.errstate(divide="ignore"):
                    return 1 / (0 * x)

        with pytest.raises(ValueError, match="not finite"):
            gradcheck(Inverse(), X)

    def test_a_layer_without_any_gradient_is_not_right(self):
        class Silent(Cube):
            def backward(self, dy):
                return None

        result = gradcheck(Silent(), X)
        assert not result.ok and f"input {X.shape}: backward gives no gradient" in str(result)

    def test_a_gradient_that_is_not_given_is_wrong(self):
        """Whichever it is, in a layer or in a network; and one of an earlier pass does not stand in for it."""

        class Forgetful(layers.Dense):
            def backward(self, dy):
                dx = super().backward(dy)
                del self.grads["bias"]
                return dx

        class Misspelt(layers.Dense):
            def backward(self, dy):
                dx = super().backward(dy)
                self.grads["biais"] = self.grads.pop("bias")
                return dx

        class OnlyParameters(layers.Dense):
            def backward(self, dy):
                super().backward(dy)

        x = np.random.default_rng(0).standard_normal((4, 3))
        for kind, said in (
            (Forgetful, ["bias (2,): backward gives no gradient"]),
            (Misspelt, ["bias (2,): backward gives no gradient", "biais (2,): backward gives a gradient of it"]),
            (OnlyParameters, ["input (4, 3): backward gives no gradient"]),
        ):
            layer = kind(3, 2, dtype="float64")
            net = Network([("a", [("dense", layer), ("tanh", layers.Tanh())])])
            layer.grads["bias"] = np.zeros(2)
            for subject, prefix in ((layer, ""), (net, "a.dense.")):
                if kind is OnlyParameters and subject is net:
                    continue  # Tanh would have to go on with None
                result = gradcheck(subject, x)
                assert not result.ok and np.isinf(result.max_error)
                for one in said:
                    assert (one if one.startswith("input") else prefix + one) in str(result)
        layer.need_dx = False
        assert gradcheck(layer, x).ok


def test_the_page_shows_what_happens():
    """The code of docs/gradcheck.md prints what stands below it, but for the last digits of the errors."""
    page = (Path(__file__).parents[1] / "docs" / "gradcheck.md").read_text(encoding="utf-8")
    code, shown = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", page, re.DOTALL).groups()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    def plain(text):
        return re.sub(r"\d\.\de-\d\d", "(error)", text)

    assert plain(done.stdout) == plain(shown), done.stderr


class TestCommand:
    def test_one_name(self, capsys):
        assert package.main(["MaxPool1D", "--backend", "reference"]) == 0
        out = capsys.readouterr().out
        assert re.search(
            r"^maxpool1d +\d\.\de-\d+ +\d+\.\d s  ok       \(\d+, \d+, \d+\), kernel \d", out, re.MULTILINE
        )
        assert "backend reference" in out and "1 checked in" in out and "every gradient is right" in out

    def test_a_wrong_gradient_is_named(self, capsys, monkeypatch):
        monkeypatch.setattr(layers.Tanh, "backward", lambda self, dy: dy * (1 - self._y))
        assert package.main(["tanh", "--backend", "reference"]) == 1
        out = capsys.readouterr().out
        assert "WRONG: tanh" in out and "Tanh: WRONG GRADIENT" in out and "backward gives" in out

    def test_an_unknown_name_gets_the_nearest_one(self, capsys):
        assert package.main(["maxpol2d"]) == 2
        error = capsys.readouterr().err
        assert "there is no 'maxpol2d'; did you mean maxpool2d?" in error and error.count("\n") == 1

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--seed", "-1"], "--seed: -1"),
            (["--backen", "cpu"], "did you mean --backend?"),
            (["relu", "tanh"], "tanh"),
        ],
    )
    def test_bad_options_get_one_line(self, arguments, words, capsys):
        assert package.main(arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("scratchnet: ") and words in error and error.count("\n") == 1

    def test_an_unknown_backend(self, capsys):
        assert package.main(["relu", "--backend", "tpu"]) == 2
        assert "unknown backend 'tpu'" in capsys.readouterr().err

    def test_python_m(self):
        done = subprocess.run(
            [sys.executable, "-m", "scratchnet.gradcheck", "relu", "--backend", "reference"],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0 and "every gradient is right" in done.stdout, done.stderr
