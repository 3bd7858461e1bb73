"""The GPU as the launchers see it: arrays, kernels compiled from our .cu files, matrix products.

`current()` is the GPU through CuPy; a test puts another device in its place with `using(...)`, and then the very same
launchers and kernels run there (`host.HostDevice`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, cached_property, lru_cache
from typing import Any

import numpy as np

from scratchnet.kernels.cuda.source import read_source

NULL = np.uint64(0)  # a null pointer; CuPy would take None for a missing argument

_stand_in: Any = None


def current() -> Any:
    """The device that launches run on."""
    return _gpu() if _stand_in is None else _stand_in


@contextmanager
def using(device: Any) -> Iterator[Any]:
    """Run everything on `device` for a while."""
    global _stand_in
    before, _stand_in = _stand_in, device
    try:
        yield device
    finally:
        _stand_in = before


@cache
def available() -> tuple[bool, str]:
    """Is there a GPU that CuPy can use? If not, the reason, in one line."""
    try:
        import cupy
    except ImportError:
        return False, 'CuPy is not installed (pip install "cupy-cuda13x[ctk]")'
    try:
        if not cupy.cuda.is_available():
            return False, "CuPy finds no GPU on this machine"
        cupy.zeros(1)
    except Exception as error:  # a driver that is too old, a GPU in use by others: all of CuPy's own types
        return False, f"the GPU cannot be used: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    return True, ""


def gpu_name() -> str:
    """The GPU's name."""
    import cupy

    return cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()


def use_tf32(on: bool) -> None:
    """Multiply TF32 numbers (float32 rounded to 10 bits of mantissa) on the tensor cores, or float32 ones.

    The default is TF32; the environment variable SCRATCHNET_TF32=0 chooses float32 from the start.
    """
    _gpu().tf32 = on


@cache
def _gpu() -> CupyDevice:
    return CupyDevice()


class CupyDevice:
    """The current CUDA device. Kernels are compiled at their first use; CuPy keeps them in ~/.cupy/kernel_cache."""

    def __init__(self) -> None:
        import cupy

        self.xp = cupy
        self.tf32 = os.environ.get("SCRATCHNET_TF32", "1") != "0"
        self._kernels: dict[tuple, Any] = {}

    @cached_property
    def capability(self) -> int:
        """90 for compute capability 9.0."""
        return int(self.xp.cuda.Device().compute_capability)

    @cached_property
    def shared_limit(self) -> int:
        """Bytes of shared memory a block may have: half of what a multiprocessor has, so that two hide each other's
        latency; at least the 48 KB that every GPU gives."""
        attributes = self.xp.cuda.Device().attributes
        half = attributes["MaxSharedMemoryPerMultiprocessor"] // 2 - 1024
        return max(48 * 1024, min(attributes["MaxSharedMemoryPerBlockOptin"], half))

    @property
    def tensor_cores(self) -> bool:
        """Whether convolutions of float32 run on the tensor cores."""
        return self.tf32 and self.capability >= 80

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A new array, not filled."""
        return self.xp.empty(shape, dtype)

    def upload(self, a: np.ndarray) -> Any:
        """A copy on the device; CuPy takes it through pinned memory of its own, so that nothing waits."""
        return self.xp.asarray(a)

    def empty_pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """A new array of the host's in pinned memory, from which copies run beside the device's work."""
        import cupyx

        return cupyx.empty_pinned(shape, dtype)

    def stream(self) -> Any:
        """The stream that launches go to."""
        return self.xp.cuda.get_current_stream()

    def new_stream(self) -> Any:
        """A stream that waits for no other."""
        return self.xp.cuda.Stream(non_blocking=True)

    @property
    def free_memory(self) -> int:
        """Bytes that new arrays can have."""
        return self.xp.cuda.runtime.memGetInfo()[0] + self.xp.get_default_memory_pool().free_bytes()

    def address(self, a: Any) -> int:
        """The address of its first element."""
        return a.data.ptr

    def pointers(self, arrays: list[Any]) -> Any:
        """A table of the arrays' addresses, for a kernel that works on many arrays."""
        return _upload_addresses(tuple(self.address(a) for a in arrays))

    def launch(
        self, file: str, kernel: str, grid: int, block: int, args: tuple, defines: dict[str, Any], shared: int = 0
    ) -> None:
        """Queue `kernel` of `file`, compiled with these macros. CuPy does not check the arguments' types."""
        key = (file, kernel, shared, *defines.items())
        function = self._kernels.get(key)
        if function is None:
            options = ("--std=c++17", *(f"-D{name}={value}" for name, value in defines.items()))
            function = self.xp.RawModule(code=read_source(file), options=options).get_function(kernel)
            if shared > 48 * 1024:  # more than every GPU has: it must be asked for
                function.max_dynamic_shared_size_bytes = max(shared, function.max_dynamic_shared_size_bytes)
            self._kernels[key] = function
        function((grid,), (block,), tuple([NULL if arg is None else arg for arg in args]), shared_mem=shared)

    def product(self, a: Any, b: Any, out: Any) -> Any:
        """out = a · b by cuBLAS, for matrices that are C-contiguous or transposed so; TF32 where that is chosen.

        cuBLAS counts columns first, so it is given outᵀ = bᵀ · aᵀ.
        """
        from cupy.cuda import cublas

        (m, depth), n = a.shape, b.shape[1]
        if not m or not n or not depth:
            out[...] = 0
            return out
        double = out.dtype == np.float64
        kind = 1 if double else 0  # cudaDataType: CUDA_R_64F, CUDA_R_32F
        compute = cublas.CUBLAS_COMPUTE_64F if double else cublas.CUBLAS_COMPUTE_32F
        if not double and self.tf32:
            compute = cublas.CUBLAS_COMPUTE_32F_FAST_TF32
        _, one, zero = _factors(out.dtype)
        (transpose_a, lead_a), (transpose_b, lead_b) = _layout(a), _layout(b)
        cublas.gemmEx(
            self.xp.cuda.device.get_cublas_handle(), transpose_b, transpose_a, n, m, depth,
            one, b.data.ptr, kind, lead_b, a.data.ptr, kind, lead_a,
            zero, out.data.ptr, kind, n, compute, cublas.CUBLAS_GEMM_DEFAULT,
        )  # fmt: skip
        return out


@lru_cache(maxsize=64)  # of parameters alone they come back; those of gradients are others in nearly every step
def _upload_addresses(addresses: tuple[int, ...]) -> Any:
    import cupy

    return cupy.asarray(np.array(addresses, np.int64))


@lru_cache(maxsize=2)
def _factors(dtype: np.dtype) -> tuple[np.ndarray, int, int]:
    """1 and 0 of this type, and the address of each; cuBLAS reads them in the host's memory as a product is queued."""
    numbers = np.array([1, 0], dtype)
    return numbers, numbers.ctypes.data, numbers.ctypes.data + numbers.itemsize


def _layout(a: Any) -> tuple[int, int]:
    """(is it a transposed view?, elements from one stored row to the next)"""
    if a.flags.c_contiguous:
        return 0, max(a.shape[1], 1)
    return 1, max(a.shape[0], 1)
