"""One step of the weights: clipping, learning rate, and weight decay on weights but not on biases."""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchnet.clipping import clip_by_layer_norm, clip_by_norm
from scratchnet.optimizers import Adam, NesterovSGD, Optimizer
from scratchnet.training.config import Config
from scratchnet.training.phases import FORCED, PhaseName


class Updates:
    """Optimizer, clipping and learning rate of one phase, by the settings; `total` steps make the phase."""

    def __init__(self, config: Config, phase: PhaseName, total: int) -> None:
        self.lr, self.lr_setting = config.lr_of(phase), config.lr_setting(phase)
        self.final = min(config.lr_final, self.lr) if config.lr_final and phase != FORCED else self.lr
        self.total = total
        self.may_clip = phase != FORCED
        self.clip_norm = config.clip_norm if self.may_clip else None
        self.clip = clip_by_layer_norm if config.clip_per == "layer" else clip_by_norm
        # Piczak's cost has weight_decay * sum(w^2), without a half: its gradient is twice that times w.
        decay = 0.0 if phase == FORCED else 2 * config.weight_decay
        name = "adam" if phase == FORCED else config.optimizer
        self.optimizers = {
            "weight": _optimizer(name, self.lr, config, decay),
            "bias": _optimizer(name, self.lr, config, 0.0),
        }

    def lr_at(self, step: int) -> float:
        """The learning rate of `step` (from 0): exponential from `lr` towards `lr_final` at the end of the phase."""
        return self.lr * (self.final / self.lr) ** (step / self.total)

    def step(self, params: dict[str, Any], grads: dict[str, Any], step: int) -> None:
        """Change `params` in place."""
        if self.clip_norm:
            self.clip(grads, self.clip_norm)
        for kind, optimizer in self.optimizers.items():
            optimizer.lr = self.lr_at(step)
            of_kind = {name: g for name, g in grads.items() if _decays(name, g) == (kind == "weight")}
            optimizer.step(params, of_kind)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything that the next step depends on."""
        return {f"{kind}/{k}": a for kind, o in self.optimizers.items() for k, a in o.state_dict().items()}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what `state_dict` gave."""
        for kind, optimizer in self.optimizers.items():
            prefix = f"{kind}/"
            optimizer.load_state_dict({k.removeprefix(prefix): a for k, a in state.items() if k.startswith(prefix)})


def _decays(name: str, array: Any) -> bool:
    """Weights of layers do; biases do not, nor the scales of a batch normalisation, which undo what they follow."""
    return name.endswith(".weight") and array.ndim > 1


def _optimizer(name: str, lr: float, config: Config, decay: float) -> Optimizer:
    if name == "adam":
        return Adam(lr, weight_decay=decay)
    return NesterovSGD(lr, momentum=config.momentum, weight_decay=decay)
