"""The loop on a small network and made-up spectrograms: it learns, stops early, and goes on to the same bits."""

import math
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest

from scratchnet.errors import InputError
from scratchnet.layers import Dense, Dropout, Flatten, ReLU
from scratchnet.network import Network
from scratchnet.sound import SoundSettings
from scratchnet.training.files import read_json, write_json
from scratchnet.training.inputs import Normalisation
from scratchnet.training.loop import Listener, Trainer
from scratchnet.training.resolve import resolve
from scratchnet.training.stop import Interrupted, Stop, stop_on_signal
from scratchnet.training.tasks import Classification
from scratchnet.training.updates import Updates

EPOCHS, SEGMENTS, TRAINING = 4, 50, 33


class Spectrograms:
    """A stand-in for `Segments`: three classes that differ in one Mel bin."""

    def __init__(self):
        rng = np.random.default_rng(5)
        self.settings = SoundSettings(n_mels=4, n_frames=3)
        self.label = rng.integers(0, 3, SEGMENTS)
        self.logmel = rng.normal(size=(SEGMENTS, 4, 3)).astype(np.float32)
        self.logmel[np.arange(SEGMENTS), self.label] += 1.0

    def __len__(self):
        return SEGMENTS

    def logmels(self, indices, out=None, mean=0.0, std=1.0):
        out = np.empty((len(indices), 1, 4, 3), np.float32) if out is None else out
        out[:, 0] = (self.logmel[indices] - mean) / std
        return out


class Rows(Listener):
    """Keeps the lines of metrics.jsonl and the last checkpoint; asks to stop after so many steps."""

    def __init__(self, stop=None, stop_after=math.inf):
        self.rows, self.stored, self.steps = [], None, 0
        self.stop, self.stop_after = stop, stop_after

    def step(self, state):
        self.steps += 1
        if self.steps == self.stop_after:
            self.stop.requested = True

    def epoch(self, row, best):
        self.rows.append({k: v for k, v in row.items() if k not in ("seconds", "waited")})

    def checkpoint(self, save):
        arrays, state = save()
        self.stored = {name: array.copy() for name, array in arrays.items()}, dict(state)


def trainer(listener=None, epochs=EPOCHS, given=None, patience=None, frozen=(), **task):
    rng = np.random.default_rng(0)
    layers = [("flatten", Flatten()), ("one", Dense(12, 16, rng=rng)), ("relu", ReLU()), ("drop", Dropout(0.5))]
    net = Network([("piczak", [*layers, ("two", Dense(16, 3, rng=rng))])])
    for name in frozen:
        net.freeze(name)
    options = {"batch_size": 8, "seed": (3, 0), **task}
    learn = Classification(
        Spectrograms(), np.arange(TRAINING), np.arange(TRAINING, SEGMENTS), "logmel", Normalisation(0.5, 2.0), **options
    )
    config = resolve(({"lr": 0.1, "lr_final": 0.01, "weight_decay": 0.001, **(given or {})}, None))
    updates = Updates(config, 0, epochs * learn.steps)
    return Trainer(
        net, learn, updates, title="phase 0", epochs=epochs, dropout_seed=9, patience=patience, listener=listener,
        grad_norms=config.grad_norms,
    )  # fmt: skip


def test_it_learns():
    listener = Rows()
    made = trainer(listener, epochs=30)
    made.run(Stop())
    assert listener.rows[0]["train_loss"] > 1.5 * listener.rows[-1]["train_loss"]
    assert listener.rows[-1]["valid_balanced_accuracy"] > 0.6  # chance is 1/3
    assert listener.rows[-1]["train_accuracy"] > 0.6
    assert [row["epoch"] for row in listener.rows] == list(range(1, 31))


@pytest.mark.parametrize("optimizer", ["nesterov", "adam"])
@pytest.mark.parametrize(
    "stop_after", [1, 4, 5, 12, 20]
)  # in the first epoch, at its last batch, later, at the very end
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(stop_after, optimizer):
    given = {"optimizer": optimizer}
    whole = Rows()
    straight = trainer(whole, given=given)
    straight.run(Stop())

    stop = Stop()
    first = Rows(stop, stop_after)
    with pytest.raises(Interrupted):
        trainer(first, given=given).run(stop)
    second = Rows()
    resumed = trainer(second, given=given)
    resumed.restore(*first.stored)
    resumed.run(Stop())

    assert first.rows + second.rows == whole.rows
    for name, weight in straight.net.params.items():
        assert np.array_equal(weight, resumed.net.params[name])
        assert np.array_equal(straight.best[name], resumed.best[name])
    assert resumed.state == straight.state


