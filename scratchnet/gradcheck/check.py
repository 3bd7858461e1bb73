"""Is a hand-written backward pass the derivative of its forward pass?

For a random output gradient r, `backward(r)` must return ∂(Σ_j r_j y_j)/∂a for the input a and for every parameter a.
That is compared, coordinate by coordinate, with central differences of the forward pass in float64.

Three choices make the comparison sharp:

- r is random, not all ones, so that errors that cancel in a plain sum do not.
- An error is relative to Σ_j |r_j ∂y_j/∂a_i|, the size of the terms of which the gradient is the sum. It stays defined
  where the gradient vanishes, and one missing term of a long sum is still seen.
- A coordinate beside a kink is told from the forward pass alone (see `differences`) and another one takes its place;
  no tolerance is loosened for it. Where most coordinates are like that, the check fails and says so.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from scratchnet import backend
from scratchnet.gradcheck.differences import Slope, best_slope
from scratchnet.gradcheck.report import ArrayReport, GradcheckResult
from scratchnet.layers import Dropout

PARTS = 16  # of an array


def gradcheck(
    layer: Any,
    x: Any,
    target: Any = None,
    *,
    training: bool = False,
    samples: int = 40,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> GradcheckResult:
    """Check the backward pass of a layer, a loss (give its `target`) or a network against central differences.

    layer     anything with `forward(x, training=False)` and `backward(dy)`; its `params` and `grads` dictionaries,
              where it has them, are checked too. A loss has `forward(prediction, target)` and `backward()`.
              A gradient that backward does not give is wrong, but for parameters of a layer that is `frozen`, and
              for the input of one whose `need_dx` is False. So is one that adds to what the last pass left in `grads`:
              nothing clears that in training. A backward may write into arrays that lie in `grads` from the start.
              float32 parameters, and those that do not lie where the backend in use computes (NumPy's on a GPU), are
              checked in a float64 copy that does, in which whatever refers to an array of `params`, `buffers` or
              `grads` refers to its copy. float64 ones there are moved and put back, bit for bit;
              so are buffers that training moves in place, and the place in its numbers of a `Dropout`.
    x         the input, any shape; taken as float64. Keep it off kinks: beside one there is no derivative to check.
              It and `target` are brought to the backend in use.
    training  passed to `forward`. One input must give one output: a layer that draws random numbers is rewound by its
              `reseed(seed, step)`, if it has one, before every forward pass.
    samples   coordinates checked per array (smaller arrays: all of them), besides random directions across it all.
    tolerance the largest relative error that is right.
    seed      of the output gradient, the coordinates and the directions.

    Raises ValueError where there is nothing to compare: an input or an output without elements, an output that is not
    float64, not finite, or not repeatable, a parameter that is no array.
    """
    subject = _Subject(layer, x, target, training)
    with _put_back(subject.layer):
        return _check(subject, samples, tolerance, np.random.default_rng(seed))


def _check(subject: _Subject, samples: int, tolerance: float, rng: np.random.Generator) -> GradcheckResult:
    y = subject.forward()
    subject.demand_repeatable(y)
    r = rng.standard_normal(y.shape) if subject.target is None else np.ones(y.shape)
    gradients, accumulating = subject.gradients(r, tolerance)
    result = GradcheckResult(type(subject.layer).__name__, tolerance)
    for name, array in subject.arrays.items():
        if name not in gradients and not subject.owes(name):
            continue
        report = ArrayReport(name, tuple(array.shape), tolerance)
        result.arrays.append(report)
        if name not in gradients:
            report.complaint = "backward gives no gradient"
            continue
        gradient = gradients[name]
        if gradient.shape != report.shape:
            report.complaint = f"its gradient has shape {gradient.shape}"
        elif not np.isfinite(gradient).all():
            report.complaint = f"its gradient is not finite at {np.argwhere(~np.isfinite(gradient))[0].tolist()}"
        elif name in accumulating:
            report.complaint = (
                "the second of two equal passes gives another gradient: backward must assign it, not add to the last "
                "one, which nothing clears"
            )
        elif gradient.size:
            _check_array(report, subject, array, gradient, y, r, samples, rng)
            if name == "input" and subject.works_in_place:
                report.note = "forward writes into it: in a network, the layer before may need what stood there"
    for name in gradients.keys() - subject.arrays.keys():
        complaint = "backward gives a gradient of it, and there is no such parameter"
        result.arrays.append(ArrayReport(name, tuple(gradients[name].shape), tolerance, complaint=complaint))
    return result


@contextmanager
def _put_back(layer: Any) -> Iterator[None]:
    """What passes in training move without a gradient, as it was."""
    buffers = [(array, array.copy()) for array in getattr(layer, "buffers", {}).values()]
    parts = (layer, *(_parts(layer) or {}).values())
    drawn = [(part, part.seed, part.offset) for part in parts if isinstance(part, Dropout)]
    try:
        yield
    finally:
        for array, before in buffers:
            array[...] = before
        for part, seed, offset in drawn:
            part.seed, part.offset = seed, offset


def _check_array(
    report: ArrayReport,
    subject: _Subject,
    array: Any,
    gradient: np.ndarray,
    y: np.ndarray,
    r: np.ndarray,
    samples: int,
    rng: np.random.Generator,
) -> None:
    """Coordinates first, then one direction across the whole array, which sees those that were not sampled too.

    Where it crosses a kink: one without the array's zeros (many a layer's kink), or one in each of some parts of it.
    """
    rms = float(np.sqrt(np.mean(backend.to_numpy(array) ** 2)))

    def compare(index: tuple[int, ...] | None, analytic: float, f: Callable[[float], np.ndarray], unit: float) -> bool:
        """False where the forward pass does not tell the slope to a tenth of the tolerance."""

        def enough(found: Slope) -> bool:
            if found.scale == 0 and analytic == 0:
                return True  # nothing moves, and backward says so
            return found.error <= report.tolerance / 10 * max(found.scale, abs(found.value), abs(analytic))

        found = best_slope(f, y, r, unit, enough)
        if enough(found):
            report.add(index, analytic, found)
        return enough(found)

    wanted = min(samples, gradient.size)
    for flat in _coordinates(gradient, wanted, rng):
        if report.checked == wanted:
            break
        index = tuple(int(i) for i in np.unravel_index(flat, gradient.shape))
        value = float(array[index])
        told = compare(index, float(gradient[index]), subject.mover(array, index, value), max(abs(value), rms))
        report.left_out += not told
    if 2 * report.checked < wanted:
        report.complaint = (
            f"only {report.checked} of {report.checked + report.left_out} coordinates have a derivative to compare "
            "with: the others lie beside kinks (ReLU at 0, ties in a max-pool) or drown in rounding; use another input"
        )
        return
    home = array.copy()

    def along(mask: np.ndarray) -> bool:
        if not mask.any():
            return False  # nothing would move
        direction = rng.standard_normal(gradient.shape) * mask
        return compare(None, float((direction * gradient).sum()), subject.mover(array, ..., home, direction), rms)

    if along(np.ones(gradient.shape, bool)):
        report.direction = "a direction"
    elif subject.parts is None:  # quick, and not as full of kinks as a network
        zeros = backend.to_numpy(home) == 0
        without = " without its zeros" if zeros.any() and not zeros.all() else ""
        if without and along(~zeros):
            report.direction = f"a direction{without}"
            return
        part = rng.integers(0, PARTS, gradient.shape)
        known = sum(along((part == k) & ~zeros if without else part == k) for k in range(PARTS))
        report.direction = f"{known} of {PARTS} parts of a direction{without}" if known else ""


def _coordinates(gradient: np.ndarray, wanted: int, rng: np.random.Generator) -> list[int]:
    """Flat coordinates in the order in which they are tried, more than wanted so that kinks can be passed over.

    All of a small array. Of a big one the first and the last, then in turn one whose gradient is not zero (behind ReLUs
    and max-pools few are) and any (which finds a gradient that is missing), at random.
    """
    if gradient.size <= 3 * wanted:
        return [int(i) for i in rng.permutation(gradient.size)]
    alive = np.flatnonzero(gradient)
    anywhere = rng.integers(0, gradient.size, 2 * wanted)
    somewhere = rng.choice(alive, 2 * wanted) if len(alive) else anywhere
    picked = [0, gradient.size - 1, *np.stack([somewhere, anywhere], axis=1).reshape(-1)]
    return list(dict.fromkeys(int(i) for i in picked))


def _parts(layer: Any) -> Mapping[str, Any] | None:
    """A network's layers by name; None for anything else, whatever it calls its `layers`."""
    layers = getattr(layer, "layers", None)
    return layers if isinstance(layers, Mapping) else None


