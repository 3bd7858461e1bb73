"""The kernels as plain Python: compiled, one that reads beyond its array may go unnoticed; NumPy raises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).with_name("test_equal_the_reference.py")


def test_no_index_lies_beyond_its_array():
    names = "float64 and (convolutions or sparse_product)"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", str(TESTS), "-k", names],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]
    assert "passed" in done.stdout
