"""Running statistics are part of what training keeps: of the best weights, of a stopped run's state."""

import numpy as np
import pytest

from scratchnet.layers import BatchNorm1D, Dense, Flatten, ReLU
from scratchnet.network import Network
from scratchnet.training.loop import Trainer
from scratchnet.training.stop import Interrupted, Stop
from scratchnet.training.updates import Updates
from tests.training.test_loop import EPOCHS, Rows, resolve, trainer

STATISTICS = {"piczak.norm.running_mean", "piczak.norm.running_var"}


def normalised(listener=None, frozen=False):
    """The small trainer of test_loop.py, with a batch normalisation in its network; batches of 7, the last one of 5."""
    like, rng = trainer(listener, batch_size=7), np.random.default_rng(0)
    layers = [("flatten", Flatten()), ("one", Dense(12, 16, rng=rng)), ("norm", BatchNorm1D(16)), ("relu", ReLU())]
    net = Network([("piczak", [*layers, ("two", Dense(16, 3, rng=rng))])])
    if frozen:
        net.freeze("piczak.norm")
    updates = Updates(resolve(({"lr": 0.1}, None)), 0, EPOCHS * like.task.steps)
    return Trainer(net, like.task, updates, title="phase 0", epochs=EPOCHS, dropout_seed=9, listener=listener)


@pytest.mark.parametrize("stop_after", [1, 7])
def test_a_run_that_was_stopped_goes_on_to_the_same_statistics(stop_after):
    straight = normalised(Rows())
    straight.run(Stop())
    stop = Stop()
    first = Rows(stop, stop_after)
    with pytest.raises(Interrupted):
        normalised(first).run(stop)
    resumed = normalised(Rows())
    resumed.restore(*first.stored)
    resumed.run(Stop())
    assert set(straight.best) == {*straight.net.params, *straight.net.buffers} >= STATISTICS
    for name, value in straight.net.state_dict().items():
        assert np.array_equal(value, resumed.net.state_dict()[name]), name
        assert np.array_equal(straight.best[name], resumed.best[name]), name


def test_the_best_statistics_are_those_of_the_best_epoch():
    class Watch(Rows):
        def epoch(self, row, best):
            if best:
                self.kept = made.net.state_dict()

    listener = Watch()
    made = normalised(listener)
    made.run(Stop())
    assert all(np.array_equal(made.best[name], listener.kept[name]) for name in STATISTICS)


def test_frozen_statistics_stay_and_are_not_kept():
    made = normalised(frozen=True)
    before = made.net.state_dict()
    made.run(Stop())
    assert not STATISTICS & set(made.best)
    assert all(np.array_equal(made.net.state_dict()[name], before[name]) for name in STATISTICS)


def test_scale_of_a_normalisation_is_not_decayed():
    """Weight decay is for what multiplies: the scale of a normalisation is undone, not learned, by pulling it to 0."""
    made = Updates(resolve(({"lr": 0.1, "weight_decay": 0.5}, None)), 0, 10)
    params = {"a.norm1.weight": np.ones(3, "float32"), "a.conv1.weight": np.ones((3, 3), "float32")}
    made.step(params, {name: np.zeros_like(value) for name, value in params.items()}, 0)
    assert (params["a.norm1.weight"] == 1).all() and (params["a.conv1.weight"] < 1).all()
