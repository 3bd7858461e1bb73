"""scratchnet: sound classification from the raw waveform, every layer and gradient written by hand.

An implementation of *DeepFourier: classifying sound with convolutional neural networks*
(Jüttner, Belgrano, Semság, Demortain). The numerical work is NumPy's, Numba's and our own CUDA C; libraries read audio
and draw pictures.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scratchnet.ensemble import Ensemble
    from scratchnet.model import Model

__version__ = "0.1.0"


def _use_kernels_of_checkout() -> None:
    """Where the package is not installed, `kernels/` lies beside it: make that folder `scratchnet.kernels`."""
    package = Path(__file__).resolve().parent
    sibling = package.parent / "kernels"
    if (package / "kernels").exists() or not sibling.is_dir():
        return
    spec = ModuleSpec(f"{__name__}.kernels", None, is_package=True)
    spec.submodule_search_locations = [str(sibling)]
    sys.modules[spec.name] = module_from_spec(spec)
    globals()["kernels"] = sys.modules[spec.name]


_use_kernels_of_checkout()


_PARTS = {"backend", "clipping", "data", "errors", "gradcheck", "layers", "losses", "nets", "network", "optimizers"}
_PARTS |= {"sound", "training"}


def __getattr__(name: str) -> ModuleType:
    """`scratchnet.layers` and the others, without an import of their own."""
    if name in _PARTS:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load(path: str | Path) -> Model | Ensemble:
    """Load a trained model from a run folder or a `model.safetensors`; see `scratchnet.model.Model`. The folder of a
    cross-validation gives all its models as one, an `Ensemble`.

    Raises `scratchnet.errors.InputError` where the path holds no model of ours.
    """
    from scratchnet.ensemble import load

    return load(path)
