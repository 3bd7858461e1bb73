// y = x / (1 − p) where kept, else 0; on dy the same function is the gradient. Element i of the logical array (C order)
// takes the i-th random word and is kept where that is at least `threshold` = p · 2³².
#include "philox.cuh"

extern "C" __global__ void dropout(const real* __restrict__ x, real* __restrict__ y, index_t n, unsigned long long threshold,
                                   real scale, unsigned long long seed, unsigned long long offset) {
    FOR_EACH(block, (n + 3) / 4) {
        const Words words = philox(block, seed, offset);
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (4 * block + i < n) y[4 * block + i] = words.word[i] >= threshold ? x[4 * block + i] * scale : (real)0;
    }
}
