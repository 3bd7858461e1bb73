// The innermost product: one warp adds A · B to its M × N piece of a tile, eight steps of depth at a time.
//
// A and B lie in shared memory, A[m, k] at a[m * A_M + k * A_K], B[n, k] at b[n * B_N + k * B_K]. The M·N sums lie in the
// registers of the warp's 32 lanes. With TENSOR_CORES, `mma.sync` multiplies 16 × 8 × 8 TF32 numbers (float32 rounded to
// 10 bits of mantissa) and adds in float32; without, the plain twin below does the same with ordinary multiply-adds.
#pragma once
#include "common.cuh"

constexpr int DEPTH = 8;

#ifdef TENSOR_CORES

// float32 → TF32, to nearest, ties away from zero.
__device__ __forceinline__ unsigned to_tf32(float x) {
#ifdef ON_HOST
    return host::to_tf32(x);
#else
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return bits;
#endif
}

// c (16 × 8) += a (16 × 8) · b (8 × 8). Lane 4g + t holds a[g, t], a[g + 8, t], a[g, t + 4], a[g + 8, t + 4];
// b[t, g], b[t + 4, g]; c[g, 2t], c[g, 2t + 1], c[g + 8, 2t], c[g + 8, 2t + 1].
__device__ __forceinline__ void multiply_16x8x8(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if defined(ON_HOST)
    host::multiply_16x8x8(c, a, b);
#elif __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

template <int M, int N>
struct WarpTile {
    float sum[M / 16][N / 8][4];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < M / 16; i++)
#pragma unroll
            for (int j = 0; j < N / 8; j++)
#pragma unroll
                for (int v = 0; v < 4; v++) sum[i][j][v] = 0;
    }

    // sum += A[:, 0:8] · B[:, 0:8]ᵀ. A_ROUNDED: A holds TF32 numbers already.
    // The eight k may come in any order that A and B share: where k is contiguous, a lane takes the pair (2t, 2t + 1)
    // for (t, t + 4), so that one 8-byte load brings both.
    template <int A_M, int A_K, int B_N, int B_K, bool A_ROUNDED>
    __device__ __forceinline__ void multiply(const float* a, const float* b) {
        const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
        unsigned left[M / 16][4];
#pragma unroll
        for (int i = 0; i < M / 16; i++) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float first, second;
                pair<A_K, A_K == 1 && B_K == 1>(a + (16 * i + 8 * half + g) * A_M, t, first, second);
                left[i][half] = A_ROUNDED ? __float_as_uint(first) : to_tf32(first);
                left[i][half + 2] = A_ROUNDED ? __float_as_uint(second) : to_tf32(second);
            }
        }
#pragma unroll
        for (int j = 0; j < N / 8; j++) {
            float first, second;
            pair<B_K, A_K == 1 && B_K == 1>(b + (8 * j + g) * B_N, t, first, second);
            const unsigned right[2] = {to_tf32(first), to_tf32(second)};
#pragma unroll
            for (int i = 0; i < M / 16; i++) multiply_16x8x8(sum[i][j], left[i], right);
        }
    }

    template <int STEP, bool CONTIGUOUS>
    static __device__ __forceinline__ void pair(const float* row, int t, float& first, float& second) {
        if constexpr (CONTIGUOUS) {
            const float2 both = *reinterpret_cast<const float2*>(row + 2 * t);
            first = both.x;
            second = both.y;
        } else {
            first = row[t * STEP];
            second = row[(t + 4) * STEP];
        }
    }

    // f(m, n, value) for each of this lane's sums.
    template <typename F>
    __device__ __forceinline__ void for_each(F f) const {
        const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
        for (int i = 0; i < M / 16; i++)
#pragma unroll
            for (int j = 0; j < N / 8; j++)
#pragma unroll
                for (int v = 0; v < 4; v++) f(16 * i + g + v / 2 * 8, 8 * j + 2 * t + v % 2, sum[i][j][v]);
    }
};

#else

// The plain twin: lanes stand in a 4 × 8 grid; each holds every fourth row and every eighth column.
template <int M, int N>
struct WarpTile {
    real sum[M / 4][N / 8];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < M / 4; i++)
#pragma unroll
            for (int j = 0; j < N / 8; j++) sum[i][j] = 0;
    }

    template <int A_M, int A_K, int B_N, int B_K, bool A_ROUNDED>
    __device__ __forceinline__ void multiply(const real* a, const real* b) {
        const int row = threadIdx.x % 32 / 8, column = threadIdx.x % 8;
#pragma unroll
        for (int k = 0; k < DEPTH; k++) {
            real right[N / 8];
#pragma unroll
            for (int j = 0; j < N / 8; j++) right[j] = b[(8 * j + column) * B_N + k * B_K];
#pragma unroll
            for (int i = 0; i < M / 4; i++) {
                const real left = a[(4 * i + row) * A_M + k * A_K];
#pragma unroll
                for (int j = 0; j < N / 8; j++) sum[i][j] += left * right[j];
            }
        }
    }

    template <typename F>
    __device__ __forceinline__ void for_each(F f) const {
        const int row = threadIdx.x % 32 / 8, column = threadIdx.x % 8;
#pragma unroll
        for (int i = 0; i < M / 4; i++)
#pragma unroll
            for (int j = 0; j < N / 8; j++) f(4 * i + row, 8 * j + column, sum[i][j]);
    }
};

#endif
