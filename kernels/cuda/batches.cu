// Mini-batches out of a data set that lies on the device.
#include "common.cuh"

#define PIECE 2048  // samples that a block copies

// batch[row, t] = samples[start[indices[row]] + t]: segments of a long waveform, or rows of a table (start = row · length).
// `pieces` blocks a row.
extern "C" __global__ void gather_segments(const real* __restrict__ samples, const index_t* __restrict__ start,
                                           const index_t* __restrict__ indices, real* __restrict__ batch, index_t pieces,
                                           index_t length) {
    const index_t row = blockIdx.x / pieces, first = blockIdx.x % pieces * PIECE;
    const index_t last = first + PIECE < length ? first + PIECE : length;
    const real* __restrict__ segment = samples + start[indices[row]];
#pragma unroll 4
    for (index_t t = first + threadIdx.x; t < last; t += blockDim.x) batch[row * length + t] = segment[t];
}
