// Batch normalisation and global average pooling over maps that lie in memory as (rows, channels), rows being the
// positions of all samples. Sums run in float64: a block adds up 32 channels over its part of the rows, and the parts
// are added in order, so that the bits are the same in every run.
#include "common.cuh"

#define LANES 8  // rows that a block of 256 threads reads side by side

// partial[part][c] = value, summed over the block's LANES in order.
__device__ __forceinline__ void store_sum(double value, double* __restrict__ partial, index_t channel, index_t channels, index_t part) {
    SHARED_ARRAY(double, sums, 256);
    __syncthreads();  // an earlier sum has been read
    sums[threadIdx.x] = value;
    __syncthreads();
    if (threadIdx.x < 32 && channel < channels) {
        double sum = 0;
        for (int lane = 0; lane < LANES; lane++) sum += sums[lane * 32 + threadIdx.x];
        partial[part * channels + channel] = sum;
    }
}

// The block's channel for this thread, its part of the rows, and the thread's first row in it.
#define OVER_ROWS(row)                                                                                                          \
    const index_t part = blockIdx.x % parts, channel = blockIdx.x / parts * 32 + threadIdx.x % 32;                              \
    const index_t first = part * rows / parts + threadIdx.x / 32, end = channel < channels ? (part + 1) * rows / parts : first; \
    for (index_t row = first; row < end; row += LANES)

// partial[part][c] = Σ x, or Σ (x − mean)² where there is a mean.
extern "C" __global__ void batchnorm_moments(const real* __restrict__ x, const double* __restrict__ mean, double* __restrict__ partial,
                                             index_t rows, index_t channels, index_t parts) {
    double sum = 0;
    OVER_ROWS(row) {
        const double value = (double)x[row * channels + channel];
        sum += mean ? (value - mean[channel]) * (value - mean[channel]) : value;
    }
    store_sum(sum, partial, channel, channels, part);
}

// partial[0][part][c] = Σ dy, partial[1][part][c] = Σ dy · (x − mean).
extern "C" __global__ void batchnorm_gradients(const real* __restrict__ dy, const real* __restrict__ x, const real* __restrict__ mean,
                                               double* __restrict__ partial, index_t rows, index_t channels, index_t parts) {
    double plain = 0, along = 0;
    OVER_ROWS(row) {
        const index_t i = row * channels + channel;
        plain += (double)dy[i];
        along += (double)dy[i] * (double)(x[i] - mean[channel]);
    }
    store_sum(plain, partial, channel, channels, part);
    store_sum(along, partial + parts * channels, channel, channels, part);
}

// sums[i] = Σ over the parts, in order, / count.   partial (groups, parts, channels) → sums (groups, channels)
extern "C" __global__ void add_parts(const double* __restrict__ partial, double* __restrict__ sums, index_t groups, index_t channels,
                                     index_t parts, double count) {
    FOR_EACH(i, groups * channels) {
        double sum = 0;
        for (index_t part = 0; part < parts; part++) sum += partial[(i / channels * parts + part) * channels + i % channels];
        sums[i] = sum / count;
    }
}

// dbias = Σ dy, dweight = Σ dy · x̂, from sums (2, channels); sums[1] becomes Σ dy · x̂ too.
extern "C" __global__ void batchnorm_parameters(double* __restrict__ sums, const real* __restrict__ var, real* __restrict__ dweight,
                                                real* __restrict__ dbias, index_t channels, real eps) {
    FOR_EACH(c, channels) {
        sums[channels + c] /= sqrt((double)var[c] + (double)eps);
        dbias[c] = (real)sums[c];
        dweight[c] = (real)sums[channels + c];
    }
}

// y = weight · (x − mean) / √(var + eps) + bias
extern "C" __global__ void batchnorm_forward(const real* __restrict__ x, const real* __restrict__ weight, const real* __restrict__ bias,
                                             const real* __restrict__ mean, const real* __restrict__ var, real* __restrict__ y,
                                             index_t rows, index_t channels, real eps) {
    FOR_EACH(i, rows * channels) {
        const index_t c = i % channels;
        y[i] = (x[i] - mean[c]) * (weight[c] / sqrt(var[c] + eps)) + bias[c];
    }
}

// dx = weight / √(var + eps) · (dy − Σ dy / rows − x̂ · Σ dy·x̂ / rows); without `sums`, mean and var are fixed.
extern "C" __global__ void batchnorm_input(const real* __restrict__ dy, const real* __restrict__ x, const real* __restrict__ weight,
                                           const real* __restrict__ mean, const real* __restrict__ var, const double* __restrict__ sums,
                                           real* __restrict__ dx, index_t rows, index_t channels, real eps) {
    FOR_EACH(i, rows * channels) {
        const index_t c = i % channels;
        const real inverse = 1 / sqrt(var[c] + eps);
        real through = 0;
        if (sums) through = (real)(sums[c] / (double)rows) + (x[i] - mean[c]) * inverse * (real)(sums[channels + c] / (double)rows);
        dx[i] = weight[c] * inverse * (dy[i] - through);
    }
}

// y[n][c] = mean of sample n's rows.   x (samples, positions, channels)
extern "C" __global__ void global_avgpool_forward(const real* __restrict__ x, real* __restrict__ y, index_t samples, index_t positions,
                                                  index_t channels) {
    FOR_EACH(i, samples * channels) {
        const real* map = x + i / channels * positions * channels + i % channels;
        double sum = 0;
        for (index_t p = 0; p < positions; p++) sum += (double)map[p * channels];
        y[i] = (real)(sum / (double)positions);
    }
}

// dx[n][p][c] = dy[n][c] / positions
extern "C" __global__ void global_avgpool_backward(const real* __restrict__ dy, real* __restrict__ dx, index_t samples, index_t positions,
                                                   index_t channels, real share) {
    FOR_EACH(i, samples * positions * channels) dx[i] = dy[i / channels / positions * channels + i % channels] * share;
}
