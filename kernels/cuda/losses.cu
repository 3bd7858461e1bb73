// The losses of the paper. Sums run in float64 and in a fixed order; the loss stays on the device.
#include "reduce.cuh"

// One warp a row: probabilities = softmax(logits) and row_loss[n] = −log p[n, target[n]] (NaN where there is no such class).
extern "C" __global__ void softmax_cross_entropy_forward(const real* __restrict__ logits, const index_t* __restrict__ target,
                                                         real* __restrict__ probabilities, double* __restrict__ row_loss, index_t rows,
                                                         index_t classes) {
    const int lane = threadIdx.x % 32;
    const index_t row = (blockIdx.x * (index_t)blockDim.x + threadIdx.x) / 32;
    if (row >= rows) return;  // the whole warp leaves
    const real* z = logits + row * classes;
    real largest = z[0];
    for (index_t k = lane; k < classes; k += 32) largest = larger(largest, z[k]);
    largest = warp_max(largest);
    real sum = 0;
    for (index_t k = lane; k < classes; k += 32) sum += exp(z[k] - largest);
    const real log_sum = log(warp_sum(sum));
    for (index_t k = lane; k < classes; k += 32) probabilities[row * classes + k] = exp(z[k] - largest - log_sum);
    const index_t k = target[row];
    if (lane == 0) row_loss[row] = k >= 0 && k < classes ? (double)(log_sum - (z[k] - largest)) : nan("");
}

// dlogits = (p − onehot(target)) / N
extern "C" __global__ void softmax_cross_entropy_backward(const real* __restrict__ probabilities, const index_t* __restrict__ target,
                                                          real* __restrict__ dlogits, index_t rows, index_t classes) {
    FOR_EACH(i, rows * classes) {
        const real onehot = target[i / classes] == i % classes ? (real)1 : (real)0;
        dlogits[i] = (probabilities[i] - onehot) / (real)rows;
    }
}

// partial[block] = Σ (prediction − target)² over this block's share.
extern "C" __global__ void squared_error(const real* __restrict__ prediction, const real* __restrict__ target,
                                         double* __restrict__ partial, index_t n) {
    double sum = 0;
    FOR_EACH(i, n) {
        const double difference = (double)prediction[i] - (double)target[i];
        sum += difference * difference;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// dprediction = (prediction − target) · scale, scale = 2 / n
extern "C" __global__ void mean_squared_error_backward(const real* __restrict__ prediction, const real* __restrict__ target,
                                                       real* __restrict__ dprediction, index_t n, real scale) {
    FOR_EACH(i, n) dprediction[i] = (prediction[i] - target[i]) * scale;
}

// mean[0] = Σ values / count: one block, so that the order never changes.
extern "C" __global__ void sum_over(const double* __restrict__ values, real* __restrict__ mean, index_t n, double count) {
    double sum = 0;
    FOR_EACH(i, n) sum += values[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) mean[0] = (real)(sum / count);
}
