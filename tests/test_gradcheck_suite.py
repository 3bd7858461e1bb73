"""The suite of `python -m scratchnet.gradcheck`: it holds everything, and everything in it is right."""

import pytest

from scratchnet import layers, nets
from scratchnet.gradcheck import suite
from scratchnet.gradcheck.cases import CASES
from scratchnet.layers import BatchNorm2D, Conv2D, ReLU


def test_the_suite_holds_every_layer_loss_and_network():
    expected = [name.lower() for name in layers.__all__ if name != "Layer"]
    expected += ["softmax_cross_entropy", "mean_squared_error", "mixture_cross_entropy", *nets.NETS, *nets.RIVALS]
    assert sorted(CASES) == sorted(expected)


@pytest.mark.parametrize("name", [name for name in CASES if name not in {**nets.NETS, **nets.RIVALS}])
def test_the_suite_passes(name, backend):
    result, shape, _ = suite.check(name, seed=1)
    assert result.ok, f"{shape}: {result}"


@pytest.mark.parametrize("name", [*nets.NETS, *nets.RIVALS])
def test_whole_networks_pass(name):
    """At full size, so on the fast kernels alone."""
    result, shape, _ = suite.check(name)
    assert result.ok, f"{shape}: {result}"
    frozen = "piczak" if "piczak frozen" in shape else ()
    trained = {key for key in nets.build(name).params if not key.startswith(frozen)}
    assert {report.name for report in result.arrays} == {"input", *trained}
    # As in tests/nets/test_gradients.py: most arrays have a direction without kinks.
    assert sum(bool(report.direction) for report in result.arrays) > len(result.arrays) // 2, str(result)


def test_a_layer_whose_file_was_changed_is_found_out(monkeypatch, capsys):
    """The network goes on with the kernel; the gradient check says so."""
    monkeypatch.setattr(ReLU, "forward", lambda relu, x, training=False: x * (1 - 0.9 * (x < 0)))
    assert suite.main(["sbcnn", "--backend", "cpu"]) == 1
    assert suite.OTHERWISE in capsys.readouterr().out
    monkeypatch.undo()
    backward = Conv2D.backward
    monkeypatch.setattr(Conv2D, "backward", lambda conv, dy: backward(conv, 2 * dy))
    assert suite.main(["sbcnn", "--backend", "cpu"]) == 1
    assert suite.OTHERWISE in capsys.readouterr().out
    monkeypatch.undo()
    # What happens in training alone: a batch's statistics. Behind it nothing is wrong.
    back = BatchNorm2D.backward
    monkeypatch.setattr(BatchNorm2D, "backward", lambda norm, dy: back(norm, dy) * (2 if norm._from_batch else 1))
    assert suite.main(["minivgg", "--backend", "cpu"]) == 1
    said = capsys.readouterr().out
    assert suite.OTHERWISE in said and "\n  minivgg.conv1.weight " in said and "minivgg.output" not in said
    monkeypatch.undo()
    assert suite.main(["sbcnn", "--backend", "cpu"]) == 0
