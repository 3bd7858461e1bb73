"""What Numba compiles is kept in the user's cache folder, not beside the sources."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scratchnet import __version__, compiled

ROOT = Path(__file__).resolve().parents[1]

SAME = """
import numba, numpy as np
from scratchnet.kernels.cpu.kept import _same
a = np.zeros(3, np.uint32)
assert _same(a, a) and numba.config.CACHE_DIR == ""
print(sum(_same.stats.cache_hits.values()))
"""


MINE = """
from pathlib import Path
def home():
    raise RuntimeError("no home.")
Path.home = home
from scratchnet.compiled import compiled
def positive(x):
    return -x if x < 0 else x
print(compiled(positive)(-3))
"""


def test_kernels_are_kept_apart_from_the_package(tmp_path):
    beside = Path(compiled.__file__).parents[1] / "kernels" / "cpu" / "__pycache__"
    before = sorted(beside.glob("*.nb?"))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    environment |= {"SCRATCHNET_CACHE": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    for hits in ("0", "1"):
        done = subprocess.run([sys.executable, "-c", SAME], env=environment, capture_output=True, text=True)
        assert done.stdout.strip() == hits, done.stderr
    (folder,) = tmp_path.iterdir()
    assert folder.name == f"kernels-{__version__}" and len(list(folder.rglob("*.nbi"))) == 1
    assert sorted(beside.glob("*.nb?")) == before


def test_without_a_home_numba_finds_a_place(tmp_path):
    """Beside the sources, as it always does where nobody says otherwise."""
    (tmp_path / "mine.py").write_text(MINE)
    known = {"SCRATCHNET_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"}
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_") and k not in known}
    environment |= {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "mine.py"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "3", done.stderr
    assert len(list((tmp_path / "__pycache__").glob("*.nbi"))) == 1


SCRIPT = """
import numpy as np
from scratchnet.kernels import cpu
x = np.ones((2, 8), np.float32)
assert (cpu.dropout_forward(x, 0.5, 1, 2) >= 0).all()
"""


@pytest.mark.parametrize("size", [0, 7])
@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_a_cache_that_a_power_cut_left_half_written_is_made_anew(tmp_path, kind, size):
    def run():
        how = {
            "cwd": ROOT,
            "env": {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
            "capture_output": True,
            "text": True,
        }
        return subprocess.run([sys.executable, "-c", SCRIPT], **how)

    assert run().returncode == 0
    kept = {path: path.stat().st_size for path in tmp_path.rglob(f"*.{kind}")}
    assert kept
    for path in kept:
        os.truncate(path, size)
    again = run()
    assert again.returncode == 0 and again.stderr == ""
    assert all(path.stat().st_size > size for path in tmp_path.rglob(f"*.{kind}"))
    assert {path.name for path in tmp_path.rglob("*.nbi")}


def test_a_disk_without_room_for_what_was_compiled_costs_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("SCRATCHNET_CACHE", str(tmp_path))
    kernel = compiled.compiled(lambda x: x + 1)

    def full(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kernel._cache._cache_file, "save", full)
    assert kernel(2) == 3