class _Subject:
    """A layer, loss or network in float64 and the arrays whose gradients it returns, each movable in place."""

    def __init__(self, layer: Any, x: Any, target: Any, training: bool) -> None:
        self.target, self.training = backend.asarray(target) if hasattr(target, "dtype") else target, training
        self.layer = _ready(layer)
        self.parts = _parts(self.layer)
        self.x = _double(x)
        self.works_in_place = False

    @property
    def arrays(self) -> dict[str, Any]:
        """The input and all parameters, by name."""
        return {"input": self.x, **getattr(self.layer, "params", {})}

    def forward(self) -> np.ndarray:
        """The output, copied: it may share memory with the input."""
        x = self.x.copy()  # a layer may work in place
        if self.target is not None:
            y = self.layer.forward(x, self.target)
        else:
            if hasattr(self.layer, "reseed"):
                self.layer.reseed(0, 0)
            y = self.layer.forward(x, training=self.training)
        self.works_in_place |= not np.array_equal(backend.to_numpy(x), backend.to_numpy(self.x), equal_nan=True)
        return np.array(backend.to_numpy(y))

    def owes(self, name: str) -> bool:
        """Whether backward must give the gradient of this array."""
        if name == "input":
            return getattr(self.layer, "need_dx", True)
        owner = (self.parts or {}).get(name.rpartition(".")[0], self.layer)
        return not getattr(owner, "frozen", False)

    def gradients(self, r: np.ndarray, tolerance: float) -> tuple[dict[str, np.ndarray], set[str]]:
        """The gradients by array name, and the names of those that a second pass does not give again.

        The arrays in `grads` are full of zeros before the first pass, of NaN before the second: where backward writes
        nothing both stay, where it adds to them the NaN shows.
        """
        first, second = self._backward(r, 0.0), self._backward(r, np.nan)
        given, accumulating = {}, set()
        for name in first.keys() & second.keys():
            gradient, again = first[name], second[name]
            if again.size and not gradient.any() and np.isnan(again).all():
                continue
            given[name] = gradient
            told = np.isfinite(gradient) & (gradient != 0)
            slack = tolerance * np.abs(gradient[told]).max(initial=0)
            if again.shape != gradient.shape or not (np.abs(again[told] - gradient[told]) <= slack).all():
                accumulating.add(name)
        return given, accumulating

    def _backward(self, r: np.ndarray, fill: float) -> dict[str, np.ndarray]:
        """One pass, the arrays that lie in `grads` full of `fill` before it and put back after it.

        The gradients are copies: a layer may reuse its buffers in the next pass.
        """
        held = []
        for part in (self.parts or {"": self.layer}).values():
            grads = getattr(part, "grads", {})
            for name, array in list(grads.items()):
                before = copy.copy(array)
                try:
                    array[...] = fill
                    held.append((array, before))
                except (TypeError, ValueError):  # a number, or a view to read only: not what backward writes into
                    grads[name] = None if array is None else backend.asarray(np.full(np.shape(array), fill))
        self.forward()
        dy = backend.asarray(r.copy())  # a gradient may be dy itself, and is filled in the next pass
        if self.target is not None:
            dx = self.layer.backward()
        elif "need_dx" in inspect.signature(self.layer.backward).parameters:  # a network, which else saves the work
            dx = self.layer.backward(dy, need_dx=True)
        else:
            dx = self.layer.backward(dy)
        gradients = {"input": dx, **getattr(self.layer, "grads", {})}
        copies = {name: np.array(backend.to_numpy(a)) for name, a in gradients.items() if a is not None}
        for array, before in reversed(held):  # two may share their memory
            array[...] = before
        return copies

    def demand_repeatable(self, y: np.ndarray) -> None:
        """Raise ValueError where y, the output, is nothing that differences could be taken of."""
        name = type(self.layer).__name__
        if not (self.x.size and y.size):
            shapes = f"an output of shape {y.shape} for an input of shape {tuple(self.x.shape)}"
            raise ValueError(f"{name} gives {shapes}: there is nothing to compare")
        if y.dtype != np.float64:
            raise ValueError(f"{name} answers float64 in {y.dtype}: give it float64 parameters, and no float32 inside")
        if not np.isfinite(y).all():
            raise ValueError(f"{name} gives an output that is not finite: check it at another input")
        if not np.array_equal(y, self.forward()):
            raise ValueError(f"{name} gives two outputs for one input: it needs a reseed(seed, step) that rewinds it")

    def mover(self, array: Any, index: Any, home: Any, direction: Any = 1.0) -> Callable[[float], np.ndarray]:
        """t ↦ the output after moving array[index] from home by t·direction."""

        direction = backend.asarray(direction) if np.ndim(direction) else direction

        def moved(t: float) -> np.ndarray:
            array[index] = home + t * direction
            try:
                return self.forward()
            finally:
                array[index] = home

        return moved