def test_the_same_seed_gives_the_same_bits_and_another_one_does_not():
    runs = [trainer(Rows(), seed=seed) for seed in ((3, 0), (3, 0), (4, 0))]
    for run in runs:
        run.run(Stop())
    weights = [run.net.params["piczak.one.weight"] for run in runs]
    assert np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_the_best_weights_are_those_of_the_best_epoch():
    class Watch(Rows):
        def epoch(self, row, best):
            super().epoch(row, best)
            if best:
                self.kept = made.net.state_dict()

    listener = Watch()
    made = trainer(listener, epochs=12)
    made.run(Stop())
    scores = [(row["valid_balanced_accuracy"], -row["valid_loss"]) for row in listener.rows]
    assert made.state.best_epoch == 1 + max(range(12), key=lambda n: scores[n])
    assert all(np.array_equal(made.best[name], kept) for name, kept in listener.kept.items())


def test_patience_ends_a_phase_that_gets_no_better():
    listener = Rows()
    made = trainer(listener, epochs=50, given={"lr": 1e-9, "lr_final": "none"}, patience=3)
    made.task.score = lambda valid: (1.0,)  # never better than the first
    made.run(Stop())
    assert [row["epoch"] for row in listener.rows] == [1, 2, 3, 4]
    assert made.state.best_epoch == 1


def test_a_validation_loss_that_is_no_number_is_the_worst_and_can_be_gone_on_from(tmp_path):
    losses = [math.inf, math.nan, 1.0, math.inf]
    made, whole = trainer(Rows(), epochs=4), trainer(Rows(), epochs=4)
    for each in (made, whole):
        left = iter(losses)
        each.task.score = lambda valid, left=left: (-next(left),)
    stop, listener = Stop(), made.listener
    listener.stop, listener.stop_after = stop, 1 + made.task.steps
    with pytest.raises(Interrupted):
        made.run(stop)
    arrays, state = listener.stored
    write_json(tmp_path / "state.json", state)
    made.restore(arrays, read_json(tmp_path / "state.json"))
    made.run(Stop())
    whole.run(Stop())
    assert made.state.best_epoch == whole.state.best_epoch == 3
    assert made.state.best_score == (-1.0,)


def test_frozen_layers_stay_as_they_are_and_are_not_stored():
    listener = Rows()
    made = trainer(listener, frozen=["piczak.two"])
    before = made.net.state_dict()
    made.run(Stop())
    after = made.net.params
    assert np.array_equal(before["piczak.two.weight"], after["piczak.two.weight"])
    assert not np.array_equal(before["piczak.one.weight"], after["piczak.one.weight"])
    assert set(made.best) == {"piczak.one.weight", "piczak.one.bias"}


def test_a_loss_that_is_no_number_stops_with_the_options_that_help():
    made = trainer(given={"lr": 1e30, "lr_final": "none"}, epochs=20)
    with (
        pytest.raises(InputError, match=r"diverged in phase 0, epoch \d+.*--lr than 1e\+30, or clip .*--clip-norm"),
        np.errstate(all="ignore"),
    ):
        made.run(Stop())
    made = trainer(given={"lr": 1e30, "lr_final": 1e29, "clip_norm": 3.0}, epochs=20)
    with pytest.raises(InputError, match=r"take a smaller --lr than 1e\+30$"), np.errstate(all="ignore"):
        made.run(Stop())
    made = trainer(given={"lr": "none", "lr_phase0": 1e30, "lr_final": "none"}, epochs=20)
    with pytest.raises(InputError, match=r"take a smaller --lr-phase0 than 1e\+30, or clip"), np.errstate(all="ignore"):
        made.run(Stop())


def test_gradient_norms_are_recorded_on_request():
    listener, seen = Rows(), {}
    made = trainer(listener, given={"grad_norms": True})
    update = made.updates.step

    def watched(params, grads, step):
        for name, gradient in grads.items():
            seen.setdefault(name, []).append(np.linalg.norm(gradient))
        update(params, grads, step)

    made.updates.step = watched
    made.run(Stop())
    steps = made.task.steps
    assert set(seen) == {"piczak.one.weight", "piczak.one.bias", "piczak.two.weight", "piczak.two.bias"} and steps > 1
    for epoch, row in enumerate(listener.rows):
        for name, norms in seen.items():
            mine = norms[epoch * steps : (epoch + 1) * steps]
            assert row["grad_norms"][name] == pytest.approx(np.mean(mine), rel=1e-5)
            assert row["grad_norms_max"][name] == pytest.approx(max(mine), rel=1e-5)


