// dweight[m, k] = Σ_positions dmap[position, m] · patches[position, k] and dbias[m] = Σ_positions dmap[position, m].
//
// The gradient behind a max-pool is sparse: dy has one value where the map had a whole window. The map's gradient is
// therefore never stored: each block scatters the pooled dy of a tile to its argmax positions in shared memory and
// multiplies from there. Neighbouring tiles overlap as their windows do; each scatters its own pooled values alone, and
// the gradients add up. One thread owns a channel of a group, so no two threads add to one place: no atomics.
//
// A block sums over a fixed share of the tiles and stores its part; `sum_weight_gradient` (conv_pack.cu) adds the parts
// in order. Macros: TILE_M (channels), TILE_K (of the depth), TILE_P (positions), WARPS_M, WARPS_K; VECTOR as in
// conv_forward.cu, VECTOR_DY the same for dy; POOLED; REAL, TENSOR_CORES.
#include "async_copy.cuh"
#include "conv_shape.cuh"
#include "warp_tile.cuh"

constexpr int THREADS = 32 * WARPS_M * WARPS_K;
constexpr int PIECE_M = TILE_M / WARPS_M, PIECE_K = TILE_K / WARPS_K;
constexpr int PITCH_M = TILE_M + 8, PITCH_K = TILE_K + 8;  // four rows start in four different groups of banks

