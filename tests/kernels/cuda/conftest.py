"""The CUDA kernels on the CPU: the very same launchers and .cu files, built by g++ with AddressSanitizer."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from scratchnet.kernels.cuda import device
from scratchnet.kernels.cuda.host import HostDevice


@pytest.fixture(scope="session")
def build_dir(tmp_path_factory):
    """Where the kernels' programs are built, each once a session; SCRATCHNET_TEST_BUILD is a folder that keeps them."""
    base = tmp_path_factory.getbasetemp()
    own = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cuda_on_host"  # one for all workers
    folder = Path(os.environ.get("SCRATCHNET_TEST_BUILD") or own)
    works = folder / "works"
    if works.exists():
        return folder
    if shutil.which("g++") is None:
        pytest.skip("needs g++ to run the CUDA kernels on the CPU")
    probe = tmp_path_factory.mktemp("probe") / "probe"
    source = probe.with_suffix(".cpp")
    source.write_text("#include <ucontext.h>\ntemplate <auto F> struct A {};\nint main() { return 0; }\n")
    flags = ["-std=c++17", "-fsanitize=address,undefined"]
    done = subprocess.run(["g++", *flags, "-o", probe, source], capture_output=True, text=True)
    if done.returncode or subprocess.run([probe], capture_output=True).returncode:
        pytest.skip(f"needs a g++ with C++17, ucontext and AddressSanitizer: {done.stderr[:200]}")
    folder.mkdir(parents=True, exist_ok=True)
    works.touch()
    return folder


@pytest.fixture(scope="session")
def devices(build_dir):
    """One device for each way to compile the convolutions."""
    made = {
        "plain": HostDevice(build_dir),
        "tensor cores": HostDevice(build_dir, tensor_cores=True),
        "small": HostDevice(build_dir, shared_limit=48 * 1024),  # what every GPU has
        "middle": HostDevice(build_dir, shared_limit=81 * 1024),  # an A100, two blocks at a time
    }
    yield made
    for one in made.values():
        one.close()


@pytest.fixture
def host(devices):
    """Launches run on the CPU."""
    with device.using(devices["plain"]) as one:
        yield one


@pytest.fixture(params=["plain", "tensor cores"])
def any_host(request, devices):
    """As `host`; with tensor cores, whose products are emulated, and without."""
    with device.using(devices[request.param]) as one:
        yield one