def _ready(layer: Any) -> Any:
    """The layer itself if its parameters are float64 and lie where the backend in use computes, else such a copy."""
    params, buffers = getattr(layer, "params", {}), getattr(layer, "buffers", {})
    for name, value in params.items():
        if not (hasattr(value, "__setitem__") and hasattr(value, "dtype")):
            raise ValueError(f"parameter {name} is no array but {value!r}: make it one, of shape () if need be")
    library = backend.xp(backend.asarray(0.0))
    there = all(backend.xp(value) is library for value in (*params.values(), *buffers.values()))
    if there and all(value.dtype == np.float64 for value in params.values()):
        return layer
    grads = [value for value in getattr(layer, "grads", {}).values() if hasattr(value, "dtype")]
    arrays = [*params.values(), *grads, *(value for value in buffers.values() if value.dtype.kind == "f")]
    made = {id(value): _double(value) for value in arrays}
    # Indices and masks stay what they are. The memo of what is copied already: wherever the layer holds one of these
    # arrays, its copy holds the new one.
    return copy.deepcopy(layer, {id(v): backend.asarray(backend.to_numpy(v).copy()) for v in buffers.values()} | made)


def _double(x: Any) -> Any:
    """A copy in float64 where the backend in use computes."""
    return backend.asarray(np.array(backend.to_numpy(x), dtype=np.float64))
