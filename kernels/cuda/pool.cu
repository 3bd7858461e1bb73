// Max-pool by itself, and its gradient, over arrays of any strides. (Behind a convolution it runs inside conv_forward.cu.)
#include "common.cuh"

struct PoolShape {
    index_t samples, channels, rows, columns;              // of x
    index_t x_n, x_channel, x_row, x_column;               // its strides
    index_t pooled_rows, pooled_columns;                   // of y
    index_t y_n, y_channel, y_row, y_column;               // strides of y (forward), dy (backward)
    index_t a_n, a_channel, a_row, a_column;               // strides of argmax
    index_t pool_rows, pool_columns, step_row, step_column, top, left;  // window, stride, padding
};

// y = max over a window; argmax its flat place in x. The first of equals wins, NaN wins over all, padding never.
extern "C" __global__ void maxpool_forward(const real* __restrict__ x, const PoolShape* __restrict__ shape, real* __restrict__ y,
                                           int* __restrict__ argmax) {
    const PoolShape& s = *shape;
    FOR_EACH(index, s.samples * s.pooled_rows * s.pooled_columns * s.channels) {
        const index_t channel = index % s.channels, j = index / s.channels % s.pooled_columns;
        const index_t i = index / s.channels / s.pooled_columns % s.pooled_rows, n = index / s.channels / s.pooled_columns / s.pooled_rows;
        const index_t top = i * s.step_row - s.top, left = j * s.step_column - s.left;
        const real* map = x + n * s.x_n + channel * s.x_channel;
        index_t winner = -1;
        real best = 0;
        for (index_t row = max(top, (index_t)0); row < min(top + s.pool_rows, s.rows); row++)
            for (index_t column = max(left, (index_t)0); column < min(left + s.pool_columns, s.columns); column++) {
                const real next = map[row * s.x_row + column * s.x_column];
                if (winner < 0 || next > best || (next != next && best == best)) best = next, winner = row * s.columns + column;
            }
        y[n * s.y_n + channel * s.y_channel + i * s.y_row + j * s.y_column] = best;
        argmax[n * s.a_n + channel * s.a_channel + i * s.a_row + j * s.a_column] = (int)winner;
    }
}

// dx[argmax] += dy, where argmax is not negative; dx is 0 before. One thread owns a channel of a sample: windows may share a winner, and
// no two threads add to one place.
extern "C" __global__ void maxpool_backward(const real* __restrict__ dy, const int* __restrict__ argmax,
                                            const PoolShape* __restrict__ shape, real* __restrict__ dx) {
    const PoolShape& s = *shape;
    FOR_EACH(index, s.samples * s.channels) {
        const index_t channel = index % s.channels, n = index / s.channels;
        real* map = dx + n * s.x_n + channel * s.x_channel;
        for (index_t i = 0; i < s.pooled_rows; i++)
            for (index_t j = 0; j < s.pooled_columns; j++) {
                const int winner = argmax[n * s.a_n + channel * s.a_channel + i * s.a_row + j * s.a_column];
                if (winner >= 0)
                    map[winner / s.columns * s.x_row + winner % s.columns * s.x_column] +=
                        dy[n * s.y_n + channel * s.y_channel + i * s.y_row + j * s.y_column];
            }
    }
}

// y = 0 and argmax = −1 where y is not positive: ReLU behind a pool.
extern "C" __global__ void cut(real* __restrict__ y, int* __restrict__ argmax, index_t n) {
    FOR_EACH(i, n) if (y[i] <= 0) y[i] = 0, argmax[i] = -1;
}
