"""The machine that runs the kernels on the CPU finds the mistakes that it is there for."""

import numpy as np
import pytest

from scratchnet.kernels.cuda.host import KernelError

SOURCE = """
#include "async_copy.cuh"
#include "reduce.cuh"
extern "C" __global__ void beyond(real* x) { x[threadIdx.x + 1] = 0; }
extern "C" __global__ void beyond_shared(real* x) {
    SHARED_ARRAY(real, part, 8);
    part[threadIdx.x] = x[0];
    x[0] = part[0];
}
extern "C" __global__ void unwritten(real* x) { if (threadIdx.x != 3) x[threadIdx.x] = 1; }
extern "C" __global__ void unwritten_shared(real* x) {
    SHARED_ARRAY(real, part, 32);
    x[threadIdx.x] = part[threadIdx.x];
}
extern "C" __global__ void apart(real* x) { if (threadIdx.x < 7) __syncthreads(); x[0] = 1; }
extern "C" __global__ void race(real* x) {
    SHARED_ARRAY(real, part, 32);
    part[threadIdx.x] = (real)threadIdx.x;
    x[threadIdx.x] = part[31 - threadIdx.x];
}
extern "C" __global__ void no_race(real* x) {
    SHARED_ARRAY(real, part, 32);
    part[threadIdx.x] = (real)threadIdx.x;
    __syncthreads();
    x[threadIdx.x] = part[31 - threadIdx.x];
}
extern "C" __global__ void not_waited_for(const real* x, real* y) {
    SHARED_MEMORY(memory);
    real* part = (real*)memory;
    copy_async<1>(part + threadIdx.x, x + threadIdx.x, 1);
    commit_copies();
    y[threadIdx.x] = part[threadIdx.x];
}
extern "C" __global__ void waited_for(const real* x, real* y) {
    SHARED_MEMORY(memory);
    real* part = (real*)memory;
    copy_async<1>(part + threadIdx.x, x + threadIdx.x, 1);
    commit_copies();
    wait_for_copies<0>();
    y[threadIdx.x] = part[threadIdx.x];
}
extern "C" __global__ void askew(const real* x, real* y) {
    SHARED_MEMORY(memory);
    copy_async<4>((real*)memory, x + 1, 4);
    wait_for_copies<0>();
}
extern "C" __global__ void sums(const real* x, real* y, int* count) {
    y[threadIdx.x] = warp_sum(x[threadIdx.x]);
    const real total = (real)block_sum(x[threadIdx.x]);
    if (threadIdx.x == 0) y[64] = total;
    y[65] = __shfl_down_sync(0xffffffffu, x[threadIdx.x], 1) + __shfl_sync(0xffffffffu, x[threadIdx.x], 5);
    atomicAdd(count, 1);
}
extern "C" __global__ void products(const real* x, real* y) {
    float sums[4] = {};
    const unsigned one = __float_as_uint(x[threadIdx.x]), ones[4] = {one, one, one, one}, two[2] = {one, one};
    host::multiply_16x8x8(sums, ones, two);
    for (int i = 0; i < 4; i++) y[4 * threadIdx.x + i] = sums[i];
}
extern "C" __global__ void __launch_bounds__(64, 2) bounded(real* x) { x[0] = 1; }
extern "C" __global__ void left_over(long long* x) {
    SHARED_ARRAY(long long, part, 4);
    x[threadIdx.x] = part[threadIdx.x];
}
extern "C" __global__ void scalars(int a, index_t b, double c) {}
"""


@pytest.fixture
def run(host, tmp_path_factory):
    file = tmp_path_factory.getbasetemp() / "mistakes.cu"
    file.write_text(SOURCE)

    def launch(kernel, *args, block=32, shared=0, order=0):
        host.order = order
        try:
            host.launch(str(file), kernel, 1, block, args, {}, shared)
        finally:
            host.order = 0

    return launch


def ones(n=32):
    return np.ones(n, np.float32)


