// CUDA on the CPU, as much of it as our kernels use: the very same .cu files, compiled by a C++ compiler behind this
// header, run here so that machines without a GPU can test them.
//
// Every thread of a block is a fibre: it runs until it must wait for others, at __syncthreads, a shuffle or a tensor-core
// product, and then hands over to the next (runtime.cpp). The blocks of a grid run one after another. So that mistakes
// show, this machine is stricter than a GPU:
//   - shared memory is allocated to the byte (AddressSanitizer sees an access beside it) and is full of NaN at first;
//   - asynchronous copies happen only when they are waited for;
//   - a launch of more threads than __launch_bounds__ names is refused, as by a GPU;
//   - a barrier that not all threads of a block (lanes of a warp) reach ends the program;
//   - threads and blocks can be shuffled, and some warps run far ahead of others: a result that changes is a race.
#pragma once
#include <math.h>
#include <stddef.h>
#include <string.h>

#define ON_HOST
#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define SHARED_MEMORY(name) unsigned char* name = host::dynamic_memory()
#define SHARED_ARRAY(type, name, size) type* name = static_cast<type*>(host::shared_array(__COUNTER__, (size) * sizeof(type)))

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

struct alignas(16) float4 {
    float x, y, z, w;
};

namespace host {

extern dim3 block_index, block_size, grid_size;
extern const dim3* thread_index;
extern unsigned lane;  // of the running thread, in its warp

[[noreturn]] void fail(const char* what);
void barrier();                                    // all threads of the block meet
void meet(void* mine, void (*f)(void** all));      // all lanes of a warp meet; the last one runs f over what they brought
unsigned char* dynamic_memory();                   // the block's dynamic shared memory
void* shared_array(int number, size_t bytes);      // its number-th static array
void copy_async(void* target, const void* source, size_t size, size_t count);
void commit_copies();
void wait_for_copies(size_t pending);
unsigned to_tf32(float x);
void multiply_16x8x8(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]);

template <typename T>
struct Shuffle {
    T value, result;
    unsigned source;
};

template <typename T>
T shuffle(unsigned mask, T value, unsigned source) {
    if (mask != 0xffffffffu) fail("a shuffle of part of a warp");
    Shuffle<T> mine{value, T(), source};
    meet(&mine, [](void** all) {
        for (int i = 0; i < 32; i++) {
            auto* one = static_cast<Shuffle<T>*>(all[i]);
            one->result = static_cast<Shuffle<T>*>(all[one->source])->value;
        }
    });
    return mine.result;
}

// --- what a caller may know of a kernel ------------------------------------------------------------------------------

enum Kind { FLOATING, SIGNED, UNSIGNED, STRUCT };

// A parameter's type: `pointers` stars behind a number of `size` bytes (or a struct).
struct Type {
    Kind kind;
    unsigned size, pointers;
};

template <typename T>
constexpr Kind kind_of() {
    if constexpr (__is_class(T))
        return STRUCT;
    else
        return T(0.5) != T(0) ? FLOATING : T(-1) < T(0) ? SIGNED : UNSIGNED;
}
template <typename T>
struct TypeOf {
    static constexpr Type value = {kind_of<T>(), sizeof(T), 0};
};
template <typename T>
struct TypeOf<const T> : TypeOf<T> {};
template <typename T>
struct TypeOf<T*> {
    static constexpr Type value = {TypeOf<T>::value.kind, TypeOf<T>::value.size, TypeOf<T>::value.pointers + 1};
};

struct Kernel {
    const char* name;
    unsigned most;  // threads in a block: __launch_bounds__
    Type types[32];
    int parameters;
    void (*call)(void** arguments);
};

extern const Kernel kernels[];  // defined behind each .cu file
extern const int n_kernels;

template <size_t... I>
struct Indices {};
template <size_t N, size_t... I>
struct Count : Count<N - 1, N - 1, I...> {};
template <size_t... I>
struct Count<0, I...> {
    typedef Indices<I...> type;
};

template <auto F>
struct Caller;
template <typename... A, void (*F)(A...)>
struct Caller<F> {
    template <size_t... I>
    static void apply(void** arguments, Indices<I...>) {
        F(*static_cast<A*>(arguments[I])...);
    }
    static constexpr Kernel describe(const char* name, unsigned most) {
        return {name, most, {TypeOf<A>::value...}, sizeof...(A), [](void** arguments) {
                    apply(arguments, typename Count<sizeof...(A)>::type());
                }};
    }
};

}  // namespace host

// --- what kernels call -----------------------------------------------------------------------------------------------

#define threadIdx (*host::thread_index)
#define blockIdx host::block_index
#define blockDim host::block_size
#define gridDim host::grid_size

inline void __syncthreads() { host::barrier(); }
inline void __syncwarp() {
    host::meet(nullptr, [](void**) {});
}
template <typename T>
T __shfl_sync(unsigned mask, T value, unsigned lane) {
    return host::shuffle(mask, value, lane % 32);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, unsigned distance) {
    return host::shuffle(mask, value, host::lane ^ distance);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance) {
    return host::shuffle(mask, value, host::lane + distance < 32 ? host::lane + distance : host::lane);
}
template <typename T>
T atomicAdd(T* place, T value) {  // fibres change only where they wait: every line is atomic
    const T before = *place;
    *place += value;
    return before;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
inline unsigned __brev(unsigned x) {
    unsigned reversed = 0;
    for (int i = 0; i < 32; i++) reversed |= (x >> i & 1u) << (31 - i);
    return reversed;
}
inline float __uint_as_float(unsigned bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
inline unsigned __float_as_uint(float x) {
    unsigned bits;
    memcpy(&bits, &x, 4);
    return bits;
}
template <typename T>
T max(T a, T b) {
    return a < b ? b : a;
}
template <typename T>
T min(T a, T b) {
    return b < a ? b : a;
}
