"""Every .cu file compiles, warnings as errors, for every GPU we claim, as the networks ask for it at batch 1000."""

import json
from concurrent.futures import ProcessPoolExecutor
from functools import cache

import numpy as np
import pytest

from scratchnet.kernels import cuda
from scratchnet.kernels.cuda import device, nvrtc
from scratchnet.kernels.cuda.source import FILES

pytestmark = pytest.mark.skipif(nvrtc.library() is None, reason="needs NVRTC (pip install nvidia-cuda-nvrtc)")

SHARED = {75: 48, 80: 81, 86: 49, 89: 49, 90: 113, 100: 113}  # KB: `CupyDevice.shared_limit` on these GPUs
SINGLE = ((0, 0), (0, 0))
LAYERS = {  # x, kernels, stride, padding, pool: Tables 1 and 2 and PiczakNet, a batch of 1000
    "heurinet conv1": ((1000, 1, 1, 20992), (80, 1, 1, 155), (1, 10), SINGLE, ((1, 9), (1, 3))),
    "heurinet conv2": ((1000, 80, 1, 692), (60, 80, 1, 15), (1, 4), SINGLE, ((1, 9), (1, 4))),
    "mstnet conv1": ((1000, 1, 1, 20992), (512, 1, 1, 1024), (1, 512), ((0, 0), (256, 256)), None),
    "mstnet conv2": ((1000, 512, 1, 41), (256, 512, 1, 3), (1, 1), ((0, 0), (1, 1)), None),
    "mstnet conv3": ((1000, 256, 1, 41), (60, 256, 1, 3), (1, 1), ((0, 0), (1, 1)), None),
    "piczak conv1": ((1000, 1, 60, 41), (80, 1, 57, 6), (1, 1), SINGLE, ((4, 3), (1, 3))),
    "piczak conv2": ((1000, 80, 1, 12), (80, 80, 1, 3), (1, 1), SINGLE, ((1, 3), (1, 3))),
}


class Recorder:
    """A device that computes nothing and remembers what it was asked to launch."""

    xp = np

    def __init__(self, shared_limit, tensor_cores):
        self.shared_limit, self.tensor_cores = shared_limit, tensor_cores
        self.launches = {}  # (file, macros) → bytes of dynamic shared memory

    def empty(self, shape, dtype):
        return np.empty(shape, dtype)

    def upload(self, a):
        return a

    def address(self, a):
        return 0

    def launch(self, file, kernel, grid, block, args, defines, shared=0):
        self.launches[file, tuple(defines.items())] = shared


def variants(architecture, layers):
    """The sources and macros that these layers ask for on such a GPU."""
    with device.using(Recorder(SHARED[architecture] * 1024, architecture >= 80)) as recorder:
        for x_shape, weight_shape, stride, padding, pool in layers:
            x, weight, bias = np.empty(x_shape, "f4"), np.empty(weight_shape, "f4"), np.empty(len(weight_shape), "f4")
            y, saved = cuda.conv_block_forward(x, weight, bias, stride, padding, "relu", pool)
            cuda.conv_block_backward(y, saved, x, weight, stride, padding, x_shape[2:] != (1, 20992), True)
    return recorder.launches


SPILLS_NOTHING = (13, 5)  # this NVRTC; 13.0 spills 112 to 156 bytes in some convolutions


def jobs(architecture):
    """All files once, and convolutions as the networks need them: HeuriNet's for every GPU, all on Hopper."""
    names = LAYERS if architecture == 90 else ("heurinet conv1", "heurinet conv2")
    found = variants(architecture, [LAYERS[name] for name in names])
    rest = [file for file in FILES if not any(file == other for other, _ in found)]
    plain = {(file, (("WARPS", 8),) if "sparse" in file else ()): 0 for file in rest}
    if architecture == 90:  # float32 and float64 without tensor cores, too
        found |= {
            (f, tuple(m for m in macros if m[0] != "TENSOR_CORES")): shared
            for (f, macros), shared in list(found.items())[:3]
        }
        plain |= {(file, (("REAL", "double"),)): 0 for file, _ in plain}
    return [(file, dict(macros), architecture, shared) for (file, macros), shared in (found | plain).items()]


def compile_one(job):
    file, macros, architecture, shared = job
    return file, macros, shared, nvrtc.compile_kernels(file, macros, architecture)


@cache
def compiled():
    """Everything, for every GPU: {architecture: [(file, macros, dynamic shared memory, resources)]}."""
    todo = [job for architecture in nvrtc.architectures() for job in jobs(architecture)]
    with ProcessPoolExecutor(2) as pool:
        done = list(pool.map(compile_one, todo))
    results = {}
    for (_, _, architecture, _), result in zip(todo, done):
        results.setdefault(architecture, []).append(result)
    return results


@pytest.mark.parametrize("architecture", nvrtc.ARCHITECTURES)
def test_compiles_without_a_warning(architecture, record_property, tmp_path_factory):
    """Compiled, with registers and shared memory recorded, none spilled to memory, and room for one block at least."""
    if architecture not in nvrtc.architectures():
        pytest.skip(f"this NVRTC does not know compute capability {architecture}")
    table = []
    for file, macros, dynamic, kernels in compiled()[architecture]:
        assert kernels, f"{file} holds no kernel"
        for name, resources in kernels.items():
            table.append({"file": file, "kernel": name, **macros, "dynamic": dynamic, **vars(resources)})
            if nvrtc.version() >= SPILLS_NOTHING:
                assert resources.spilled == 0, f"{name} {macros} spills {resources.spilled} bytes on sm_{architecture}"
            assert resources.registers <= 255 and resources.shared + dynamic <= SHARED[architecture] * 1024
            if "BLOCKS" in macros:  # 65,536 registers must hold so many
                threads = 32 * macros["WARPS_M"] * macros.get("WARPS_N", macros.get("WARPS_K"))
                assert resources.registers * threads * macros["BLOCKS"] <= 65536
    assert {row["file"] for row in table} == set(FILES)
    record_property("resources", json.dumps(table))
    (tmp_path_factory.getbasetemp() / f"resources_sm_{architecture}.json").write_text(json.dumps(table, indent=1))


def test_a_warning_is_an_error(tmp_path):
    file = tmp_path / "careless.cu"
    file.write_text('extern "C" __global__ void careless(float* x) { int unused; x[0] = 1; }\n')
    with pytest.raises(nvrtc.CompileError, match="unused"):
        nvrtc.compile_kernels(str(file), {}, nvrtc.architectures()[0])
