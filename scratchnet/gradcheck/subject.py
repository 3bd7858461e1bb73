"""What is checked: a layer, loss or network in float64, with the arrays whose gradients it returns."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from scratchnet import backend
from scratchnet.layers import Dropout


class Subject:
    """A layer, loss or network in float64 and its arrays, each movable in place."""

    def __init__(self, layer: Any, x: Any, target: Any, training: bool) -> None:
        self.target, self.training = backend.asarray(target) if hasattr(target, "dtype") else target, training
        self.layer = _ready(layer)
        self.parts = parts_of(self.layer)
        self.x = _double(x)
        self.works_in_place = False
        self._state = _Buffers(self.layer)

    @property
    def arrays(self) -> dict[str, Any]:
        """The input and all parameters, by name."""
        return {"input": self.x, **getattr(self.layer, "params", {})}

    def forward(self) -> np.ndarray:
        """The output, copied: it may share memory with the input."""
        x = self.x.copy()  # a layer may work in place
        self._state.put_back()  # every pass begins with the same
        if self.target is not None:
            y = self.layer.forward(x, self.target)
        else:
            self._demand_a_layer()
            if hasattr(self.layer, "reseed"):
                self.layer.reseed(0, 0)
            y = self.layer.forward(x, training=self.training)
        if not hasattr(y, "shape"):
            found = "None: is there a return?" if y is None else f"a {type(y).__name__}, no array"
            raise ValueError(f"{type(self.layer).__name__}.forward returns {found}")
        self.works_in_place |= not np.array_equal(backend.to_numpy(x), backend.to_numpy(self.x), equal_nan=True)
        return np.array(backend.to_numpy(y))

    def _demand_a_layer(self) -> None:
        taken = inspect.signature(self.layer.forward).parameters
        if "training" not in taken and not any(one.kind is one.VAR_KEYWORD for one in taken.values()):
            raise ValueError(
                f"{type(self.layer).__name__}.forward takes no `training`: a layer has forward(x, training=False); "
                "a loss is checked with its target, gradcheck(loss, x, target)"
            )

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
        for name, gradient in gradients.items():
            if isinstance(gradient, tuple | list):
                told = f"gives a {type(gradient).__name__} as the gradient of {name}: one array it must be"
                raise ValueError(f"{type(self.layer).__name__}.backward {told}")
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
            raise ValueError(
                f"{name} gives two outputs for one input: what it draws at random needs a reseed(seed, step) that "
                "rewinds it, what it keeps from pass to pass belongs in `buffers`"
            )

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


@contextmanager
def put_back(layer: Any) -> Iterator[None]:
    """What passes in training move without a gradient, as it was."""
    buffers = _Buffers(layer)
    parts = (layer, *(parts_of(layer) or {}).values())
    drawn = [(part, part.seed, part.offset) for part in parts if isinstance(part, Dropout)]
    try:
        yield
    finally:
        buffers.put_back()
        for part, seed, offset in drawn:
            part.seed, part.offset = seed, offset


def parts_of(layer: Any) -> Mapping[str, Any] | None:
    """A network's layers by name; None for anything else, whatever it calls its `layers`."""
    layers = getattr(layer, "layers", None)
    return layers if isinstance(layers, Mapping) else None


class _Buffers:
    """Those of a layer, or of all of a network's, as they are now."""

    def __init__(self, layer: Any) -> None:
        owners = [part for part in (parts_of(layer) or {"": layer}).values() if hasattr(part, "buffers")]
        self._kept = [(one.buffers, name, a, a.copy()) for one in owners for name, a in one.buffers.items()]

    def put_back(self) -> None:
        """The arrays themselves, with the numbers that they held."""
        for buffers, name, array, numbers in self._kept:
            array[...] = numbers
            buffers[name] = array


def _dictionary(layer: Any, name: str) -> Mapping[str, Any]:
    found = getattr(layer, name, {})
    if not isinstance(found, Mapping):
        kind = type(found).__name__
        raise ValueError(f"{type(layer).__name__}.{name} is a {kind}: make it a dictionary, name → array")
    return found


def _ready(layer: Any) -> Any:
    """The layer itself if its parameters are float64 and lie where the backend in use computes, else such a copy."""
    params, buffers = (_dictionary(layer, name) for name in ("params", "buffers"))
    for kind, those in (("parameter", params), ("buffer", buffers)):
        for name, value in those.items():
            if not (hasattr(value, "__setitem__") and hasattr(value, "dtype")):
                raise ValueError(f"{kind} {name} is no array but {value!r}: make it one, of shape () if need be")
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
