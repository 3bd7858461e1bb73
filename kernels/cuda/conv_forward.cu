// y = pool(activation(weight * x + bias)) in one pass: of the convolution's map only the maxima are stored, and where
// they were. Eq. 3 and 4, 5 and 6, 7, 8 of the paper. It is also the input gradient: a convolution of dy.
//
// An implicit GEMM. A block computes TILE_M channels at TILE_N positions (conv_shape.cuh), SLICE of the depth at a time,
// both factors copied to shared memory STAGES − 1 slices ahead of the product; each warp multiplies its own piece
// (warp_tile.cuh). The finished tile then lies in shared memory once, [position][channel], and the pool runs over it.
//
// Macros: TILE_M, TILE_N, WARPS_M, WARPS_N, STAGES; VECTOR: how many numbers of a patch are contiguous in x;
// REAL, TENSOR_CORES.
#include "async_copy.cuh"
#include "conv_shape.cuh"
#include "warp_tile.cuh"

constexpr int SLICE = 16;
constexpr int PITCH = SLICE + 8;  // of a row in shared memory: eight rows start in eight different banks
constexpr int THREADS = 32 * WARPS_M * WARPS_N;
constexpr int PIECE_M = TILE_M / WARPS_M, PIECE_N = TILE_N / WARPS_N;
constexpr int RESULT_PITCH = TILE_M + 4;
constexpr int WHOLE = 16 / sizeof(real);  // numbers in the widest copy

__device__ __forceinline__ bool is_better(real value, real best) { return value > best || (value != value && best == best); }

extern "C" __global__ void __launch_bounds__(THREADS, 2) conv_forward(
    const real* __restrict__ weight,  // (M, depth_padded), 0 behind the depth, TF32 already with TENSOR_CORES
    const Tap* __restrict__ taps,     // (depth_padded,)
    const ConvShape* __restrict__ shape, const real* __restrict__ x,
    const real* __restrict__ bias,  // (M,) or null
    real* __restrict__ y, int* __restrict__ argmax,  // channels contiguous; argmax may be null
    int relu) {
    SHARED_MEMORY(memory);
    Position* positions = reinterpret_cast<Position*>(memory);
    Group* groups = reinterpret_cast<Group*>(positions + TILE_N);
    real* slices = reinterpret_cast<real*>(groups + TILE_N);
    const ConvShape& s = *shape;
    const index_t tiles_m = (s.channels + TILE_M - 1) / TILE_M;
    const index_t tile = blockIdx.x / tiles_m, first_m = blockIdx.x % tiles_m * TILE_M;
    const index_t depth = s.depth, depth_padded = s.depth_padded, channels = s.channels;
    const unsigned rows = (unsigned)s.rows, columns = (unsigned)s.columns;
    const int thread = threadIdx.x;

    for (int g = thread; g < (int)s.groups; g += THREADS) groups[g] = find_group(s, tile * s.groups + g);
    __syncthreads();
    for (int p = thread; p < TILE_N; p += THREADS) {
        index_t unused;
        positions[p] = find_position(s, groups, p, unused);
    }
    __syncthreads();

    auto fetch = [&](index_t slice) {
        real* a = slices + slice % STAGES * (TILE_M + TILE_N) * PITCH;
        real* b = a + TILE_M * PITCH;
        const index_t k0 = slice * SLICE;
        for (int i = thread; i < TILE_M * (SLICE / WHOLE); i += THREADS) {
            const int m = i / (SLICE / WHOLE), k = i % (SLICE / WHOLE) * WHOLE;
            const bool there = first_m + m < channels;
            copy_async<WHOLE>(a + m * PITCH + k, there ? weight + (first_m + m) * depth_padded + k0 + k : weight, there ? WHOLE : 0);
        }
        constexpr int CHUNKS = SLICE / VECTOR;  // divides THREADS: a thread keeps its tap
        const int k = thread % CHUNKS * VECTOR;
        const Tap tap = taps[k0 + k];
        const int count = (int)min((index_t)VECTOR, max(depth - k0 - k, (index_t)0));
        for (int p = thread / CHUNKS; p < TILE_N; p += THREADS / CHUNKS) {
            const Position position = positions[p];
            const bool there = is_inside(position, tap, rows, columns);
            copy_async<VECTOR>(b + p * PITCH + k, there && count ? x + position.offset + tap.offset : x, there ? count : 0);
        }
    };

    const int warp = thread / 32, warp_m = warp / WARPS_N * PIECE_M, warp_n = warp % WARPS_N * PIECE_N;
    WarpTile<PIECE_M, PIECE_N> product;
    product.clear();
    const index_t n_slices = depth_padded / SLICE;
    for (int i = 0; i < STAGES - 1; i++) {
        if (i < n_slices) fetch(i);
        commit_copies();
    }
    for (index_t slice = 0; slice < n_slices; slice++) {
        wait_for_copies<STAGES - 2>();
        __syncthreads();  // slice has arrived for all, and nobody reads the one before it any more
        if (slice + STAGES - 1 < n_slices) fetch(slice + STAGES - 1);
        commit_copies();
        const real* a = slices + slice % STAGES * (TILE_M + TILE_N) * PITCH;
        const real* b = a + TILE_M * PITCH;
#pragma unroll
        for (int k = 0; k < SLICE; k += DEPTH)
            product.template multiply<PITCH, 1, PITCH, 1, true>(a + warp_m * PITCH + k, b + warp_n * PITCH + k);
    }
    __syncthreads();  // every slice has arrived and been multiplied

    real* result = slices;  // [TILE_N][RESULT_PITCH], in the place of the slices
    product.for_each([&](int m, int n, real value) {
        const index_t channel = first_m + warp_m + m;
        const real shift = bias != nullptr && channel < channels ? bias[channel] : (real)0;
        result[(warp_n + n) * RESULT_PITCH + warp_m + m] = value + shift;
    });
    __syncthreads();

    // The pool: one warp takes one pooled value after another, a lane one channel.
    const int across = span_columns(s), span = span_rows(s) * across;
    const int tile_columns = (int)s.tile_columns, values = (int)s.tile_rows * tile_columns;
    const int pool_rows = (int)s.pool_rows, pool_columns = (int)s.pool_columns;
    for (int value = warp; value < (int)s.groups * values; value += WARPS_M * WARPS_N) {
        const Group group = groups[value / values];
        const int down = value % values / tile_columns, right = value % values % tile_columns;
        const index_t row = group.row + down, column = group.column + right;
        if (group.sample < 0 || row >= s.pooled_rows || column >= s.pooled_columns) continue;
        const index_t top = row * s.pool_step_row, left = column * s.pool_step_column;  // of the window, in the map
        const int corner = value / values * span + down * (int)s.pool_step_row * across + right * (int)s.pool_step_column;
        const index_t place = group.sample * s.y_n + row * s.y_row + column * s.y_column + first_m;
        for (int m = thread % 32; m < TILE_M && first_m + m < channels; m += 32) {
            const real* window = result + corner * RESULT_PITCH + m;
            real best = window[0];
            int best_row = 0, best_column = 0;
            for (int a = 0; a < pool_rows; a++)
                for (int b = 0; b < pool_columns; b++) {
                    const real next = window[(a * across + b) * RESULT_PITCH];
                    if (is_better(next, best)) best = next, best_row = a, best_column = b;
                }
            const bool cut = relu && best <= 0;
            y[place + m] = cut ? (real)0 : best;
            if (argmax != nullptr) argmax[place + m] = cut ? -1 : (int)((top + best_row) * s.map_columns + left + best_column);
        }
    }
}
