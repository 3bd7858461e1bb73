// The innermost product: one warp adds A · B to its M × N piece of a tile, eight steps of depth at a time.
//
// The M·N sums lie in the registers of the warp's 32 lanes. With TENSOR_CORES, `mma.sync` multiplies 16 × 8 × 8 TF32
// numbers (float32 rounded to 10 bits of mantissa) and adds in float32; without, the plain twin below does the same with
// ordinary multiply-adds. A and B are objects that know where their numbers lie: for the tensor cores a.four(i, …) gives
// those of the i-th 16 × 8 numbers of A that are this lane's, b.pair(j, …) those of the j-th eight columns of B; for the
// twin there are a.at(m, k) and b.at(j, k).
//
// The j-th product's eight columns are neighbours in the tile or, so that the lanes of strided patches meet in different
// banks, SPREAD apart: column c of them is number SPREAD · c + j mod SPREAD of the 8 · SPREAD that they share.
#pragma once
#include "common.cuh"

constexpr int DEPTH = 8;

__device__ __forceinline__ int lane_row() { return threadIdx.x % 32 / 4; }
__device__ __forceinline__ int lane_column() { return threadIdx.x % 4; }

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

template <int M, int N, int APART = 1>
struct WarpTile {
    float sum[M / 16][N / 8][4];

    // The column of eight whose B this lane brings, and its place in the tile.
    static __device__ __forceinline__ int column() { return lane_row(); }
    static __device__ __forceinline__ int column_of(int j, int c) { return j / APART * 8 * APART + APART * c + j % APART; }

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < M / 16; i++)
#pragma unroll
            for (int j = 0; j < N / 8; j++)
#pragma unroll
                for (int v = 0; v < 4; v++) sum[i][j][v] = 0;
    }

    // sum += A · B, eight of depth.
    template <typename A, typename B>
    __device__ __forceinline__ void multiply(const A& a, const B& b) {
        unsigned left[M / 16][4];
#pragma unroll
        for (int i = 0; i < M / 16; i++) a.four(i, left[i]);
#pragma unroll
        for (int j = 0; j < N / 8; j++) {
            float first, second;
            b.pair(j, first, second);
            const unsigned right[2] = {to_tf32(first), to_tf32(second)};
#pragma unroll
            for (int i = 0; i < M / 16; i++) multiply_16x8x8(sum[i][j], left[i], right);
        }
    }

    // f(m, n, value) for each of this lane's sums with first ≤ m < first + count (multiples of 16).
    template <typename F>
    __device__ __forceinline__ void for_each_from(int first, int count, F f) const {
        const int g = lane_row(), t = lane_column();
#pragma unroll
        for (int i = 0; i < M / 16; i++)
            if (16 * i >= first && 16 * i < first + count)
#pragma unroll
                for (int j = 0; j < N / 8; j++)
#pragma unroll
                    for (int v = 0; v < 4; v++) f(16 * i + g + v / 2 * 8, column_of(j, 2 * t + v % 2), sum[i][j][v]);
    }
};

#else

// The plain twin: lanes stand in a 4 × 8 grid; each holds every fourth row and every eighth column.
template <int M, int N, int APART = 1>
struct WarpTile {
    real sum[M / 4][N / 8];

    static __device__ __forceinline__ int column() { return threadIdx.x % 8; }
    static __device__ __forceinline__ int column_of(int j, int c) { return j / APART * 8 * APART + APART * c + j % APART; }

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < M / 4; i++)
#pragma unroll
            for (int j = 0; j < N / 8; j++) sum[i][j] = 0;
    }

    template <typename A, typename B>
    __device__ __forceinline__ void multiply(const A& a, const B& b) {
        const int row = threadIdx.x % 32 / 8;
#pragma unroll
        for (int k = 0; k < DEPTH; k++) {
            real right[N / 8];
#pragma unroll
            for (int j = 0; j < N / 8; j++) right[j] = b.at(j, k);
#pragma unroll
            for (int i = 0; i < M / 4; i++) {
                const real left = a.at(4 * i + row, k);
#pragma unroll
                for (int j = 0; j < N / 8; j++) sum[i][j] += left * right[j];
            }
        }
    }

    template <typename F>
    __device__ __forceinline__ void for_each_from(int first, int count, F f) const {
        const int row = threadIdx.x % 32 / 8;
#pragma unroll
        for (int i = 0; i < M / 4; i++)
            if (4 * i >= first && 4 * i < first + count)
#pragma unroll
                for (int j = 0; j < N / 8; j++) f(4 * i + row, column_of(j, column()), sum[i][j]);
    }
};

#endif

// A left factor as pack_weight (conv_pack.cu) has laid it out, TF32 already: blocks of 16 × 8 numbers, STEP from one to the
// next; in each, a lane's four side by side, for the twin [8 of depth][16].
template <int STEP>
struct LeftBlocks {
    const real* blocks;
    __device__ __forceinline__ real at(int m, int k) const { return blocks[m / 16 * STEP + k * 16 + m % 16]; }
#ifdef TENSOR_CORES
    __device__ __forceinline__ void four(int i, unsigned (&left)[4]) const {
        const float4 four = *reinterpret_cast<const float4*>(blocks + i * STEP + threadIdx.x % 32 * 4);
        left[0] = __float_as_uint(four.x), left[1] = __float_as_uint(four.y);
        left[2] = __float_as_uint(four.z), left[3] = __float_as_uint(four.w);
    }
#endif
};

// A left factor whose depth runs over rows of shared memory, PITCH apart.
template <int PITCH>
struct LeftRows {
    const real* rows;
    __device__ __forceinline__ real at(int m, int k) const { return rows[m + k * PITCH]; }
#ifdef TENSOR_CORES
    __device__ __forceinline__ void four(int i, unsigned (&left)[4]) const {
#pragma unroll
        for (int v = 0; v < 4; v++)
            left[v] = to_tf32(rows[16 * i + v % 2 * 8 + lane_row() + (lane_column() + v / 2 * 4) * PITCH]);
    }
#endif
};

// A right factor that lies so; `rows` is that of this lane's first column (WarpTile::column).
template <int PITCH>
struct RightRows {
    const real* rows;
    __device__ __forceinline__ real at(int j, int k) const { return rows[8 * j + k * PITCH]; }
    __device__ __forceinline__ void pair(int j, real& first, real& second) const {
        first = rows[8 * j + lane_column() * PITCH], second = rows[8 * j + (lane_column() + 4) * PITCH];
    }
};
