// Philox4x32-10 (Salmon et al. 2011): four random 32-bit words as a pure function of a counter and a key. A dropout mask
// is drawn anew in backward instead of being stored, and is the same on every backend.
#pragma once
#include "common.cuh"

struct Words {
    unsigned word[4];
};

// The words of elements 4·block … 4·block + 3.
__device__ __forceinline__ Words philox(index_t block, unsigned long long seed, unsigned long long offset) {
    unsigned c0 = (unsigned)block, c1 = (unsigned)(block >> 32), c2 = (unsigned)offset, c3 = (unsigned)(offset >> 32);
    unsigned k0 = (unsigned)seed, k1 = (unsigned)(seed >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const unsigned high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
        const unsigned high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
        c0 = high1 ^ c1 ^ k0, c1 = low1, c2 = high0 ^ c3 ^ k1, c3 = low0;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}
