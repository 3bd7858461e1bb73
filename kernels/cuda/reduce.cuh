// Sums over a warp and over a block, in a fixed order: the same bits in every run.
#pragma once
#include "common.cuh"

// The sum over the 32 lanes, in all of them.
template <typename T>
__device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
    return value;
}

// The larger of two; NaN is larger than any number.
template <typename T>
__device__ __forceinline__ T larger(T a, T b) {
    return a > b || a != a ? a : b;
}

// The largest of the 32 lanes' values, in all of them.
template <typename T>
__device__ __forceinline__ T warp_max(T value) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) value = larger(value, __shfl_xor_sync(0xffffffffu, value, distance));
    return value;
}

// The sum over a block of whole warps, in thread 0.
__device__ __forceinline__ double block_sum(double value) {
    SHARED_ARRAY(double, part, 32);
    value = warp_sum(value);
    __syncthreads();  // an earlier sum has been read
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = value;
    __syncthreads();
    double sum = 0;
    if (threadIdx.x == 0)
        for (int warp = 0; warp < (int)blockDim.x / 32; warp++) sum += part[warp];
    return sum;
}
