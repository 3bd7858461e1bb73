"""How a step along the gradient is made."""

from __future__ import annotations

import numpy as np

from scratchnet import backend
from scratchnet.layers.layer import Array, as_float


class Optimizer:
    """Base: `step(params, grads)` changes, in place, those params that have a gradient.

    Raises `ValueError` for a negative setting, for a parameter that is not of float32 or float64, and where a gradient,
    or what was kept for it and loaded, is not of its parameter's shape; `KeyError` where a gradient has no parameter of
    its name. No parameter has moved then.
    """

    slots: tuple[str, ...] = ()  # the arrays kept for each parameter

    def __init__(self, lr: float, weight_decay: float = 0.0) -> None:
        _check_not_negative(lr=lr, weight_decay=weight_decay)
        self.lr = lr
        self.weight_decay = weight_decay
        self.steps = 0
        self._counts: dict[str, int] = {}  # steps made by each parameter: fewer for one that was frozen for a while
        self._state: dict[str, dict[str, Array]] = {slot: {} for slot in self.slots}

    def step(self, params: dict[str, Array], grads: dict[str, Array]) -> None:
        """One step, in place."""
        moved = {name: params[name] for name in grads}
        for name, param in moved.items():
            if param.dtype not in backend.FLOATS:
                raise ValueError(f"{name} is of {param.dtype}: parameters are of float32 or float64")
            if isinstance(param, np.ndarray) and not param.flags.writeable:  # CuPy's always are
                raise ValueError(f"{name} is read-only")
        grads = {name: as_float(grad) for name, grad in grads.items()}
        for kind, arrays in {"gradient": grads, **self._state}.items():
            for name, param in moved.items():
                if name in arrays and arrays[name].shape != param.shape:
                    raise ValueError(f"{name} has shape {tuple(param.shape)}, its {kind} {tuple(arrays[name].shape)}")
        for state in self._state.values():
            for name, param in moved.items():
                kept = state.get(name)
                state[name] = (
                    backend.xp(param).zeros_like(param) if kept is None else backend.as_type(kept, param.dtype)
                )
        self.steps += 1
        for name in moved:
            self._counts[name] = self._counts.get(name, 0) + 1
        if moved:
            lists = ([arrays[name] for name in moved] for arrays in (params, grads, *self._state.values()))
            self._update(list(moved), *lists)

    def _update(self, names: list[str], *lists: list[Array]) -> None:
        """Change parameters and what is kept for them, all at once; `lists`: parameters, gradients, each of `slots`."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything that a later `load_state_dict` needs to go on, as host arrays of its own."""
        kept = {f"{slot}.{name}": a for slot in self.slots for name, a in self._state[slot].items()}
        fewer = {f"steps.{name}": np.array(count) for name, count in self._counts.items() if count < self.steps}
        arrays = {name: backend.to_numpy(a).copy() for name, a in kept.items()}
        return {"steps": np.array(self.steps), **fewer, **arrays}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what `state_dict` gave. Raises `ValueError` for that of another kind of optimizer,
        and for one that lacks something."""
        if strange := [k for k in state if k.partition(".")[0] not in ("steps", *self.slots)]:
            raise ValueError(f"{type(self).__name__} keeps no {strange[0]}: this is the state of another optimizer")
        kept = {slot: {k.partition(".")[2] for k in state if k.partition(".")[0] == slot} for slot in self.slots}
        if "steps" not in state or len({frozenset(names) for names in kept.values()}) > 1:
            raise ValueError("a part of this state is missing: steps, or one of " + ", ".join(self.slots))
        for slot in self.slots:
            prefix = f"{slot}."
            self._state[slot] = {
                k.removeprefix(prefix): backend.asarray(a.copy()) for k, a in state.items() if k.startswith(prefix)
            }
        self.steps = int(state["steps"])
        names = {name for slot in self._state.values() for name in slot}
        self._counts = {name: int(state.get(f"steps.{name}", self.steps)) for name in names}


class NesterovSGD(Optimizer):
    """Stochastic gradient descent with Nesterov momentum (Sutskever et al. 2013; §2.3.3 of the paper).

    g = grad + weight_decay · param;   v ← momentum · v + g;   param ← param − lr · (g + momentum · v)
    As in PyTorch; the training's `--weight-decay w` is Piczak's, w · Σ param² in the cost, so 2w here.
    """

    slots = ("velocity",)

    def __init__(self, lr: float, momentum: float = 0.9, weight_decay: float = 0.0) -> None:
        super().__init__(lr, weight_decay)
        _check_not_negative(momentum=momentum)
        self.momentum = momentum

    def _update(self, names: list[str], *lists: list[Array]) -> None:
        backend.kernels_of(lists[0][0]).nesterov_steps(*lists, self.lr, self.momentum, self.weight_decay)


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, algorithm 1): what spectrogram forcing uses (§2.3.2), lr 3e-4 there.

    g = grad + weight_decay · param;   m ← β₁ m + (1 − β₁) g;   v ← β₂ v + (1 − β₂) g²;
    param ← param − lr · m̂ / (√v̂ + eps),   m̂ = m / (1 − β₁ᵗ), v̂ = v / (1 − β₂ᵗ);   t counts a parameter's own steps
    """

    slots = ("m", "v")

    def __init__(
        self,
        lr: float = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(lr, weight_decay)
        _check_not_negative(beta1=beta1, beta2=beta2, eps=eps)
        if max(beta1, beta2) >= 1:
            raise ValueError(f"beta1 and beta2 must be below 1, not {beta1} and {beta2}")
        self.beta1, self.beta2, self.eps = beta1, beta2, eps

    def _update(self, names: list[str], *lists: list[Array]) -> None:
        constants = self.lr, self.beta1, self.beta2, self.eps, self.weight_decay
        for count in dict.fromkeys(self._counts[name] for name in names):  # one, but where some were frozen
            chosen = [[a for name, a in zip(names, arrays) if self._counts[name] == count] for arrays in lists]
            backend.kernels_of(chosen[0][0]).adam_steps(*chosen, count, *constants)


def _check_not_negative(**settings: float) -> None:
    for name, value in settings.items():
        if not value >= 0:
            raise ValueError(f"{name} must not be negative, not {value}")
