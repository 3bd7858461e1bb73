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
    "net.fused = False. What differs (a mistake in a backward pass lies right behind the last of these):"
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


def beside_its_layers(name: str, seed: int = 0) -> dict[str, float]:
    """How far a network's logits and gradients are from those of its layers run one by one, each over the largest
    number of its array; in training, with what dropout draws and a batch's statistics, and otherwise.

    Networks run some layers in one pass (`scratchnet.fusion`): a change to such a layer's file does not reach them.
    """
    (draw,) = CASES[name](np.random.default_rng(seed))
    net, x = draw.subject.to(backend.current()), backend.asarray(draw.x)
    state, rng = net.state_dict(), np.random.default_rng(seed)

    def forward(fused: bool, training: bool) -> np.ndarray:
        net.fused = fused
        net.load_state_dict(state)  # a batch normalisation's buffers move
        net.reseed(seed, 0)
        return backend.to_numpy(net.forward(x, training)).copy()

    def backward() -> dict[str, np.ndarray]:
        net.backward(backend.asarray(dy))
        return {key: backend.to_numpy(a).copy() for key, a in net.grads.items()}

    apart: dict[str, float] = {}
    for training in (False, True):
        plain, fused = (forward(fused, training) for fused in (False, True))
        apart["logits"] = float(np.maximum(apart.get("logits", 0.0), _away(fused, plain)))
        if not apart["logits"] < ROUNDING:
            break  # and so are all gradients
        dy = rng.standard_normal(plain.shape)
        grads = backward()
        forward(False, training)
        for key, grad in backward().items():
            apart[key] = float(np.maximum(apart.get(key, 0.0), _away(grads[key], grad)))  # NaN where one is
    return apart


def _away(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / (np.abs(b).max() or 1))


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
        apart = beside_its_layers(name, seed) if result.ok and is_net else {}
        otherwise = {key: away for key, away in apart.items() if not away < ROUNDING}
        verdict = "ok" if result.ok and not otherwise else "WRONG"
        error = max(result.max_error, *otherwise.values()) if otherwise else result.max_error
        print(f"{name:<22} {error:>11.1e} {seconds:>6.1f} s  {verdict:<7}  {shape}", flush=True)
        if verdict == "WRONG":
            wrong.append(name)
            where = "".join(f"\n  {key:<28} differs by {away:.1e} of its largest" for key, away in otherwise.items())
            print(f"\n{OTHERWISE + where if otherwise else result}\n")
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
