// y = pool(activation(weight * x + bias)) in one pass: of the convolution's map only the maxima are stored, and where
// they were. Eq. 3 and 4, 5 and 6, 7, 8 of the paper. It is also the input gradient: a convolution of dy.
//
// An implicit GEMM. A block computes TILE_M channels at TILE_N positions (conv_shape.cuh), SLICE of the depth at a time,
// the factors copied to shared memory STAGES − 1 slices ahead of the product; each warp multiplies its own piece
// (warp_tile.cuh). With WINDOW, the patches are not copied slice by slice: they are read from the tile's input, which
// comes whole (conv_window.cuh). The finished tile then passes through shared memory, ROUND channels of each warp at a
// time, as [position][channel], and the pool runs over it.
//
// Macros: TILE_M, TILE_N, WARPS_M, WARPS_N, STAGES, ROUND, BLOCKS (on a multiprocessor at once); VECTOR: how many numbers of a
// patch are contiguous in x, VECTOR_Y: how many channels of y a thread takes at once; PADDED: whether a patch may look beside the image; WINDOW, SPREAD (warp_tile.cuh);
// POOL_ROWS, POOL_COLUMNS: the pool's window, 0 if only `shape` knows it; REAL, TENSOR_CORES.
#include "conv_window.cuh"
#include "warp_tile.cuh"

constexpr int SLICE = 16;
constexpr int THREADS = 32 * WARPS_M * WARPS_N;
constexpr int PIECE_M = TILE_M / WARPS_M, PIECE_N = TILE_N / WARPS_N;
constexpr int WHOLE = 16 / sizeof(real);  // numbers in the widest copy
constexpr int STEP_M = 16 * SLICE;        // from 16 channels of a slice to the next
constexpr int SLICE_M = TILE_M * SLICE, SLICE_N = WINDOW ? 0 : TILE_N * SLICE;
constexpr int ROUND_M = WARPS_M * ROUND;
constexpr int RESULT_PITCH = ROUND_M + 4;

typedef WarpTile<PIECE_M, PIECE_N, SPREAD> Product;

// Where number k of a row's slice lies, of 16: rows n and n + 2 hold their halves the other way round, so that eight
// neighbouring rows are read from eight different banks.
__device__ __forceinline__ int shuffled(int n, int k) { return n * SLICE + (k / 8 ^ n / 2) % 2 * 8 + k % 8; }

// The patches as a product's right factor, from a slice: eight numbers of each of this lane's positions.
struct Slices {
    const real* row;  // the first of those positions
    __device__ __forceinline__ real at(int j, int k) const { return row[j * 8 * SLICE + k]; }
    __device__ __forceinline__ void pair(int j, real& first, real& second) const {
        first = row[j * 8 * SLICE + threadIdx.x % 4 * 2], second = row[j * 8 * SLICE + threadIdx.x % 4 * 2 + 1];
    }
};

// The same, from the tile's windows: `place` of this lane's positions, and eight taps.
struct Windows {
    const real* window;
    const int* place;
    const Tap* taps;
    int first_tap, second_tap;
    __device__ __forceinline__ real at(int j, int k) const { return window[place[j] + (int)taps[k].offset]; }
    __device__ __forceinline__ void pair(int j, real& first, real& second) const {
        first = window[place[j] + first_tap], second = window[place[j] + second_tap];
    }
};

template <typename T>
struct alignas(sizeof(T) * VECTOR_Y) Many {
    T number[VECTOR_Y];
};

