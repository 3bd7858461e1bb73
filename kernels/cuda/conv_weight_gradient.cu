// dweight[m, k] = Σ_positions dmap[position, m] · patches[position, k] and dbias[m] = Σ_positions dmap[position, m].
//
// The gradient behind a max-pool is sparse: dy has one value where the map had a whole window. The map's gradient is
// therefore never stored: each block scatters the pooled dy of a tile to its argmax positions in shared memory and
// multiplies from there. Neighbouring tiles overlap as their windows do; each scatters its own pooled values alone, and
// the gradients add up. Windows that overlap may have the same maximum: they are scattered in turns, each turn those
// whose windows are apart, so no two threads add to one place, and sums are always added up alike: no atomics.
//
// A block sums over a fixed share of the tiles and stores its part; `sum_weight_gradient` (conv_pack.cu) adds the parts
// in order. While a tile is multiplied, the next STAGES − 1 come. With WINDOW, the patches are read from the tile's input
// (conv_window.cuh).
//
// Macros: TILE_M (channels), TILE_K (of the depth), TILE_P (positions), WARPS_M, WARPS_K, STAGES, BLOCKS; VECTOR, PADDED,
// WINDOW as in conv_forward.cu, VECTOR_DY as VECTOR for dy; POOLED; POOL_ROWS: 1 if a pool's window is one row, else 0; REAL,
// TENSOR_CORES.
#include "conv_window.cuh"
#include "warp_tile.cuh"

constexpr int THREADS = 32 * WARPS_M * WARPS_K;
constexpr int PIECE_M = TILE_M / WARPS_M, PIECE_K = TILE_K / WARPS_K;
constexpr int PITCH_M = TILE_M + 8, PITCH_K = TILE_K + 8;  // four rows start in four different groups of banks
constexpr int WHOLE = 16 / sizeof(real);
constexpr int SHAPE = (sizeof(ConvShape) + 15) / 16 * 16;  // bytes
constexpr int BATCH = THREADS / 2 / TILE_P > STAGES ? THREADS / 2 / TILE_P : STAGES;  // tiles whose tables are made at once
constexpr int STRIPS = THREADS / TILE_M;  // of positions, summed for dbias side by side

typedef WarpTile<PIECE_M, PIECE_K> Product;

struct alignas(16) Sixteen {  // bytes
    real numbers[WHOLE];
};

