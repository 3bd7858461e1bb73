"""The rules of the house: imports run one way, only declared libraries are used, importing is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Bottom to top; a file imports from its own floor and from those below it; everyone from the cellar, bottom to top too.
CELLAR = ["errors", "interrupt", "lock", "drafts", "blas", "cache_folder", "compiled"]
NETWORK_WING = [
    {"kernels"},
    {"backend"},
    {"initializers", "layers", "losses", "optimizers", "clipping"},
    {"fusion"},
    {"network", "nets", "folding"},
]
SOUND_WING = [{"sound"}, {"data"}]
JOINED = [
    {"ensemble", "gradcheck", "model", "plots", "training"},
    {"cli", "evaluate", "onnx_export", "predict", "train"},
    {"experiments"},
]
# The wings meet nowhere else: MelNet's first weights *are* eq. 1 and 2, and these are the sound wing's.
# The checks are a command as well.
EXCEPTIONS = {"scratchnet/nets/melnet.py": {"sound"}, "scratchnet/gradcheck/suite.py": {"cli"}}
COMPILED = {"numba", "llvmlite", "cupy", "cupyx", "cupy_backends"}  # llvmlite is a part of Numba
OPTIONAL = {"scratchnet/onnx_export.py": {"onnx"}}  # extras, imported where they are used
DECLARED = {"numpy", "scipy", "soundfile", "soxr", "matplotlib", "tqdm", "safetensors", "threadpoolctl"} | COMPILED

SOURCES = sorted(
    path.relative_to(ROOT) for folder in ("kernels", "scratchnet") for path in (ROOT / folder).rglob("*.py")
)
EXPERIMENTS = sorted(path.relative_to(ROOT) for path in (ROOT / "experiments").rglob("*.py"))


def module_of(path):
    """`kernels/cpu/conv.py` is imported as `scratchnet.kernels.cpu.conv`."""
    parts = path.with_suffix("").parts
    parts = ("scratchnet", *parts) if parts[0] == "kernels" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path):
    """Every module that the file imports, wherever in the file, as a full dotted name with the name taken from it."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


PARTS = {"kernels"} | {path.stem for path in (ROOT / "scratchnet").iterdir() if not path.stem.startswith("_")}


def part_of(module):
    """The part of the house that a module belongs to: `nets` for `scratchnet.nets.heurinet`, None for others."""
    top, _, rest = module.partition(".")
    name = rest.split(".")[0]
    if top == "experiments":
        return top
    return name if top == "scratchnet" and name in PARTS else None


def allowed_imports(part):
    """The parts from which `part` may import; None where it has no floor."""
    if part in CELLAR:
        return {*CELLAR[: CELLAR.index(part) + 1]}
    everything_below = [set().union(*NETWORK_WING, *SOUND_WING), *JOINED]
    for stairs in (NETWORK_WING, SOUND_WING, everything_below):
        for height, floor in enumerate(stairs):
            if part in floor:
                return {*CELLAR}.union(*stairs[: height + 1])
    return None


@pytest.mark.parametrize("path", SOURCES + EXPERIMENTS, ids=str)
def test_imports_run_one_way(path):
    part = part_of(module_of(path))
    if part is None:  # scratchnet/__init__.py, which hands out names of every floor when they are asked for
        return
    allowed = allowed_imports(part)
    assert allowed is not None, f"{path}: give the new part '{part}' its floor in this file"
    used = {part_of(name) for name in imports_of(path)} - {None} - EXCEPTIONS.get(path.as_posix(), set())
    assert used <= allowed, f"{path} imports from above or from the other wing: {sorted(used - allowed)}"


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_only_declared_libraries_are_imported(path):
    libraries = {name.split(".")[0] for name in imports_of(path)} - set(sys.stdlib_module_names) - {"scratchnet"}
    undeclared = libraries - DECLARED - OPTIONAL.get(path.as_posix(), set())
    assert not undeclared, f"{path} imports {sorted(undeclared)}"


def test_declared_libraries_are_those_of_setup():
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    call = next(node for node in ast.walk(ast.parse(setup)) if getattr(node, "arg", "") == "install_requires")
    required = {requirement.split(">")[0] for requirement in ast.literal_eval(call.value)}
    assert required == DECLARED - COMPILED | {"numba"}


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_compilers_stay_below_the_layers(path):
    """Numba only in the CPU's kernels and where it is called, CuPy only in the GPU's and in the backend."""
    compiled = {name.split(".")[0] for name in imports_of(path)} & COMPILED
    if compiled:
        homes = {("kernels", "cpu"), ("kernels", "cuda"), ("scratchnet", "backend.py"), ("scratchnet", "compiled.py")}
        assert path.parts[:2] in homes, f"{path} imports {compiled}"


@pytest.mark.parametrize("path", SOURCES + EXPERIMENTS, ids=str)
def test_files_are_small(path):
    lines = len((ROOT / path).read_text(encoding="utf-8").splitlines())
    assert lines <= 400, f"{path} has {lines} lines: give a part of it a file of its own"


def test_importing_is_light():
    """`import scratchnet` brings in NumPy at most: what is slow to load is loaded where it is used."""
    code = "import sys, scratchnet; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not (DECLARED - {"numpy"}) & set(loaded.split())
