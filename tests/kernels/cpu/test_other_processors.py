"""The kernels with vectors as narrow, or registers as few, as other processors have: other tails, panels, chunks."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core.codegen import get_host_cpu_features

from scratchnet.kernels.cpu.processor import BYTES, REGISTERS

TESTS = Path(__file__).with_name("test_equal_the_reference.py")
PYTEST = "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
AVX2 = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma"}
AS_ON_ARM = f"import platform; platform.machine = lambda: 'arm64'; {PYTEST}"


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="these are x86's instructions")
@pytest.mark.skipif("+avx2" not in get_host_cpu_features(), reason="the processor has no AVX2")
@pytest.mark.parametrize(
    "program, environment, registers",
    [(PYTEST, AVX2, (32, 16)), (AS_ON_ARM, {}, (16, 32))],
    ids=["AVX2", "vectors of 16 bytes"],
)
def test_kernels_of_other_widths_equal_the_reference(tmp_path, program, environment, registers):
    if registers == (BYTES, REGISTERS):
        pytest.skip("this processor's own vectors and registers are these: test_equal_the_reference.py has tested them")
    environment = {**os.environ, **environment, "NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_DISABLE_JIT": "0"}
    show = program.replace(
        PYTEST, "from scratchnet.kernels.cpu.processor import BYTES, REGISTERS; print(BYTES, REGISTERS)"
    )
    shown = subprocess.run([sys.executable, "-c", show], env=environment, capture_output=True, text=True, timeout=60)
    assert shown.stdout.split() == [str(n) for n in registers], shown.stderr
    names = "float32 and (convolution or blocks or nan or sparse_product or pools)"
    names += " or float64 and (convolution or blocks or sparse)"
    done = subprocess.run(
        [sys.executable, "-c", program, "-q", "-p", "no:cacheprovider", "-W", "ignore", str(TESTS), "-k", names],
        env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]
    assert "passed" in done.stdout