extern "C" __global__ void __launch_bounds__(THREADS, 2) conv_weight_gradient(
    const real* __restrict__ dy, const int* __restrict__ argmax,  // strides of y in shape, channels contiguous
    const Tap* __restrict__ taps, const ConvShape* __restrict__ shape, const real* __restrict__ x,
    real* __restrict__ partial,       // (splits, M, depth)
    real* __restrict__ partial_bias,  // (splits, M)
    index_t splits, index_t tiles) {
    SHARED_MEMORY(memory);
    Position* positions = reinterpret_cast<Position*>(memory);                // [2][TILE_P]
    index_t* dy_offset = reinterpret_cast<index_t*>(positions + 2 * TILE_P);  // [2][TILE_P]
    Group* groups = reinterpret_cast<Group*>(dy_offset + 2 * TILE_P);         // [2][TILE_P]
    real* patches = reinterpret_cast<real*>(groups + 2 * TILE_P);             // [2][TILE_P][PITCH_K]
    real* dmap = patches + 2 * TILE_P * PITCH_K;                              // [POOLED ? 1 : 2][TILE_P][PITCH_M]
    const ConvShape& s = *shape;
    const index_t channels = s.channels, depth = s.depth;
    const index_t tiles_m = (channels + TILE_M - 1) / TILE_M, tiles_k = (depth + TILE_K - 1) / TILE_K;
    const index_t first_k = blockIdx.x % tiles_k * TILE_K, first_m = blockIdx.x / tiles_k % tiles_m * TILE_M;
    const index_t split = blockIdx.x / tiles_k / tiles_m;
    const index_t begin = split * tiles / splits, end = (split + 1) * tiles / splits;
    const unsigned rows = (unsigned)s.rows, columns = (unsigned)s.columns;
    const int thread = threadIdx.x, n_groups = (int)s.groups;

    // Copy tile's patches, and dy where it is the map's gradient itself, into buffer tile % 2.
    auto fetch = [&](index_t tile) {
        const int buffer = (int)(tile % 2);
        for (int g = thread; g < n_groups; g += THREADS) groups[buffer * TILE_P + g] = find_group(s, tile * n_groups + g);
        __syncthreads();
        for (int p = thread; p < TILE_P; p += THREADS)
            positions[buffer * TILE_P + p] = find_position(s, groups + buffer * TILE_P, p, dy_offset[buffer * TILE_P + p]);
        __syncthreads();
        constexpr int CHUNKS = TILE_K / VECTOR;
        for (int i = thread; i < TILE_P * CHUNKS; i += THREADS) {
            const int p = i / CHUNKS, k = i % CHUNKS * VECTOR;
            const Position position = positions[buffer * TILE_P + p];
            const int count = (int)min((index_t)VECTOR, max(depth - first_k - k, (index_t)0));
            const Tap tap = count ? taps[first_k + k] : Tap{0, NOWHERE, NOWHERE};
            const bool there = count && is_inside(position, tap, rows, columns);
            copy_async<VECTOR>(patches + (buffer * TILE_P + p) * PITCH_K + k, there ? x + position.offset + tap.offset : x, there ? count : 0);
        }
        if (!POOLED) {
            constexpr int PIECES = TILE_M / VECTOR_DY;
            for (int i = thread; i < TILE_P * PIECES; i += THREADS) {
                const int p = i / PIECES, m = i % PIECES * VECTOR_DY;
                const index_t offset = dy_offset[buffer * TILE_P + p];
                const bool there = offset >= 0 && first_m + m < channels;  // VECTOR_DY divides the channels
                copy_async<VECTOR_DY>(dmap + (buffer * TILE_P + p) * PITCH_M + m, there ? dy + offset + first_m + m : dy, there ? VECTOR_DY : 0);
            }
        }
    };

    // Scatter a tile's pooled dy to where the maxima were: dmap[position, m].
    const int across = span_columns(s), span = span_rows(s) * across;
    auto scatter = [&](index_t tile) {
        for (int i = thread; i < n_groups * TILE_M; i += THREADS) {
            const int m = i % TILE_M, g = i / TILE_M;
            real* mine = dmap + g * span * PITCH_M + m;
            for (int p = 0; p < span; p++) mine[p * PITCH_M] = 0;
            const Group group = groups[tile % 2 * TILE_P + g];
            if (group.sample < 0 || first_m + m >= channels) continue;
            const int bottom = (int)min(s.tile_rows, s.pooled_rows - group.row);
            const int right = (int)min(s.tile_columns, s.pooled_columns - group.column);
            const index_t corner = group.row * s.pool_step_row * s.map_columns + group.column * s.pool_step_column;
            const index_t start = group.sample * s.y_n + group.row * s.y_row + group.column * s.y_column + first_m + m;
            for (int a = 0; a < bottom; a++)
#pragma unroll 4
                for (int b = 0; b < right; b++) {
                    const index_t source = start + a * s.y_row + b * s.y_column;
                    const int place = argmax[source];
                    const real value = dy[source];
                    if (place < 0) continue;  // ReLU cut it: no gradient
                    const unsigned there = (unsigned)(place - corner), map_columns = (unsigned)s.map_columns;
                    mine[(there / map_columns * across + there % map_columns) * PITCH_M] += value;
                }
        }
    };

    if (POOLED)  // rows behind the last group are never scattered to
        for (int i = thread; i < (TILE_P - n_groups * span) * TILE_M; i += THREADS)
            dmap[(n_groups * span + i / TILE_M) * PITCH_M + i % TILE_M] = 0;

    const int warp = thread / 32, warp_m = warp / WARPS_K * PIECE_M, warp_k = warp % WARPS_K * PIECE_K;
    WarpTile<PIECE_M, PIECE_K> product;
    product.clear();
    real bias_sum = 0;
    if (begin < end) fetch(begin);
    commit_copies();
    for (index_t tile = begin; tile < end; tile++) {
        if (tile + 1 < end) fetch(tile + 1);
        commit_copies();
        if (POOLED) scatter(tile);
        wait_for_copies<1>();
        __syncthreads();
        const real* a = dmap + (POOLED ? 0 : tile % 2 * TILE_P * PITCH_M);
        const real* b = patches + tile % 2 * TILE_P * PITCH_K;
#pragma unroll 2
        for (int p = 0; p < TILE_P; p += DEPTH)
            product.template multiply<1, PITCH_M, 1, PITCH_K, false>(a + p * PITCH_M + warp_m, b + p * PITCH_K + warp_k);
        if (first_k == 0 && thread < TILE_M)
            for (int p = 0; p < TILE_P; p++) bias_sum += a[p * PITCH_M + thread];
        __syncthreads();
    }

    product.for_each([&](int m, int k, real value) {
        const index_t channel = first_m + warp_m + m, place = first_k + warp_k + k;
        if (channel < channels && place < depth) partial[(split * channels + channel) * depth + place] = value;
    });
    if (first_k == 0 && thread < TILE_M && first_m + thread < channels) partial_bias[split * channels + first_m + thread] = bias_sum;
}
