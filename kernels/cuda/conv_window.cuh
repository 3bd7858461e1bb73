// The input that a tile's positions look at, brought to shared memory once: patches that overlap are not copied apart.
#pragma once
#include "async_copy.cuh"
#include "conv_shape.cuh"

// Copy the windows of a tile's groups, one channel each, to `window`; what lies in the padding or behind the data is 0.
template <int THREADS>
__device__ __forceinline__ void copy_windows(const ConvShape& s, index_t tile, const real* __restrict__ x, real* window) {
    const int across = (int)s.window_columns, size = (int)s.window_rows * across;
    const int start_row = threadIdx.x / across, start_column = threadIdx.x % across;
    const int down = THREADS / across, right = THREADS % across;
    const unsigned rows = (unsigned)s.rows, columns = (unsigned)s.columns;
    for (int g = 0; g < (int)s.groups; g++) {
        const Group group = find_group(s, tile * s.groups + g);
        const index_t top = s.first_row + group.row * s.pool_step_row * s.step_row;
        const index_t left = s.first_column + group.column * s.pool_step_column * s.step_column;
        const real* source = x + group.sample * s.x_n + top * s.x_row + left * s.x_column;
        int row = start_row, column = start_column;
#pragma unroll 1  // registers are scarce
        for (int i = threadIdx.x; i < size; i += THREADS) {
            const bool there = group.sample >= 0 && (unsigned)(top + row) < rows && (unsigned)(left + column) < columns;
            copy_async<1>(window + g * size + i, there ? source + row * s.x_row + column * s.x_column : x, there ? 1 : 0);
            row += down, column += right;
            if (column >= across) column -= across, row++;
        }
    }
}
