// What every kernel here starts from: the number type, 64-bit indices, shared memory, and nothing else.
//
// REAL is float or double: each source is compiled for the type it is needed for. ON_HOST is set where the same source
// is compiled for the CPU by host/cuda_on_host.h; the macros below are the only places that look different there.
#pragma once

#ifndef REAL
#define REAL float
#endif

typedef REAL real;
typedef long long index_t;  // every size and offset: no array is too large

#ifndef ON_HOST
#define SHARED_MEMORY(name) extern __shared__ __align__(16) unsigned char name[]
#define SHARED_ARRAY(type, name, size) __shared__ type name[size]
#endif

// A grid-stride loop: any n with any grid.
#define FOR_EACH(i, n) \
    for (index_t i = blockIdx.x * (index_t)blockDim.x + threadIdx.x; i < (n); i += (index_t)gridDim.x * blockDim.x)
