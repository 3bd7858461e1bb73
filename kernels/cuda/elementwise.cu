// The activation functions, each beside its gradient. All arrays are dense and share one memory order.
#include "common.cuh"

// y = max(x, 0); NaN stays NaN.
extern "C" __global__ void relu_forward(const real* __restrict__ x, real* __restrict__ y, index_t n) {
    FOR_EACH(i, n) y[i] = x[i] <= 0 ? (real)0 : x[i];
}

// dx = 0 where y ≤ 0, else dy.
extern "C" __global__ void relu_backward(const real* __restrict__ dy, const real* __restrict__ y, real* __restrict__ dx, index_t n) {
    FOR_EACH(i, n) dx[i] = y[i] <= 0 ? (real)0 : dy[i];
}

// y = tanh(x)
extern "C" __global__ void tanh_forward(const real* __restrict__ x, real* __restrict__ y, index_t n) {
    FOR_EACH(i, n) y[i] = tanh(x[i]);
}

// dx = dy · (1 − y²)
extern "C" __global__ void tanh_backward(const real* __restrict__ dy, const real* __restrict__ y, real* __restrict__ dx, index_t n) {
    FOR_EACH(i, n) dx[i] = dy[i] * (1 - y[i] * y[i]);
}

// y = |x|
extern "C" __global__ void abs_forward(const real* __restrict__ x, real* __restrict__ y, index_t n) {
    FOR_EACH(i, n) y[i] = fabs(x[i]);
}

// dx = dy · sign(x), 0 at the kink.
extern "C" __global__ void abs_backward(const real* __restrict__ dy, const real* __restrict__ x, real* __restrict__ dx, index_t n) {
    FOR_EACH(i, n) {
        const real sign = x[i] > 0 ? (real)1 : x[i] < 0 ? (real)-1 : x[i];  // 0 and NaN are their own sign
        dx[i] = dy[i] * sign;
    }
}