// The first of equals wins, and NaN over all numbers.
__device__ __forceinline__ bool is_better(real value, real best) { return best == best && !(value <= best); }

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) conv_forward(
    const real* __restrict__ weight,  // whole tiles of pack_weight's blocks
    const Tap* __restrict__ taps,     // (depth_padded,); with WINDOW, the offsets are those in a window
    const ConvShape* __restrict__ shape, const real* __restrict__ x,
    const real* __restrict__ bias,  // (M,) or null
    real* __restrict__ y, int* __restrict__ argmax,  // channels contiguous; argmax may be null
    int relu) {
    SHARED_MEMORY(memory);
    Value* values = reinterpret_cast<Value*>(memory);                    // [TILE_N]
    Position* positions = reinterpret_cast<Position*>(values + TILE_N);  // [TILE_N]
    real* slices = reinterpret_cast<real*>(positions + TILE_N);          // [STAGES][SLICE_M + SLICE_N]
    real* window = slices + STAGES * SLICE_M;                            // with WINDOW, the tile's input
    const ConvShape& s = *shape;
    const int tiles_m = (int)((s.channels + TILE_M - 1) / TILE_M);
    const index_t tile = blockIdx.x / tiles_m, first_m = blockIdx.x % tiles_m * TILE_M;
    const int depth = (int)s.depth, n_slices = (int)(s.depth_padded / SLICE), channels = (int)s.channels;
    const unsigned rows = (unsigned)s.rows, columns = (unsigned)s.columns;
    const int thread = threadIdx.x;
    const real* tile_weight = weight + first_m * s.depth_padded;

    auto fetch = [&](int slice) {
        real* a = slices + slice % STAGES * (SLICE_M + SLICE_N);
        constexpr int BLOCK = STEP_M / WHOLE, CHUNKS_M = SLICE_M / WHOLE;
#pragma unroll
        for (int j = 0; j < (CHUNKS_M + THREADS - 1) / THREADS; j++) {
            const int i = j * THREADS + thread;
            const real* source = tile_weight + i / BLOCK * 16 * s.depth_padded + slice * STEP_M + i % BLOCK * WHOLE;
            if (CHUNKS_M % THREADS == 0 || i < CHUNKS_M) copy_async<WHOLE>(a + i * WHOLE, source, WHOLE);
        }
        if (WINDOW) return;
        real* b = a + SLICE_M;
        constexpr int CHUNKS = SLICE / VECTOR, STEP = THREADS / CHUNKS;  // CHUNKS divides THREADS: a thread keeps its tap
        static_assert(TILE_N % STEP == 0, "all threads copy alike");
        const int k = thread % CHUNKS * VECTOR, first = thread / CHUNKS;
        const Tap tap = taps[slice * SLICE + k];
        const int count = min(VECTOR, max(depth - slice * SLICE - k, 0));
#pragma unroll 8
        for (int j = 0; j < TILE_N / STEP; j++) {
            const int p = j * STEP + first;
            const Position position = positions[p];
            const bool there = !PADDED || is_inside(position, tap, rows, columns);
            copy_async<VECTOR>(b + shuffled(p, k), there && count ? x + position.offset + tap.offset : x, there ? count : 0);
        }
    };

    for (int p = thread; p < TILE_N; p += THREADS) {
        if (WINDOW) positions[p].offset = find_in_windows(s, p);
        else positions[p] = find_position(s, tile, p);
    }
    const int tile_columns = (int)s.tile_columns, a_group = (int)s.tile_rows * tile_columns, n_values = (int)s.groups * a_group;
    for (int v = thread; v < n_values; v += THREADS)
        values[v] = find_value(s, tile, v / a_group, v % a_group / tile_columns, v % a_group % tile_columns);
    if (WINDOW) copy_windows<THREADS>(s, tile, x, window);
    __syncthreads();

    const int warp = thread / 32, warp_m = warp / WARPS_N * PIECE_M, warp_n = warp % WARPS_N * PIECE_N;
    const int own = Product::column(), pair = thread % 4;
    int place[PIECE_N / 8];
    if (WINDOW)
#pragma unroll
        for (int j = 0; j < PIECE_N / 8; j++) place[j] = (int)positions[warp_n + Product::column_of(j, own)].offset;
    Product product;
    product.clear();
    for (int i = 0; i < STAGES - 1; i++) {
        if (i < n_slices) fetch(i);
        commit_copies();
    }
    for (int slice = 0; slice < n_slices; slice++) {
        wait_for_copies<STAGES - 2>();
        __syncthreads();  // slice has arrived for all, and nobody reads the one before it any more
        if (slice + STAGES - 1 < n_slices) fetch(slice + STAGES - 1);
        commit_copies();
        const real* a = slices + slice % STAGES * (SLICE_M + SLICE_N) + warp_m / 16 * STEP_M;
        const real* b = slices + slice % STAGES * (SLICE_M + SLICE_N) + SLICE_M + (warp_n + own) * SLICE;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const LeftBlocks<STEP_M> left{a + half * 128};
            if (WINDOW) {
                const Tap* eight = taps + slice * SLICE + half * 8;
                product.multiply(left, Windows{window, place, eight, (int)eight[pair].offset, (int)eight[pair + 4].offset});
            } else {
                product.multiply(left, Slices{b + (half ^ own / 2) % 2 * 8});
            }
        }
    }

    real* result = slices;  // [TILE_N][RESULT_PITCH], in the place of the slices
    const int across = span_columns(s), map_columns = (int)s.map_columns;
    const int pool_rows = POOL_ROWS ? POOL_ROWS : (int)s.pool_rows, pool_columns = POOL_COLUMNS ? POOL_COLUMNS : (int)s.pool_columns;
#pragma unroll
    for (int first = 0; first < PIECE_M; first += ROUND) {
        __syncthreads();  // every slice has arrived and been multiplied; the round before has been read
        product.for_each_from(first, ROUND, [&](int m, int n, real value) {
            result[(warp_n + n) * RESULT_PITCH + warp_m / PIECE_M * ROUND + m - first] = value;
        });
        __syncthreads();
        for (int i = thread; i < n_values * (ROUND_M / VECTOR_Y); i += THREADS) {  // neighbouring threads, neighbouring channels
            const int c = i % (ROUND_M / VECTOR_Y) * VECTOR_Y, m = c / ROUND * PIECE_M + first + c % ROUND;
            const Value v = values[i / (ROUND_M / VECTOR_Y)];
            if (v.place < 0 || first_m + m >= channels || first + c % ROUND >= PIECE_M) continue;  // VECTOR_Y divides all
            const Many<real>* corner = reinterpret_cast<const Many<real>*>(result + v.corner * RESULT_PITCH + c);
            Many<real> best = corner[0];
            Many<int> winner = {};
#pragma unroll
            for (int a = 0; a < pool_rows; a++)
#pragma unroll
                for (int b = 0; b < pool_columns; b++) {
                    const Many<real> next = corner[(a * across + b) * (RESULT_PITCH / VECTOR_Y)];
#pragma unroll
                    for (int u = 0; u < VECTOR_Y; u++)
                        if (is_better(next.number[u], best.number[u])) best.number[u] = next.number[u], winner.number[u] = a * map_columns + b;
                }
#pragma unroll
            for (int u = 0; u < VECTOR_Y; u++) {
                if (bias != nullptr) best.number[u] += bias[first_m + m + u];  // the same for the whole window
                const bool cut = relu && best.number[u] <= 0;
                if (cut) best.number[u] = 0;
                winner.number[u] = cut ? -1 : v.top_left + winner.number[u];
            }
            *reinterpret_cast<Many<real>*>(y + v.place + first_m + m) = best;
            if (argmax != nullptr) *reinterpret_cast<Many<int>*>(argmax + v.place + first_m + m) = winner;
        }
    }
}
