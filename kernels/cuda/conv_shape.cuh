// What the convolution kernels know of their arrays, and which positions of a map a block works on.
//
// A convolution is a product weight (M × K) · patches (K × positions), K = in_channels · kh · kw, whose right factor is
// never stored: `Tap` k says where weight k looks, seen from a position's first element, and `Position` where that is.
// All offsets count elements, strides are free: x may be any view.
//
// A block works on a tile of positions: `groups` groups, each of the tile_rows × tile_columns pooled values whose windows
// together cover a span of the convolution's map. Groups are numbered through all samples, so a tile is full however
// small a sample is. Without a pool, a group is one position.
//
// The input of a group, if it has one channel, may lie in shared memory as it is: `window_rows` × `window_columns`
// numbers, from which neighbouring positions take overlapping patches.
#pragma once
#include "common.cuh"

struct Tap {
    index_t offset;
    int row, column;  // seen from the position, to tell padding
};

struct Position {
    index_t offset;
    int row, column;  // of its first element; negative in the padding
};

struct ConvShape {
    index_t samples, channels, depth, depth_padded;       // M = channels, K = depth, a whole number of slices
    index_t x_n, x_row, x_column, rows, columns;          // x: strides, size
    index_t step_row, step_column, first_row, first_column;  // position (i, j) starts at (first + step · i, …)
    index_t map_rows, map_columns;                        // the convolution's map
    index_t y_n, y_row, y_column;                         // y and argmax: strides; channels are contiguous
    index_t pooled_rows, pooled_columns;                  // what the pool leaves of the map
    index_t pool_rows, pool_columns, pool_step_row, pool_step_column;
    index_t tile_rows, tile_columns, groups;              // pooled values a group, groups a block
    index_t window_rows, window_columns;                  // of a group's input
    index_t groups_across, groups_sample;                 // groups side by side, and in a sample
    unsigned long long per_sample;                        // 2⁶⁴ / groups_sample, rounded up; 0 for one group a sample
    index_t turns_down, turns_right;                      // pooled values whose windows overlap, in either direction
};

constexpr int NOWHERE = -(1 << 30);  // the row of a position that does not exist: far outside every image

// A group of pooled values: its sample (−1: there is none), and the first of its rows and columns.
struct Group {
    index_t sample;
    int row, column;
};

__device__ __forceinline__ Group find_group(const ConvShape& s, index_t number) {
    const index_t sample = s.per_sample ? (index_t)__umul64hi(number, s.per_sample) : number;  // a division of 64 bits is slow
    const int inside = (int)(number - sample * s.groups_sample), across = (int)s.groups_across, row = inside / across;
    return {sample < s.samples ? sample : -1, row * (int)s.tile_rows, (inside - row * across) * (int)s.tile_columns};
}

__device__ __forceinline__ int span_rows(const ConvShape& s) {
    return (int)((s.tile_rows - 1) * s.pool_step_row + s.pool_rows);
}

__device__ __forceinline__ int span_columns(const ConvShape& s) {
    return (int)((s.tile_columns - 1) * s.pool_step_column + s.pool_columns);
}

// Where the p-th position of a tile looks in x. One that does not exist has no row and no column, and looks where the first
// one does.
__device__ __forceinline__ Position find_position(const ConvShape& s, index_t tile, int p) {
    const int across = span_columns(s), span = span_rows(s) * across;
    const int g = p / span, down = (p - g * span) / across, right = p - g * span - down * across;
    const Position none = {s.first_row * s.x_row + s.first_column * s.x_column, NOWHERE, NOWHERE};
    if (g >= (int)s.groups) return none;
    const Group group = find_group(s, tile * s.groups + g);
    const index_t i = group.row * s.pool_step_row + down, j = group.column * s.pool_step_column + right;
    if (group.sample < 0 || i >= s.map_rows || j >= s.map_columns) return none;
    const index_t row = s.first_row + i * s.step_row, column = s.first_column + j * s.step_column;
    return {group.sample * s.x_n + row * s.x_row + column * s.x_column, (int)row, (int)column};
}

// Where the p-th position of a tile looks in the tile's windows (0: it is behind the last group).
__device__ __forceinline__ int find_in_windows(const ConvShape& s, int p) {
    const int across = span_columns(s), span = span_rows(s) * across, columns = (int)s.window_columns;
    if (p / span >= (int)s.groups) return 0;
    const int i = p % span / across, j = p % span % across;
    return p / span * (int)s.window_rows * columns + i * (int)s.step_row * columns + j * (int)s.step_column;
}

// A pooled value of a tile: where it lies in y (−1: there is none), its window's first position in the tile, and in the
// map (as argmax counts).
struct Value {
    index_t place;
    int corner, top_left;
};

// The pooled value (down, right) of a tile's g-th group.
__device__ __forceinline__ Value find_value(const ConvShape& s, index_t tile, int g, int down, int right) {
    const int across = span_columns(s);
    const Group group = find_group(s, tile * s.groups + g);
    const index_t row = group.row + down, column = group.column + right;
    if (group.sample < 0 || row >= s.pooled_rows || column >= s.pooled_columns) return {-1, 0, 0};
    const int corner = g * span_rows(s) * across + down * (int)s.pool_step_row * across + right * (int)s.pool_step_column;
    return {group.sample * s.y_n + row * s.y_row + column * s.y_column, corner,
            (int)(row * s.pool_step_row * s.map_columns + column * s.pool_step_column)};
}

// Whether a tap of a position lies in the image, not in its padding.
__device__ __forceinline__ bool is_inside(const Position& position, const Tap& tap, unsigned rows, unsigned columns) {
    return (unsigned)(position.row + tap.row) < rows && (unsigned)(position.column + tap.column) < columns;
}
