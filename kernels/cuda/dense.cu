// What stands around a dense layer's matrix product (which is cuBLAS's): bias, ReLU and dropout in one pass over its
// result, the gradient through them, and the bias gradient.
#include "philox.cuh"
#include "reduce.cuh"

// y = dropout(relu(y + bias)), in place; y (rows, columns). threshold = p · 2³², 0 for no dropout.
extern "C" __global__ void bias_relu_dropout(real* __restrict__ y, const real* __restrict__ bias, index_t rows, index_t columns, int relu,
                                             unsigned long long threshold, real scale, unsigned long long seed,
                                             unsigned long long offset) {
    const index_t n = rows * columns;
    FOR_EACH(block, (n + 3) / 4) {
        Words words = {{0, 0, 0, 0}};
        if (threshold) words = philox(block, seed, offset);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const index_t place = 4 * block + i;
            if (place >= n) continue;
            real value = y[place];
            if (bias != nullptr) value += bias[place % columns];
            if (relu && value <= 0) value = 0;
            y[place] = words.word[i] >= threshold ? value * scale : (real)0;
        }
    }
}

// The gradient through ReLU and dropout: y ≤ 0 exactly where one of them cut the value. dz = y ≤ 0 ? 0 : dy · scale.
extern "C" __global__ void relu_dropout_backward(const real* __restrict__ dy, const real* __restrict__ y, real* __restrict__ dz, index_t n,
                                                 real scale) {
    FOR_EACH(i, n) dz[i] = y[i] <= 0 ? (real)0 : dy[i] * scale;
}

// sum[column] = Σ_row x[row, column]. A block of 32 × 8 threads takes 32 columns; each thread every eighth row.
extern "C" __global__ void column_sum(const real* __restrict__ x, real* __restrict__ sum, index_t rows, index_t columns) {
    SHARED_ARRAY(real, part, 8 * 32);
    const int lane = threadIdx.x % 32, share = threadIdx.x / 32;
    const index_t column = blockIdx.x * (index_t)32 + lane;
    real mine = 0;
    if (column < columns)
        for (index_t row = share; row < rows; row += 8) mine += x[row * columns + column];
    part[share * 32 + lane] = mine;
    __syncthreads();
    if (share == 0 && column < columns) {
        for (int other = 1; other < 8; other++) mine += part[other * 32 + lane];
        sum[column] = mine;
    }
}
