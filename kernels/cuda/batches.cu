// Mini-batches out of a data set that lies on the device.
#include "common.cuh"

// batch[b, t] = samples[start[indices[b]] + t]: segments of a long waveform, or rows of a table (start = row · length);
// then (value − mean) · scale. grid.y walks the batch.
extern "C" __global__ void gather_segments(const float* __restrict__ samples, const index_t* __restrict__ start,
                                           const index_t* __restrict__ indices, real* __restrict__ batch, index_t n, index_t length,
                                           float mean, float scale) {
    for (index_t b = blockIdx.y; b < n; b += gridDim.y) {
        const float* segment = samples + start[indices[b]];
        FOR_EACH(t, length) batch[b * length + t] = (real)((segment[t] - mean) * scale);
    }
}