def test_balanced_mini_batches_show_every_class_equally_often():
    seen = np.zeros(3, int)
    task = trainer(balanced=True).task
    for _, label in task.batches(1, 0):
        seen += np.bincount(label, minlength=3)
    assert len(set(seen)) == 1
    assert task.steps == -(-seen.sum() // 8)


@pytest.fixture
def python_hears_ctrl_c():
    """A shell starts its background jobs deaf to Ctrl-C; the test must not be."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_is_held_back_until_the_weights_are_whole_and_the_second_is_not(python_hears_ctrl_c):
    before = signal.getsignal(signal.SIGINT)
    with stop_on_signal() as stop:
        stop.check()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        with pytest.raises(Interrupted):
            stop.check()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            signal.sigtimedwait([], 1)  # gives the signal time to arrive
    assert signal.getsignal(signal.SIGINT) is before


# -- updates


def parameters():
    rng = np.random.default_rng(2)
    return {"a.weight": rng.normal(size=(3, 2)), "a.bias": rng.normal(size=3)}


def test_weight_decay_is_piczaks_and_spares_biases():
    # cost + 0.1 * sum(w^2) has gradient 0.2 w; with no other gradient, no momentum and rate 0.5, w loses a tenth.
    updates = Updates(resolve(({"weight_decay": 0.1, "momentum": 0, "lr": 0.5, "lr_final": "none"}, None)), 0, 10)
    params = parameters()
    before = {name: value.copy() for name, value in params.items()}
    updates.step(params, {name: np.zeros_like(value) for name, value in params.items()}, 0)
    np.testing.assert_allclose(params["a.weight"], 0.9 * before["a.weight"], rtol=1e-12)
    assert np.array_equal(params["a.bias"], before["a.bias"])


def test_the_learning_rate_decays_exponentially_from_lr_to_lr_final():
    updates = Updates(resolve(({"lr": 0.1, "lr_final": 0.001}, None)), 0, 100)
    assert [updates.lr_at(step) for step in (0, 50, 100)] == pytest.approx([0.1, 0.01, 0.001])
    constant = Updates(resolve(({"lr": 0.1, "lr_final": "none"}, None)), 0, 100)
    assert constant.lr_at(77) == 0.1


@pytest.mark.parametrize("per", ["parameter", "layer"])
def test_gradients_are_clipped_per_parameter_or_per_layer(per):
    given = {"clip_norm": 1.0, "clip_per": per, "momentum": 0, "lr": 1.0, "lr_final": "none"}
    grads = {"a.weight": np.array([[3.0, 4.0]]), "a.bias": np.array([12.0])}
    params = {name: np.zeros_like(grad) for name, grad in grads.items()}
    Updates(resolve((given, None)), 0, 10).step(params, grads, 0)
    if per == "parameter":
        np.testing.assert_allclose(-params["a.weight"], [[0.6, 0.8]])
        np.testing.assert_allclose(-params["a.bias"], [1.0])
    else:
        np.testing.assert_allclose(-params["a.weight"], [[3 / 13, 4 / 13]])
        np.testing.assert_allclose(-params["a.bias"], [12 / 13])


def test_forcing_runs_on_adam_without_decay_or_clipping():
    updates = Updates(resolve(({"preset": "paper", "net": "mstnet", "weight_decay": 0.1}, None)), "forcing", 10)
    assert {type(optimizer).__name__ for optimizer in updates.optimizers.values()} == {"Adam"}
    assert [optimizer.weight_decay for optimizer in updates.optimizers.values()] == [0.0, 0.0]
    assert (updates.lr, updates.clip_norm) == (3e-4, None)


def test_what_a_forcing_target_is():
    from scratchnet.training.inputs import forcing_target

    class Known:
        originals = np.arange(10)

        def statistics(self, indices):
            train = len(indices) == 4
            return {"mean": -30.0, "std": 9.0, "min": -60.0 if train else -100.0, "max": 20.0 if train else 100.0}

    def ends(kind, low, high):
        norm = forcing_target(resolve(({"forcing_target": kind}, None)), Known(), np.arange(4))
        return pytest.approx(((low - norm.offset) / norm.scale, (high - norm.offset) / norm.scale))

    assert ends("minmax", -60, 20) == (-1, 1)  # of the training set
    assert ends("paper", -100, 100) == (-0.35, 0.65)
    assert ends("code", -100, 100) == (0, 1)
    silence = SimpleNamespace(statistics=lambda indices: {"mean": 1, "std": 0, "min": 1, "max": 1})
    assert forcing_target(resolve(({}, None)), silence, [0]).scale > 0


@pytest.mark.parametrize("kind", ["minmax", "paper", "code"])
@pytest.mark.parametrize("standardize", ["train", "none"])
def test_piczaknet_behind_mstnet_sees_what_it_saw_in_phase_0(kind, standardize):
    """A front end that is forced to perfection changes nothing: its target, then what the network does itself."""
    from scratchnet.training.inputs import forcing_target, normalisation, normalisation_inside

    known = SimpleNamespace(
        originals=np.arange(10), statistics=lambda i: {"mean": -30.0, "std": 9.0, "min": -90.0 - len(i), "max": 20.0}
    )
    config = resolve(({"net": "mstnet", "forcing_target": kind, "standardize": standardize}, None))
    steps = [how(config, known, np.arange(4)) for how in (normalisation, forcing_target, normalisation_inside)]
    expected, forced, inside = ((lambda x, n=n: (x - n.offset) / n.scale) for n in steps)
    decibels = np.linspace(-90, 20, 7)
    assert inside(forced(decibels)) == pytest.approx(expected(decibels), abs=1e-12)
    assert (inside(decibels) == decibels).all() == (standardize == "none")
    if standardize == "train":
        assert (expected(decibels) == (decibels + 30) / 9).all()
