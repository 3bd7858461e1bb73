"""A network: named groups of named layers, run forward and backward, frozen and thawed by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from scratchnet import backend
from scratchnet.fusion import fuse
from scratchnet.layers.layer import Array, Layer, as_float

Group = tuple[str, Sequence[tuple[str, Layer]]]


class Network:
    """Layers one after the other, in groups: `[("deepfourier", [("conv1", Conv1D(…)), …]), ("piczak", […])]`.

    A parameter is named group.layer.parameter, as in `deepfourier.conv1.weight`. `spec` is what `nets.build` needs to
    make the same network again. With `fused` (the default) the backend runs convolution, ReLU and max-pool in one pass.
    The numbers are those of the plain layers, except that a zero which is skipped hides the NaN or infinity that it
    would have met. What a layer is set to is looked at when the network is made: after changing it, assign `fused`
    again. `groups` and `layers` cannot be changed: for other layers make another network. A pickle or deep copy takes
    along what the layers remember of their last batch; `state_dict` does not.
    Raises ValueError for two groups, or two layers of a group, of one name, for what is no `Layer`, for layers
    of different dtypes, and for one that stands in two places: what it remembers for backward would be the other's.
    """

    def __init__(self, groups: Sequence[Group], spec: dict[str, Any] | None = None, fused: bool = True) -> None:
        self._groups = {name: tuple(layers) for name, layers in groups}
        self.spec = spec or {}
        placed = [(f"{group}.{name}", layer) for group, layers in groups for name, layer in layers]
        self._layers = dict(placed)
        for name, count in Counter([name for name, _ in (*groups, *placed)]).items():
            if count > 1:
                raise ValueError(f"{count} groups or layers are called {name!r}: give each a name of its own")
        for name, layer in placed:
            if not isinstance(layer, Layer):
                kind = type(layer).__name__
                raise ValueError(f"{name} is a {kind}: a network's layers derive from scratchnet.layers.Layer")
            if not hasattr(layer, "params"):
                raise ValueError(
                    f"{name} is a {type(layer).__name__} without params: call super().__init__() in its own"
                )
        if len({id(layer) for _, layer in placed}) < len(placed):
            raise ValueError("a layer stands in two places: make one for each")
        # Of several types within a layer the layer itself says what is wrong.
        types = {str(next(iter(layer.params.values())).dtype): name for name, layer in placed if layer.params}
        if len(types) > 1:
            told = " and ".join(f"{name} of {dtype}" for dtype, name in sorted(types.items()))
            raise ValueError(f"{told}: give all layers one dtype")
        self.fused = fused

    @property
    def groups(self) -> Mapping[str, tuple[tuple[str, Layer], ...]]:
        """The named layers of every group, in order."""
        return MappingProxyType(self._groups)

    @property
    def layers(self) -> Mapping[str, Layer]:
        """All layers, by group.layer, in order."""
        return MappingProxyType(self._layers)

    @property
    def fused(self) -> bool:
        """Whether blocks of layers run in one pass; assign to switch."""
        return self._fused

    @fused.setter
    def fused(self, fused: bool) -> None:
        self._fused = fused
        self._steps = {group: fuse([layer for _, layer in layers], fused) for group, layers in self.groups.items()}
        self._ran_on: str | None = None  # the kernels of the last forward

    @property
    def params(self) -> dict[str, Array]:
        """All parameters: name → array (the arrays themselves, not copies)."""
        return {f"{name}.{key}": a for name, layer in self.layers.items() for key, a in layer.params.items()}

    @property
    def grads(self) -> dict[str, Array]:
        """The last backward's gradients of all parameters that are not frozen: name → array."""
        trained = {name: layer for name, layer in self.layers.items() if not layer.frozen}
        return {f"{name}.{key}": a for name, layer in trained.items() for key, a in layer.grads.items()}

    @property
    def buffers(self) -> dict[str, Array]:
        """The arrays that no gradient moves, such as the running statistics of a batch normalisation: name → array."""
        return {f"{name}.{key}": a for name, layer in self.layers.items() for key, a in layer.buffers.items()}

    @property
    def dtype(self) -> np.dtype:
        """The parameters' dtype; float32 where there is none."""
        every = (a.dtype for layer in self.layers.values() for a in layer.params.values())
        return next(every, np.dtype(np.float32))

    def forward(self, x: Array, training: bool = False) -> Array:
        """The network's output for x (N, …): logits (N, n_classes). Raises ValueError for a batch of no samples."""
        y = self._run(list(self.groups), x, training)
        self._ran_on = backend.kernels_of(y).__name__  # the module itself cannot be pickled
        return y

    def features(self, x: Array) -> Array:
        """What the last group, PiczakNet, gets to see: the front end's output as an image, (N, 1, 60, 41)."""
        return self._run(list(self.groups)[:-1], x, training=False)

    def front(self) -> Network:
        """The first group alone, as a network that shares its layers: what spectrogram forcing trains."""
        name = next(iter(self.groups))
        return Network([(name, self.groups[name])], fused=self.fused)

    def backward(self, dlogits: Array, need_dx: bool = False) -> Array | None:
        """Fill `grads`. The gradient runs through frozen layers, and stops below the last layer that trains.

        Returns the gradient with respect to the input where `need_dx`, else None. Raises RuntimeError where no forward
        came before, on this backend, or a layer has run in another network since.
        """
        if self._ran_on != backend.kernels_of(dlogits).__name__:
            raise RuntimeError("forward comes before backward" + (", on the same backend" if self._ran_on else ""))
        steps = [step for steps in self._steps.values() for step in steps]
        trains = [any(layer.params and not layer.frozen for layer in step.layers) for step in steps]
        lowest = 0 if need_dx else (trains.index(True) if any(trains) else len(steps))
        dy = dlogits
        for i in reversed(range(lowest, len(steps))):
            steps[i].need_dx = need_dx or i > lowest
            dy = steps[i].backward(dy)
        return dy if need_dx else None

    def freeze(self, group: str) -> None:
        """Train nothing of a group or of one layer, such as "piczak" or "piczak.conv1" (§2.3.1).

        A frozen batch normalisation takes its running statistics, and leaves them as they are.
        Raises ValueError where no group and no layer with parameters or buffers is called so.
        """
        self._set_frozen(group, True)

    def unfreeze(self, group: str) -> None:
        """The opposite of `freeze`."""
        self._set_frozen(group, False)

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of all parameters and buffers in the host's memory: name → array."""
        return {name: backend.to_numpy(a).copy() for name, a in {**self.params, **self.buffers}.items()}

    def load_state_dict(self, state: dict[str, np.ndarray], strict: bool = True) -> None:
        """Copy parameters and buffers of these names in. With `strict`, every one must be there, and nothing else.

        Raises KeyError for a missing or unknown name (unknown always), ValueError for a wrong shape or numbers that are
        not real; nothing has changed then.
        """
        params = {**self.params, **self.buffers}
        lists = {
            "unknown": sorted(set(state) - set(params)),
            "missing": sorted(set(params) - set(state)) if strict else [],
        }
        if wrong := [f"{kind} parameters: {', '.join(names)}" for kind, names in lists.items() if names]:
            raise KeyError("; ".join(wrong))
        for name, a in state.items():
            if a.shape != params[name].shape:
                raise ValueError(f"{name} has shape {tuple(params[name].shape)}, not {tuple(a.shape)}")
            if a.dtype.kind not in "biuf":
                raise ValueError(f"{name} takes real numbers, not {a.dtype}")
        for name, a in state.items():
            params[name][...] = backend.xp(params[name]).asarray(a)

    def reseed(self, seed: int, step: int) -> None:
        """Make the coming dropout masks a pure function of (seed, step), so that a resumed run draws the same ones.

        So for any layer with a `reseed(seed, step)`.
        """
        drawing = [layer for layer in self.layers.values() if hasattr(layer, "reseed")]
        for i, layer in enumerate(drawing):
            layer.reseed((seed * len(drawing) + i) % 2**63, step)

    def to(self, name: str) -> Network:
        """Choose the backend (see `backend.use`, whose errors these are) and move the parameters there."""
        backend.use(name)
        for layer in self.layers.values():
            layer.params = {key: backend.asarray(a) for key, a in layer.params.items()}
            layer.buffers = {key: backend.asarray(a) for key, a in layer.buffers.items()}
            layer.grads = {}
        return self

    def _run(self, groups: list[str], x: Array, training: bool) -> Array:
        if x.dtype != self.dtype:
            x = backend.as_type(x, self.dtype) if self.params else as_float(x)
        if len(x) == 0:
            raise ValueError("a batch of no samples: give the network one at least")
        steps = [step for group in groups for step in self._steps[group]]
        self._ran_on = None
        for step in steps:
            step.forget()
        for step in steps:
            x = step.forward(x, training)
        return x

    def _set_frozen(self, group: str, frozen: bool) -> None:
        layers = {
            name: layer
            for name, layer in self.layers.items()
            if _has_state(layer) and (name == group or name.startswith(f"{group}."))
        }
        if not layers and (group in self.groups or group in self.layers):
            raise ValueError(f"{group} has no parameters or buffers; this network has {', '.join(self._parts())}")
        if not layers:
            raise ValueError(f"no part of this network is called {group!r}: it has {', '.join(self._parts())}")
        for layer in layers.values():
            layer.frozen = frozen
            layer.grads = {}

    def _parts(self) -> list[str]:
        names = [n for n, layer in self.layers.items() if _has_state(layer)]
        return sorted({n.split(".")[0] for n in names}) + names

    def __repr__(self) -> str:
        lines = [f"  {name:24} {layer!r}" for name, layer in self.layers.items()]
        return "\n".join(["Network(", *lines, ")"])


def _has_state(layer: Layer) -> bool:
    """Whether training changes anything in it."""
    return bool(layer.params or layer.buffers)
