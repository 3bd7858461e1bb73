// Copies from global to shared memory that run on while the block computes (compute capability 8.0 and later; a plain
// copy before). `copy_async<N>` copies N numbers, of which the first `count` are read and the others become 0.
#pragma once
#include "common.cuh"

template <int N, typename T>
__device__ __forceinline__ void copy_async(T* target, const T* source, int count) {
#if defined(ON_HOST)
    host::copy_async(target, source, N * sizeof(T), count * sizeof(T));
#elif __CUDA_ARCH__ >= 800
    const unsigned address = (unsigned)__cvta_generic_to_shared(target);
    const int bytes = count * (int)sizeof(T);
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(address), "l"(source), "n"(N * sizeof(T)), "r"(bytes)
                 : "memory");
#else
#pragma unroll
    for (int i = 0; i < N; i++) target[i] = i < count ? source[i] : (T)0;
#endif
}

// Close a group of copies.
__device__ __forceinline__ void commit_copies() {
#if defined(ON_HOST)
    host::commit_copies();
#elif __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Wait until at most PENDING of this thread's groups are still on their way.
template <int PENDING>
__device__ __forceinline__ void wait_for_copies() {
#if defined(ON_HOST)
    host::wait_for_copies(PENDING);
#elif __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
#endif
}
