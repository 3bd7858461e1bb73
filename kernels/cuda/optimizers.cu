// Clipping and the optimizer's step: one launch over all arrays of a network, however many there are.
//
// A block takes a chunk of one array; `chunks` lists them, `pointers` holds the arrays' addresses, first all params,
// then all gradients, and so on (as many as the kernel needs). Arrays of one `group` are clipped by their common norm.
#include "reduce.cuh"

struct Chunk {
    index_t array, start, size, group;
};

#define FOR_EACH_OF(i, chunk) for (index_t i = (chunk).start + threadIdx.x; i < (chunk).start + (chunk).size; i += blockDim.x)

// g = grad + weight_decay · param;  v ← momentum · v + g;  param ← param − lr · (g + momentum · v)
extern "C" __global__ void nesterov(real* const* __restrict__ pointers, const Chunk* __restrict__ chunks, index_t arrays, real lr,
                                    real momentum, real weight_decay) {
    const Chunk chunk = chunks[blockIdx.x];
    real* __restrict__ param = pointers[chunk.array];
    const real* __restrict__ grad = pointers[arrays + chunk.array];
    real* __restrict__ velocity = pointers[2 * arrays + chunk.array];
#pragma unroll 4
    FOR_EACH_OF(i, chunk) {
        const real g = grad[i] + weight_decay * param[i];
        const real v = momentum * velocity[i] + g;
        velocity[i] = v;
        param[i] -= lr * (g + momentum * v);
    }
}

// Kingma & Ba 2015, algorithm 1: m, v the moments' running means; `rate` = lr / (1 − β₁ᵗ), `correction` = 1 − β₂ᵗ.
extern "C" __global__ void adam(real* const* __restrict__ pointers, const Chunk* __restrict__ chunks, index_t arrays, real rate,
                                real correction, real decay1, real decay2, real eps, real weight_decay) {
    const Chunk chunk = chunks[blockIdx.x];
    real* __restrict__ param = pointers[chunk.array];
    const real* __restrict__ grad = pointers[arrays + chunk.array];
    real* __restrict__ m = pointers[2 * arrays + chunk.array];
    real* __restrict__ v = pointers[3 * arrays + chunk.array];
#pragma unroll 4
    FOR_EACH_OF(i, chunk) {
        const real g = grad[i] + weight_decay * param[i];
        m[i] += decay1 * (g - m[i]);  // decay1 = 1 − β₁
        v[i] += decay2 * (g * g - v[i]);
        param[i] -= rate * m[i] / (sqrt(v[i] / correction) + eps);
    }
}

// partial[chunk] = Σ x², in float64
extern "C" __global__ void chunk_squares(real* const* __restrict__ pointers, const Chunk* __restrict__ chunks, double* __restrict__ partial) {
    const Chunk chunk = chunks[blockIdx.x];
    const real* __restrict__ x = pointers[chunk.array];
    double sum = 0;
    FOR_EACH_OF(i, chunk) sum += (double)x[i] * (double)x[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// squares[group] = Σ of its chunks, in order: one block a group.
extern "C" __global__ void group_squares(const double* __restrict__ partial, const index_t* __restrict__ first_chunk,
                                         double* __restrict__ squares) {
    double sum = 0;
    for (index_t i = first_chunk[blockIdx.x] + threadIdx.x; i < first_chunk[blockIdx.x + 1]; i += blockDim.x) sum += partial[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) squares[blockIdx.x] = sum;
}

// Scale the arrays of each group whose norm is above max_norm down to it.
extern "C" __global__ void clip(real* const* __restrict__ pointers, const Chunk* __restrict__ chunks, const double* __restrict__ squares,
                                double max_norm) {
    const Chunk chunk = chunks[blockIdx.x];
    const double norm = sqrt(squares[chunk.group]);
    if (!(norm > max_norm)) return;
    real* __restrict__ x = pointers[chunk.array];
    const real scale = (real)(max_norm / norm);
    FOR_EACH_OF(i, chunk) x[i] *= scale;
}
