// The weights of a convolution, laid out as the products read them, and the sums of a weight gradient, laid out as weights.
#include "warp_tile.cuh"

// packed[m, k] = weight[m · step + place[k]], 0 behind the depth; with TENSOR_CORES rounded to TF32 once and for all.
extern "C" __global__ void pack_weight(const real* __restrict__ weight, const index_t* __restrict__ place, real* __restrict__ packed,
                                       index_t channels, index_t depth, index_t depth_padded, index_t step) {
    FOR_EACH(i, channels * depth_padded) {
        const index_t m = i / depth_padded, k = i % depth_padded;
        const real value = k < depth ? weight[m * step + place[k]] : (real)0;
#ifdef TENSOR_CORES
        packed[i] = __uint_as_float(to_tf32(value));
#else
        packed[i] = value;
#endif
    }
}

// dweight[m · depth + place[k]] = Σ_split partial[split, m, k] and dbias[m] = Σ_split partial_bias[split, m], always in the
// same order: the same bits in every run.
extern "C" __global__ void sum_weight_gradient(const real* __restrict__ partial, const real* __restrict__ partial_bias,
                                               const index_t* __restrict__ place, real* __restrict__ dweight,
                                               real* __restrict__ dbias, index_t splits, index_t channels, index_t depth) {
    FOR_EACH(i, channels * depth + channels) {
        const bool is_bias = i >= channels * depth;
        const index_t m = is_bias ? i - channels * depth : i / depth, size = is_bias ? channels : channels * depth;
        const real* source = is_bias ? partial_bias + m : partial + i;
        real sum = 0;
        for (index_t split = 0; split < splits; split++) sum += source[split * size];
        (is_bias ? dbias[m] : dweight[m * depth + place[i % depth]]) = sum;
    }
}
