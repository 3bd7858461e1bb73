// dx behind a convolution with a max-pool, from the pooled dy alone: each value goes back through the weights to the
// patch its maximum came from.
//
// For few input channels and a large pool, as in PiczakNet's first layer: 960 of 11,520 positions carry a gradient, and
// a product over one input channel would leave the tensor cores 15/16 idle. A block takes a sample; each warp adds its
// share of the output channels to its own copy of dx in shared memory, one value of dy at a time (its taps all go to
// different places), and the copies are added up in order: no atomics.
//
// Macros: WARPS; REAL.
#include "conv_shape.cuh"

constexpr int THREADS = 32 * WARPS;
constexpr int AT_ONCE = 6;  // taps that a lane takes of each value, so that their loads overlap

// A value of the pooled dy, and where its patch begins.
struct Source {
    int row, column;
};

extern "C" __global__ void __launch_bounds__(THREADS) conv_input_gradient_sparse(
    const real* __restrict__ dy, const int* __restrict__ argmax,  // y's strides in shape, channels contiguous
    const real* __restrict__ weight,                              // (out_channels, depth)
    const Tap* __restrict__ taps,                                 // (depth,): offset in a dx of this layout
    const ConvShape* __restrict__ shape, real* __restrict__ dx, index_t size) {  // dx (samples, size)
    SHARED_MEMORY(memory);
    const ConvShape& s = *shape;
    const int pooled = (int)(s.pooled_rows * s.pooled_columns), channels = (int)s.channels, depth = (int)s.depth;
    real* copies = reinterpret_cast<real*>(memory);        // [WARPS][size]
    real* value = copies + WARPS * size;                   // [channels][pooled]
    Source* source = reinterpret_cast<Source*>(value + channels * pooled);  // [channels][pooled]
    const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
    const index_t sample = blockIdx.x;

    for (index_t i = thread; i < WARPS * size; i += THREADS) copies[i] = 0;
    for (int i = thread; i < channels * pooled; i += THREADS) {  // neighbouring threads, neighbouring channels
        const int m = i % channels, p = i / channels;
        const index_t place = sample * s.y_n + p / s.pooled_columns * s.y_row + p % s.pooled_columns * s.y_column + m;
        const int winner = argmax[place], map_columns = (int)s.map_columns;
        value[m * pooled + p] = winner < 0 ? (real)0 : dy[place];
        source[m * pooled + p] = winner < 0 ? Source{NOWHERE, NOWHERE}
                                            : Source{(int)(s.first_row + winner / map_columns * s.step_row),
                                                     (int)(s.first_column + winner % map_columns * s.step_column)};
    }
    __syncthreads();

    real* mine = copies + warp * size;
    const unsigned rows = (unsigned)s.rows, columns = (unsigned)s.columns;
    const int x_row = (int)s.x_row, x_column = (int)s.x_column;
    for (int m = warp; m < channels; m += WARPS)
        for (int first = lane; first - lane < depth; first += 32 * AT_ONCE) {
            Tap tap[AT_ONCE];
            real w[AT_ONCE];
#pragma unroll
            for (int u = 0; u < AT_ONCE; u++) {
                const int k = first + 32 * u;
                tap[u] = k < depth ? taps[k] : Tap{0, NOWHERE, NOWHERE};
                w[u] = k < depth ? weight[m * (index_t)depth + k] : (real)0;
            }
            for (int p = 0; p < pooled; p++) {
                const Source from = source[m * pooled + p];
                if (from.row == NOWHERE) continue;  // for the whole warp
                real* corner = mine + from.row * x_row + from.column * x_column;
                const real gradient = value[m * pooled + p];
                real sum[AT_ONCE];
#pragma unroll
                for (int u = 0; u < AT_ONCE; u++)
                    sum[u] = is_inside({0, from.row, from.column}, tap[u], rows, columns) ? corner[tap[u].offset] + gradient * w[u] : 0;
#pragma unroll
                for (int u = 0; u < AT_ONCE; u++)
                    if (is_inside({0, from.row, from.column}, tap[u], rows, columns)) corner[tap[u].offset] = sum[u];
                __syncwarp();  // the next value's taps may fall on the same places
            }
        }
    __syncthreads();

    for (index_t i = thread; i < size; i += THREADS) {
        real sum = 0;
        for (int copy = 0; copy < WARPS; copy++) sum += copies[copy * size + i];
        dx[sample * size + i] = sum;
    }
}