def test_access_out_of_bounds(run):
    with pytest.raises(KernelError, match="heap-buffer-overflow(.|\n)*mistakes.cu:4"):
        run("beyond", ones())
    run("no_race", ones())  # the next launch finds a new machine


def test_access_beyond_shared_memory(run):
    with pytest.raises(KernelError, match="heap-buffer-overflow"):
        run("beyond_shared", ones())


def test_unwritten_output_is_nan(run, host):
    x = host.empty((32,), np.float32)
    run("unwritten", x)
    assert np.isnan(x).nonzero()[0].tolist() == [3]
    run("unwritten_shared", x)
    assert np.isnan(x).all()
    assert (host.empty((3,), np.int32) < -(10**9)).all()


def test_shared_memory_holds_what_may_be_an_index(run):
    """In half of it, where threads are shuffled; the other half never may."""
    x = np.zeros(4, np.int64)
    run("left_over", x, block=4)
    assert (x > 2**62).all()
    run("left_over", x, block=4, order=1)
    assert (x[::2] > 2**62).all() and not x[1::2].any()


def test_more_threads_than_a_kernel_is_compiled_for(run):
    run("bounded", ones(), block=64)
    with pytest.raises(KernelError, match="more threads than __launch_bounds__"):
        run("bounded", ones(), block=96)


def test_a_barrier_that_some_threads_miss(run):
    with pytest.raises(KernelError, match="barrier that others never reach"):
        run("apart", ones())


def test_a_race_shows_when_the_order_changes(run):
    results = {kernel: [] for kernel in ("race", "no_race")}
    for kernel, found in results.items():
        for order in range(3):
            x = ones()
            run(kernel, x, order=order)
            found.append(x.tobytes())
    assert len(set(results["no_race"])) == 1
    assert len(set(results["race"])) > 1


def test_asynchronous_copies_come_when_waited_for_or_at_once(run):
    """A GPU makes them any time in between: of a kernel that is right neither shows."""
    x, y = ones(), ones()
    for order in range(3):
        run("waited_for", x, y, shared=128, order=order)
        np.testing.assert_array_equal(y, x)
    for order in (0, 1):
        run("not_waited_for", x, y, shared=128, order=order)
        assert not (y == x).any()
    run("not_waited_for", x, y, shared=128, order=2)
    np.testing.assert_array_equal(y, x)
    with pytest.raises(KernelError, match="aligned"):
        run("askew", x, y, shared=128)


def test_shuffles_and_atomics(run):
    x, y, count = np.arange(64, dtype=np.float32), ones(66), np.zeros(1, np.int32)
    run("sums", x, y, count, block=64)
    np.testing.assert_array_equal(y[:64], np.repeat([x[:32].sum(), x[32:].sum()], 32))
    assert y[64] == x.sum() and count[0] == 64
    with pytest.raises(KernelError, match="fewer than 32"):
        run("sums", x, y, count, block=20)


def test_tensor_cores_want_rounded_factors(run):
    x, y = ones(), ones(128)
    run("products", x, y)
    np.testing.assert_array_equal(y, 8)
    x[7] += 2.0**-13
    with pytest.raises(KernelError, match="not rounded to TF32"):
        run("products", x, y)


def test_arguments_of_the_wrong_type(run):
    run("scalars", np.int32(1), np.int64(2), np.float64(3))
    for wrong in (
        (1, np.int64(2), np.float64(3)),
        (np.int64(1), np.int64(2), np.float64(3)),
        (np.int32(1), np.int64(2)),
    ):
        with pytest.raises(KernelError, match="scalars"):
            run("scalars", *wrong)
    with pytest.raises(KernelError, match="float64 for f4"):
        run("no_race", np.ones(32))


def test_what_no_gpu_takes(host):
    for grid, block, shared in ((0, 32, 0), (1, 2048, 0), (1, 32, 10**6)):
        with pytest.raises(KernelError, match="no GPU"):
            host.launch("elementwise.cu", "relu_forward", grid, block, (), {"REAL": "float"}, shared)