// The patches as a product's right factor, from the tile's windows: `place` of eight positions, this lane's taps.
struct Windows {
    const real* window;
    const int* place;
    const int* tap;
    __device__ __forceinline__ real at(int j, int k) const { return window[place[k] + tap[j]]; }
    __device__ __forceinline__ void pair(int j, real& first, real& second) const {
        first = window[place[lane_column()] + tap[j]], second = window[place[lane_column() + 4] + tap[j]];
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) conv_weight_gradient(
    const real* __restrict__ dy, const int* __restrict__ argmax,  // strides of y in shape, channels contiguous
    const Tap* __restrict__ taps, const ConvShape* __restrict__ given, const real* __restrict__ x,
    real* __restrict__ partial,       // (splits, M, depth)
    real* __restrict__ partial_bias,  // (splits, M)
    index_t splits, index_t tiles) {
    SHARED_MEMORY(memory);
    ConvShape& s = *reinterpret_cast<ConvShape*>(memory);  // read from there each time: registers are scarce
    for (int i = threadIdx.x; i < (int)(sizeof(ConvShape) / sizeof(index_t)); i += THREADS)
        reinterpret_cast<index_t*>(memory)[i] = reinterpret_cast<const index_t*>(given)[i];
    __syncthreads();
    const int n_groups = (int)s.groups, window_size = n_groups * (int)(s.window_rows * s.window_columns);
    Value* values = reinterpret_cast<Value*>(memory + SHAPE);                        // [2 · BATCH][TILE_P]
    Position* positions = reinterpret_cast<Position*>(values + 2 * BATCH * TILE_P);  // [2 · BATCH][TILE_P]
    int* place = reinterpret_cast<int*>(positions);                                  // with WINDOW: [TILE_P]
    real* dmap = reinterpret_cast<real*>(positions + 2 * BATCH * TILE_P);            // [POOLED ? 1 : STAGES][TILE_P][PITCH_M]
    real* patches = dmap + (POOLED ? 1 : STAGES) * TILE_P * PITCH_M;              // [STAGES][TILE_P][PITCH_K]
    const int a_patch = WINDOW ? (window_size + 3) / 4 * 4 : TILE_P * PITCH_K;    // or [STAGES][window_size]
    real* pooled_dy = patches + STAGES * a_patch;                                 // POOLED: [values][TILE_M]
    const int n_values = POOLED ? n_groups * (int)(s.tile_rows * s.tile_columns) : 0;
    int* pooled_argmax = reinterpret_cast<int*>(pooled_dy + n_values * TILE_M);  // the same
    const int channels = (int)s.channels, depth = (int)s.depth;
    const int tiles_m = (channels + TILE_M - 1) / TILE_M, tiles_k = (depth + TILE_K - 1) / TILE_K;
    const int first_k = blockIdx.x % tiles_k * TILE_K, first_m = blockIdx.x / tiles_k % tiles_m * TILE_M;
    const int split = blockIdx.x / tiles_k / tiles_m;
    const int begin = (int)(split * tiles / splits), end = (int)((split + 1) * tiles / splits);
    const int thread = threadIdx.x;

    // f(first value, values down and right in a group) for each turn; its values are turns_down, turns_right apart.
    auto for_each_turn = [&](auto f) {
        const int turns_down = (int)s.turns_down, turns_right = (int)s.turns_right;
        const int tile_rows = (int)s.tile_rows, tile_columns = (int)s.tile_columns;
        int start = 0;
        for (int a = 0; a < turns_down; a++)
            for (int b = 0; b < turns_right; b++) {
                const int down = (tile_rows - a + turns_down - 1) / turns_down, right = (tile_columns - b + turns_right - 1) / turns_right;
                f(start, a, b, down, right);
                start += n_groups * down * right;
            }
    };

    // The tables of BATCH tiles: where their positions look, and their values in the order of their turns.
    auto prepare = [&](int first) {
        const int slot = first / BATCH % 2 * BATCH * TILE_P;
        if (!WINDOW)
            for (int i = thread; i < BATCH * TILE_P; i += THREADS) positions[slot + i] = find_position(s, first + i / TILE_P, i % TILE_P);
        for_each_turn([&](int start, int a, int b, int down, int right) {
            const int n = n_groups * down * right;
            for (int i = thread; i < BATCH * n; i += THREADS) {
                const int tile = i / n, v = i - tile * n;
                values[slot + tile * TILE_P + start + v] = find_value(s, first + tile, v / (down * right), a + v / right % down * (int)s.turns_down,
                                                                      b + v % right * (int)s.turns_right);
            }
        });
    };
    auto slot_of = [](int tile) { return tile % (2 * BATCH) * TILE_P; };

    // Copy a tile's patches, and dy where it is the map's gradient itself.
    auto fetch = [&](int tile) {
        const int stage = tile % STAGES, slot = slot_of(tile);
        const unsigned rows = (unsigned)s.rows, columns = (unsigned)s.columns;
        real* target = patches + stage * a_patch;
        if (WINDOW) {
            copy_windows<THREADS>(s, tile, x, target);
        } else {
            constexpr int CHUNKS = TILE_K / VECTOR;
            if constexpr (THREADS % CHUNKS == 0) {  // a thread keeps its tap
                const int k = thread % CHUNKS * VECTOR;
                const int count = min(VECTOR, max(depth - first_k - k, 0));
                const Tap tap = count ? taps[first_k + k] : Tap{0, NOWHERE, NOWHERE};
#pragma unroll 4
                for (int p = thread / CHUNKS; p < TILE_P; p += THREADS / CHUNKS) {
                    const Position position = positions[slot + p];
                    const bool there = count && (!PADDED || is_inside(position, tap, rows, columns));
                    copy_async<VECTOR>(target + p * PITCH_K + k, there ? x + position.offset + tap.offset : x, there ? count : 0);
                }
            } else {
#pragma unroll 4
                for (int i = thread; i < TILE_P * CHUNKS; i += THREADS) {
                    const int p = i / CHUNKS, k = i % CHUNKS * VECTOR;
                    const int count = min(VECTOR, max(depth - first_k - k, 0));
                    const Tap tap = count ? taps[first_k + k] : Tap{0, NOWHERE, NOWHERE};
                    const Position position = positions[slot + p];
                    const bool there = count && (!PADDED || is_inside(position, tap, rows, columns));
                    copy_async<VECTOR>(target + p * PITCH_K + k, there ? x + position.offset + tap.offset : x, there ? count : 0);
                }
            }
        }
        if (!POOLED) {
            constexpr int PIECES = TILE_M / VECTOR_DY;
#pragma unroll 4
            for (int i = thread; i < TILE_P * PIECES; i += THREADS) {
                const int p = i / PIECES, m = i % PIECES * VECTOR_DY;
                const index_t source = p < n_groups ? values[slot + p].place : -1;
                const bool there = source >= 0 && first_m + m < channels;  // VECTOR_DY divides the channels
                copy_async<VECTOR_DY>(dmap + (stage * TILE_P + p) * PITCH_M + m, there ? dy + source + first_m + m : dy, there ? VECTOR_DY : 0);
            }
        }
    };

    // Copy a tile's pooled dy and where each maximum was.
    auto fetch_pooled = [&](int tile) {
        constexpr int PIECES = TILE_M / VECTOR_DY;
        const Value* mine = values + slot_of(tile);
#pragma unroll 1
        for (int i = thread; i < n_values * PIECES; i += THREADS) {
            const int m = i % PIECES * VECTOR_DY, place = i / PIECES * TILE_M + m;
            const index_t source = mine[i / PIECES].place;
            if (source < 0 || first_m + m >= channels) continue;  // VECTOR_DY divides the channels
            copy_async<VECTOR_DY>(pooled_dy + place, dy + source + first_m + m, VECTOR_DY);
            copy_async<VECTOR_DY>(pooled_argmax + place, argmax + source + first_m + m, VECTOR_DY);
        }
    };

    // Scatter it to where the maxima were: dmap[position, m], which is 0 before.
    auto scatter = [&](int tile) {
        const int across = span_columns(s), map_columns = (int)s.map_columns;
        const Value* mine = values + slot_of(tile);
        for_each_turn([&](int start, int, int, int down, int right) {
            __syncthreads();
#pragma unroll 1
            for (int i = thread; i < n_groups * down * right * TILE_M; i += THREADS) {
                const int m = i % TILE_M, place = start * TILE_M + i;
                const Value v = mine[start + i / TILE_M];
                if (v.place < 0 || first_m + m >= channels) continue;
                const int winner = pooled_argmax[place], beyond = winner - v.top_left;
                if (winner < 0) continue;  // ReLU cut it: no gradient
                const int position = v.corner + (POOL_ROWS == 1 ? beyond : beyond / map_columns * across + beyond % map_columns);
                dmap[position * PITCH_M + m] += pooled_dy[place];
            }
        });
    };

    const int warp = thread / 32, warp_m = warp / WARPS_K * PIECE_M, warp_k = warp % WARPS_K * PIECE_K;
    const int own = Product::column();
    int tap[PIECE_K / 8];
    if (WINDOW) {
        for (int p = thread; p < TILE_P; p += THREADS) place[p] = find_in_windows(s, p);
#pragma unroll
        for (int j = 0; j < PIECE_K / 8; j++) {
            const int k = first_k + warp_k + Product::column_of(j, own);
            tap[j] = k < depth ? (int)taps[k].offset : 0;
        }
    }
    Product product;
    product.clear();
    real bias_sum = 0;
    prepare(begin / BATCH * BATCH);
    prepare(begin / BATCH * BATCH + BATCH);
    __syncthreads();
    for (int tile = begin; tile < begin + STAGES - 1; tile++) {
        if (tile < end) fetch(tile);
        commit_copies();
    }
    if (POOLED) {
        if (begin < end) fetch_pooled(begin);
        commit_copies();
    }
    for (int tile = begin; tile < end; tile++) {
        if (tile + STAGES - 1 < end) fetch(tile + STAGES - 1);
        commit_copies();
        if (POOLED) {
            for (int i = thread; i < TILE_P * PITCH_M / WHOLE; i += THREADS) reinterpret_cast<Sixteen*>(dmap)[i] = {};
            wait_for_copies<1>();  // all but the one just begun
            scatter(tile);
            __syncthreads();
            if (tile + 1 < end) fetch_pooled(tile + 1);
            commit_copies();
        } else {
            wait_for_copies<STAGES - 1>();
            __syncthreads();
        }
        if (tile % BATCH == 0 && tile > begin) prepare(tile + BATCH);  // the batch before this one is done
        const real* a = dmap + (POOLED ? 0 : tile % STAGES * TILE_P * PITCH_M);
        const real* b = patches + tile % STAGES * a_patch;
#pragma unroll 1
        for (int p = 0; p < TILE_P; p += DEPTH) {
            const LeftRows<PITCH_M> left{a + p * PITCH_M + warp_m};
            if (WINDOW) product.multiply(left, Windows{b, place + p, tap});
            else product.multiply(left, RightRows<PITCH_K>{b + p * PITCH_K + warp_k + own});
        }
        if (first_k == 0 && thread < STRIPS * TILE_M)
#pragma unroll 8
            for (int p = thread / TILE_M; p < TILE_P; p += STRIPS) bias_sum += a[p * PITCH_M + thread % TILE_M];
        __syncthreads();
    }

    product.for_each_from(0, PIECE_M, [&](int m, int k, real value) {
        const int channel = first_m + warp_m + m, number = first_k + warp_k + k;
        if (channel < channels && number < depth) partial[((index_t)split * channels + channel) * depth + number] = value;
    });
    if (first_k != 0) return;
    if (thread < STRIPS * TILE_M) dmap[thread] = bias_sum;
    __syncthreads();
    if (thread >= TILE_M || first_m + thread >= channels) return;
    for (int strip = 1; strip < STRIPS; strip++) bias_sum += dmap[strip * TILE_M + thread];
    partial_bias[(index_t)split * channels + first_m + thread] = bias_sum;
}
