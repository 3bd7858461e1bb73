"""`python -m scratchnet.gradcheck [NAME] [--backend B]`: every layer, loss and network checked, in a table."""

from __future__ import annotations

import time

import numpy as np

from scratchnet import backend, nets
from scratchnet.cli import Parser, add_backend, guard
from scratchnet.errors import InputError, nearest
from scratchnet.gradcheck.cases import CASES
from scratchnet.gradcheck.check import gradcheck
from scratchnet.gradcheck.report import GradcheckResult
from scratchnet.training.resolve import convert

ROUNDING = 1e-9  # of a network's logits and gradients in float64, whatever the order of its sums
OTHERWISE = (
    "the network computes something else than its layers one by one: where you have changed a layer's file,\n"
    "scratchnet/fusion.py still runs the kernel of before; change that too, make a subclass of the layer, or set\n"
    "net.fused = False"
)


def check(name: str, seed: int = 0) -> tuple[GradcheckResult, str, float]:
    """Check all draws of one operation.  → the result with the largest error, its shape in words, seconds"""
    rng = np.random.default_rng([seed, *name.encode()])
    start = time.perf_counter()
    worst: tuple[GradcheckResult, str] | None = None
    for draw in CASES[name](rng):
        result = gradcheck(draw.subject, draw.x, **draw.options)
        if worst is None or result.max_error > worst[0].max_error:
            worst = result, draw.shape
    assert worst is not None
    return *worst, time.perf_counter() - start


def beside_its_layers(name: str, seed: int = 0) -> float:
    """How far a network's logits and gradients are from those of its layers run one by one, over the largest of each.

    Networks run some layers in one pass (`scratchnet.fusion`): a change to such a layer's file does not reach them.
    """
    (draw,) = CASES[name](np.random.default_rng(seed))
    net, x = draw.subject.to(backend.current()), backend.asarray(draw.x)
    logits, grads = [], []
    for net.fused in (True, False):
        logits.append([backend.to_numpy(net.forward(x)).copy()])
    if not (apart := _apart(*logits)) < ROUNDING:
        return apart
    dy = backend.asarray(np.random.default_rng(seed).standard_normal(logits[0][0].shape))
    for net.fused in (True, False):
        net.forward(x)
        net.backward(dy)
        grads.append([backend.to_numpy(a).copy() for a in net.grads.values()])
    return float(np.maximum(apart, _apart(*grads)))


def _apart(fused: list[np.ndarray], plain: list[np.ndarray]) -> float:
    """The largest difference, over the largest number of its array; NaN where one is."""
    return float(np.max([np.abs(a - b).max() / (np.abs(b).max() or 1) for a, b in zip(fused, plain, strict=True)]))


@guard
def main(argv: list[str] | None = None) -> int:
    """Print the table.  → 0 if every gradient is right, 1 if one is wrong, 2 for bad options"""
    parser = Parser(
        prog="python -m scratchnet.gradcheck",
        description="Check every hand-written gradient against central differences in float64.",
        epilog=f"names: {', '.join(CASES)}",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="check this operation or network only")
    add_backend(parser)
    parser.add_argument("--seed", default=0, metavar="N", help="draws other shapes and numbers (default: 0)")
    options = parser.parse(argv)
    seed = convert("seed", options.seed)
    names = _names(options.name)
    used = backend.use(options.backend)
    print(f"gradients against central differences, float64, backend {used}; right means a relative error under 1e-6\n")
    print(f"{'operation':<22} {'worst error':>11} {'time':>8}  {'verdict':<7}  shape drawn (the worst one's)")
    wrong = []
    start = time.perf_counter()
    for name in names:
        result, shape, seconds = check(name, seed)
        is_net = name in nets.NETS or name in nets.RIVALS
        otherwise = result.ok and is_net and not beside_its_layers(name, seed) < ROUNDING
        verdict = "ok" if result.ok and not otherwise else "WRONG"
        print(f"{name:<22} {result.max_error:>11.1e} {seconds:>6.1f} s  {verdict:<7}  {shape}", flush=True)
        if verdict == "WRONG":
            wrong.append(name)
            print(f"\n{OTHERWISE if otherwise else result}\n")
    total = f"{len(names)} checked in {time.perf_counter() - start:.1f} s"
    print(f"\n{total}: " + (f"WRONG: {', '.join(wrong)}" if wrong else "every gradient is right"))
    return 1 if wrong else 0


def _names(name: str | None) -> list[str]:
    if name is None:
        return list(CASES)
    plain = {case.replace("_", ""): case for case in CASES}
    if (key := name.lower().replace("_", "")) in plain:
        return [plain[key]]
    raise InputError(f"gradcheck: there is no {name!r}{nearest(name.lower(), CASES)} (all names: {', '.join(CASES)})")
