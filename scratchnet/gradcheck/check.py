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
from collections.abc import Callable
from typing import Any

import numpy as np

from scratchnet import backend
from scratchnet.gradcheck.differences import Slope, best_slope
from scratchnet.gradcheck.report import ArrayReport, GradcheckResult
from scratchnet.gradcheck.subject import Subject, put_back

PARTS = 16  # of an array

Move = Callable[[float], np.ndarray]  # how far → the output


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
    subject = Subject(layer, x, target, training)
    with put_back(subject.layer):
        result = _check(subject, samples, tolerance, np.random.default_rng(seed))
        if subject.parts is not None and result.arrays and not result.ok:
            result.hint = _culprits(subject, samples, tolerance)
    return result


def _culprits(subject: Subject, samples: int, tolerance: float) -> str:
    """Which layers of a wrong network are wrong by themselves: on noise, off the kinks, or on what they get there."""

    def check(layer: Any, x: Any) -> GradcheckResult | None:
        try:
            with np.errstate(all="ignore"):
                return gradcheck(layer, x, training=subject.training, samples=samples, tolerance=tolerance)
        except Exception:  # whatever such a layer does not take: a logarithm, for one, noise
            return None

    x, rng, wrong, unknown = subject.x, np.random.default_rng(0), [], []
    for name, layer in copy.deepcopy(dict(subject.parts or {})).items():
        noise, own = rng.standard_normal(x.shape), x.copy()
        x = layer.forward(x, training=subject.training)
        on_noise, on_its_own = check(layer, noise), check(layer, own)
        called = f"{name} ({type(layer).__name__})"
        fails_on_noise = on_noise is not None and on_noise.arrays and not on_noise.ok
        fails_there = on_its_own is not None and any(report.wrong for report in on_its_own.arrays)
        if on_noise is None and on_its_own is None:
            unknown.append(called)
        elif fails_on_noise or fails_there:
            wrong.append(called)
    if wrong:
        return f"of the layers by themselves {', '.join(wrong)} {'is' if len(wrong) == 1 else 'are'} wrong"
    but = f", but for {', '.join(unknown)}, which cannot be checked" if unknown else ""
    return f"by itself each layer is right{but}: see how they are put together; net.fused = False runs them one by one"


def _check(subject: Subject, samples: int, tolerance: float, rng: np.random.Generator) -> GradcheckResult:
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
            comparison = _Comparison(report, subject, array, gradient, y, r)
            if comparison.coordinates(samples, rng):
                comparison.directions(rng)
            if name == "input" and subject.works_in_place:
                report.note = "forward writes into it: in a network, the layer before may need what stood there"
    for name in gradients.keys() - subject.arrays.keys():
        complaint = "backward gives a gradient of it, and there is no such parameter"
        result.arrays.append(ArrayReport(name, tuple(gradients[name].shape), tolerance, complaint=complaint))
    return result


class _Comparison:
    """Of one array's gradient with differences."""

    def __init__(
        self, report: ArrayReport, subject: Subject, array: Any, gradient: np.ndarray, y: np.ndarray, r: np.ndarray
    ) -> None:
        self.report, self.subject, self.array, self.gradient, self.y, self.r = report, subject, array, gradient, y, r
        self.home = array.copy()
        self.rms = float(np.sqrt(np.mean(backend.to_numpy(array) ** 2)))

    def compare(self, index: tuple[int, ...] | None, analytic: float, f: Move, unit: float) -> bool:
        """False where the forward pass does not tell the slope to a tenth of the tolerance."""

        def enough(found: Slope) -> bool:
            if found.scale == 0 and analytic == 0:
                return True  # nothing moves, and backward says so
            return found.error <= self.report.tolerance / 10 * max(found.scale, abs(found.value), abs(analytic))

        found = best_slope(f, self.y, self.r, unit, enough)
        if enough(found):
            self.report.add(index, analytic, found)
        return enough(found)

    def coordinates(self, samples: int, rng: np.random.Generator) -> bool:
        """One by one, at most `samples`. False where most of them have no derivative."""
        report, wanted = self.report, min(samples, self.gradient.size)
        for flat in _coordinates(self.gradient, wanted, rng):
            if report.checked == wanted:
                break
            index = tuple(int(i) for i in np.unravel_index(flat, self.gradient.shape))
            value = float(self.array[index])
            move = self.subject.mover(self.array, index, value)
            report.left_out += not self.compare(index, float(self.gradient[index]), move, max(abs(value), self.rms))
        if 2 * report.checked >= wanted:
            return True
        report.complaint = (
            f"only {report.checked} of {report.checked + report.left_out} coordinates have a derivative to compare "
            "with: the others lie beside kinks (ReLU at 0, ties in a max-pool) or drown in rounding; use another input"
        )
        return False

    def directions(self, rng: np.random.Generator) -> None:
        """Across the whole array, which sees those that were not sampled too.

        Where that crosses a kink: without the array's zeros (many a layer's kink), or in each of some parts of it.
        """
        shape = self.gradient.shape
        if self.along(np.ones(shape, bool), rng):
            self.report.direction = "a direction"
        elif self.subject.parts is None:  # quick, and not as full of kinks as a network
            zeros = backend.to_numpy(self.home) == 0
            without = " without its zeros" if zeros.any() and not zeros.all() else ""
            if without and self.along(~zeros, rng):
                self.report.direction = f"a direction{without}"
                return
            part = rng.integers(0, PARTS, shape)
            known = sum(self.along((part == k) & ~zeros if without else part == k, rng) for k in range(PARTS))
            self.report.direction = f"{known} of {PARTS} parts of a direction{without}" if known else ""

    def along(self, mask: np.ndarray, rng: np.random.Generator) -> bool:
        """A random direction where the mask is True; False where it tells nothing."""
        if not mask.any():
            return False  # nothing would move
        direction = rng.standard_normal(self.gradient.shape) * mask
        move = self.subject.mover(self.array, ..., self.home, direction)
        return self.compare(None, float((direction * self.gradient).sum()), move, self.rms)


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
