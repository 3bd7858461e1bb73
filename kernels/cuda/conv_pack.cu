// The weights of a convolution, laid out as the products read them, and the sums of a weight gradient, laid out as weights.
#include "warp_tile.cuh"

// packed: blocks of 16 channels × 8 of the depth, a channel's side by side; weight[m · step + place[k]] each, 0 behind the
// channels and the depth. With TENSOR_CORES a block lies as warp_tile.cuh's lanes take it, four numbers each, rounded to
// TF32 once and for all, and its k are (2t, 2t + 1) for lane t of four where PAIRS, else (t, t + 4); without, as [k][m].
extern "C" __global__ void pack_weight(const real* __restrict__ weight, const index_t* __restrict__ place, real* __restrict__ packed,
                                       index_t n, index_t channels, index_t depth, index_t depth_padded, index_t step) {
    FOR_EACH(i, n) {
        const index_t block = i / 128, across = depth_padded / 8;
        const int inside = (int)(i % 128);
#ifdef TENSOR_CORES
        const int lane = inside / 4, t = lane % 4, half = inside % 4 / 2;
        const int row = lane / 4 + inside % 2 * 8, column = PAIRS ? 2 * t + half : t + 4 * half;
#else
        const int row = inside % 16, column = inside / 16;
#endif
        const index_t m = block / across * 16 + row, k = block % across * 8 + column;
        const real value = m < channels && k < depth ? weight[m * step + place[k]] : (real)0;
#ifdef TENSOR_CORES
        packed[i] = __uint_as_float(to_tf32(value));
#else
        packed[i] = value;
#endif
    }
}

// dweight[m · depth + place[k]] = Σ_split partial[split, m, k] and dbias[m] = Σ_split partial_bias[split, m], always in the
// same order: the same bits in every run. A block takes 32 sums, each of its STRIPS × 32 threads every STRIPS-th part.
constexpr int STRIPS = 8;

extern "C" __global__ void __launch_bounds__(32 * STRIPS) sum_weight_gradient(
    const real* __restrict__ partial, const real* __restrict__ partial_bias, const index_t* __restrict__ place,
    real* __restrict__ dweight, real* __restrict__ dbias, index_t splits, index_t channels, index_t depth) {
    SHARED_ARRAY(real, part, STRIPS * 32);
    const int column = threadIdx.x % 32, strip = threadIdx.x / 32;
    const index_t i = blockIdx.x * (index_t)32 + column, weights = channels * depth;
    const bool is_bias = i >= weights, there = i < weights + channels;
    const index_t size = is_bias ? channels : weights;
    const real* source = is_bias ? partial_bias + (i - weights) : partial + i;
    real sum = 0;
    if (there)
#pragma unroll 8
        for (index_t split = strip; split < splits; split += STRIPS) sum += source[split * size];
    part[threadIdx.x] = sum;
    __syncthreads();
    if (strip != 0 || !there) return;
    for (int other = 1; other < STRIPS; other++) sum += part[other * 32 + column];
    (is_bias ? dbias[i - weights] : dweight[i / depth * depth + place[i % depth]]) = sum;
}
