"""The training of one phase: mini-batches, early stopping, and a state that a later process can go on from exactly.

Order, dropout masks and learning rate are pure functions of (seed, phase, epoch, step), so that the state is no more
than the weights, the optimizer's arrays and a few counters.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from scratchnet import backend
from scratchnet.errors import InputError
from scratchnet.training.config import option
from scratchnet.training.stop import Interrupted, Stop
from scratchnet.training.sums import Sums
from scratchnet.training.tasks import Score, Task
from scratchnet.training.updates import Updates

CHECKPOINT_SECONDS = 60.0  # a killed run loses at most this and an epoch
LOOK_SECONDS = 1.0  # how often a GPU is asked within an epoch how training goes: asking waits for it


@dataclass
class State:
    """Where a phase stands: `batch` mini-batches of `epoch` (from 1) are done, with these sums over its segments.

    The sums are those of the last look at them.
    """

    epoch: int = 1
    batch: int = 0
    seen: int = 0
    loss: float = 0.0
    correct: int = 0
    seconds: float = 0.0
    norms: dict[str, float] = field(default_factory=dict)
    largest_norms: dict[str, float] = field(default_factory=dict)
    best_epoch: int = 0
    best_score: Score = ()
    best_valid: dict[str, float | None] = field(default_factory=dict)


class Listener:
    """What the loop tells; every method may be overridden."""

    def step(self, state: State) -> None:
        """A mini-batch was learned; on a GPU this is told once a second and at the end of an epoch, not for each."""

    def epoch(self, row: dict[str, Any], best: bool) -> None:
        """An epoch ended: its line of metrics.jsonl."""

    def checkpoint(self, save: Callable[[], tuple[dict[str, np.ndarray], dict[str, Any]]]) -> None:
        """A good moment to store what `save()` returns."""


class Trainer:
    """Trains those weights of `net` that are not frozen; `best` holds their best values so far, by name."""

    def __init__(
        self,
        net: Any,
        task: Task,
        updates: Updates,
        *,
        title: str,
        epochs: int,
        dropout_seed: int,
        patience: int | None = None,
        grad_norms: bool = False,
        listener: Listener | None = None,
    ) -> None:
        self.net, self.task, self.updates = net, task, updates
        self.title, self.epochs, self.patience = title, epochs, patience
        self.dropout_seed, self.grad_norms = dropout_seed, grad_norms
        self.listener = listener or Listener()
        self._begin(State())
        state = {**net.params, **net.buffers}  # running statistics move with the weights beside them
        self.trained = [name for name in state if not net.layers[name.rpartition(".")[0]].frozen]
        self.best = self._weights()

    def _weights(self) -> dict[str, np.ndarray]:
        state = {**self.net.params, **self.net.buffers}
        return {name: backend.to_numpy(state[name]).copy() for name in self.trained}

    def _begin(self, state: State) -> None:
        self.state = state
        self._sums = Sums(state.loss, state.correct, state.norms, state.largest_norms)
        self._looked, self._told = time.monotonic(), state.batch

    # -- stopping and going on

    def save(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and counters from which `restore` goes on to the same result."""
        self._look()
        arrays = {f"now/{name}": a for name, a in self._weights().items()}
        arrays |= {f"best/{name}": a for name, a in self.best.items()}
        arrays |= {f"update/{name}": np.asarray(a) for name, a in self.updates.state_dict().items()}
        return arrays, asdict(self.state)

    def restore(self, arrays: dict[str, np.ndarray], state: dict[str, Any]) -> None:
        """Go on from what `save` gave."""

        def part(prefix: str) -> dict[str, np.ndarray]:
            return {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}

        self.net.load_state_dict(part("now/"), strict=False)
        self.best = part("best/")
        self.updates.load_state_dict(part("update/"))
        score = tuple(-math.inf if number is None else number for number in state["best_score"])  # JSON has no infinity
        self._begin(State(**{**state, "best_score": score}))

    # -- training

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or `patience` ran out."""
        done = self.state.epoch - 1
        return done >= self.epochs or (self.patience is not None and done - self.state.best_epoch >= self.patience)

    def run(self, stop: Stop) -> None:
        """Train to the end of the phase; on `Interrupted`, the listener gets to store the state first."""
        stored = time.monotonic()
        try:
            while not self.finished:
                self._train(stop)
                self._close_epoch(stop)
                if time.monotonic() - stored > CHECKPOINT_SECONDS and not self.finished:
                    self.listener.checkpoint(self.save)
                    stored = time.monotonic()
        except Interrupted:
            self.listener.checkpoint(self.save)
            raise

    def _train(self, stop: Stop) -> None:
        state, started = self.state, time.perf_counter()
        before = state.seconds
        for x, target in self.task.batches(state.epoch, state.batch):
            self._step(x, target)
            state.seconds = before + time.perf_counter() - started
            stop.check()
        self._look()
        if self._told != state.batch:
            self._tell()
        state.seconds = before + time.perf_counter() - started

    def _look(self) -> None:
        """Read the epoch's sums into the state; a GPU then has done all that was asked of it."""
        state = self.state
        state.loss, state.correct, state.norms, state.largest_norms = self._sums.read()
        self._looked = time.monotonic()
        if not math.isfinite(state.loss):
            raise self._diverged(state.loss)

    def _diverged(self, loss: float) -> InputError:
        may_clip = self.updates.may_clip and not self.updates.clip_norm
        clip = ", or clip gradients with --clip-norm 3" if may_clip else ""
        return InputError(
            f"training diverged in {self.title}, epoch {self.state.epoch} (loss {loss}): take a smaller "
            f"{option(self.updates.lr_setting)} than {self.updates.lr:g}{clip}"
        )

    def _step(self, x: Any, target: Any) -> None:
        state, task, net = self.state, self.task, self.net
        step = (state.epoch - 1) * task.steps + state.batch
        net.reseed(self.dropout_seed, step)
        prediction = net.forward(x, training=True)
        self._sums.add(task.loss.forward(prediction, target), len(target), task.correct(prediction, target))
        look = backend.current() != "cuda" or time.monotonic() - self._looked >= LOOK_SECONDS
        if look:
            self._look()
        net.backward(task.loss.backward())
        grads = net.grads
        if self.grad_norms:
            self._sums.add_norms(grads)
        self.updates.step(net.params, grads, step)
        state.batch += 1
        state.seen += len(target)
        if look:
            self._tell()

    def _tell(self) -> None:
        self._told = self.state.batch
        self.listener.step(self.state)

    def _close_epoch(self, stop: Stop) -> None:
        state, task = self.state, self.task
        started = time.perf_counter()
        valid = task.validate(self.net, stop.check)
        score = tuple(number if math.isfinite(number) else -math.inf for number in task.score(valid))
        loss = valid["valid_loss"] or 0.0
        if not (state.best_score or math.isfinite(loss)):  # the very first weights are none: nothing is worth keeping
            raise self._diverged(loss)
        better = not state.best_score or score > state.best_score
        if better:
            self.best = self._weights()
            state.best_epoch, state.best_score, state.best_valid = state.epoch, score, valid
        row: dict[str, Any] = {
            "epoch": state.epoch,
            "train_loss": state.loss / state.seen,
            "train_accuracy": None if valid["valid_accuracy"] is None else state.correct / state.seen,
            **valid,
            "lr": self.updates.lr_at(state.epoch * task.steps - 1),
            "seconds": state.seconds + time.perf_counter() - started,
            "waited": task.waited,
        }
        if self.grad_norms:
            row["grad_norms"] = {name: total / task.steps for name, total in state.norms.items()}
            row["grad_norms_max"] = dict(state.largest_norms)
        self._begin(
            State(
                epoch=state.epoch + 1,
                best_epoch=state.best_epoch,
                best_score=state.best_score,
                best_valid=state.best_valid,
            )
        )
        self.listener.epoch(row, better)
