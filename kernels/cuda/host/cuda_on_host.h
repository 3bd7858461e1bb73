// CUDA on the CPU, as much of it as our kernels use: the very same .cu files, compiled by a C++ compiler after this
// header, run here so that machines without a GPU can test them.
//
// Every thread of a block is a fibre (ucontext): it runs until it must wait for others, at __syncthreads, a shuffle or a
// tensor-core product, and then hands over to the next. The blocks of a grid run one after another. So that mistakes
// show, this machine is stricter than a GPU:
//   - shared memory is allocated to the byte (AddressSanitizer sees an access beside it) and is full of NaN at first;
//   - asynchronous copies happen only when they are waited for;
//   - a barrier that not all threads of a block (lanes of a warp) reach ends the program;
//   - `order` shuffles threads and blocks: a result that changes with it is a race.
#pragma once
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <type_traits>
#include <vector>

#define ON_HOST
#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define SHARED_MEMORY(name) unsigned char* name = host::dynamic_memory()
#define SHARED_ARRAY(type, name, size) type* name = host::shared_array<type>(__COUNTER__, size)

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

struct alignas(8) float2 {
    float x, y;
};

namespace host {

[[noreturn]] inline void fail(const char* what) {
    fprintf(stderr, "cuda_on_host: %s\n", what);
    fflush(stderr);
    abort();
}

// --- memory ----------------------------------------------------------------------------------------------------------

// `bytes` of memory to the byte, full of signalling patterns: NaN as float and double, far out of range as an index.
struct Memory {
    explicit Memory(size_t bytes) : data(static_cast<unsigned char*>(malloc(bytes ? bytes : 1))) { memset(data, 0xff, bytes); }
    ~Memory() { free(data); }
    Memory(const Memory&) = delete;
    unsigned char* data;
};

struct Copy {
    void* target;
    const void* source;
    size_t size, count;
    void run() const {
        memcpy(target, source, count);
        memset(static_cast<char*>(target) + count, 0, size - count);
    }
};

// --- threads ---------------------------------------------------------------------------------------------------------

constexpr size_t STACK = 256 * 1024;

struct Fibre {
    ucontext_t context;
    Memory stack{STACK};
    dim3 thread;
    unsigned index;
    std::deque<std::vector<Copy>> groups;  // of asynchronous copies, the last one open
};

struct Warp {
    unsigned lanes = 0, waiting = 0;
    void* argument[32];
};

struct Block {
    std::vector<std::unique_ptr<Fibre>> fibres;
    std::deque<Fibre*> ready;
    std::vector<Warp> warps;
    unsigned running = 0, at_barrier = 0;
    std::vector<Fibre*> waiting;
    ucontext_t home;
    Fibre* current = nullptr;
    std::unique_ptr<Memory> dynamic;
    std::map<int, std::unique_ptr<Memory>> arrays;
    void (*body)(void*);
    void* arguments;
    std::mt19937 random;
    bool shuffled = false;
};

inline Block block;
inline dim3 block_index, block_size, grid_size;

// Run the next fibre that can; back home when there is none.
inline void hand_over() {
    Fibre* self = block.current;
    if (block.ready.empty()) {
        block.current = nullptr;
        swapcontext(&self->context, &block.home);
    } else {
        Fibre* next = block.ready.front();
        block.ready.pop_front();
        if (next == self) return;
        block.current = next;
        swapcontext(&self->context, &next->context);
    }
}

inline void wake(std::vector<Fibre*> fibres) {
    if (block.shuffled) std::shuffle(fibres.begin(), fibres.end(), block.random);
    block.ready.insert(block.ready.end(), fibres.begin(), fibres.end());
}

inline void barrier() {
    block.waiting.push_back(block.current);
    if (block.waiting.size() == block.fibres.size()) {
        std::vector<Fibre*> all;
        all.swap(block.waiting);
        wake(all);
    }
    hand_over();
}

// All lanes of the warp meet; the last to come runs f over what each brought.
inline void meet(void* mine, void (*f)(void** all)) {
    const unsigned number = block.current->index / 32, lane = block.current->index % 32;
    Warp& warp = block.warps[number];
    if (warp.lanes != 32) fail("a warp-wide operation in a warp with fewer than 32 threads");
    warp.argument[lane] = mine;
    if (++warp.waiting == 32) {
        f(warp.argument);
        warp.waiting = 0;
        std::vector<Fibre*> lanes;
        for (unsigned i = 0; i < 32; i++) lanes.push_back(block.fibres[number * 32 + i].get());
        wake(lanes);
    }
    hand_over();
}

inline void start_fibre() {
    block.body(block.arguments);
    block.running--;
    block.current->groups.clear();
    hand_over();  // never comes back: this fibre is in no queue
    fail("a finished thread was woken");
}

inline void run_block(dim3 size, size_t dynamic_bytes) {
    const unsigned threads = size.x * size.y * size.z;
    block.dynamic = std::make_unique<Memory>(dynamic_bytes);
    block.arrays.clear();
    block.warps.assign((threads + 31) / 32, Warp());
    while (block.fibres.size() < threads) block.fibres.push_back(std::make_unique<Fibre>());
    block.fibres.resize(threads);
    block.waiting.clear();
    std::vector<Fibre*> all;
    for (unsigned i = 0; i < threads; i++) {
        Fibre& fibre = *block.fibres[i];
        fibre.index = i;
        fibre.thread = {i % size.x, i / size.x % size.y, i / size.x / size.y};
        fibre.groups.assign(1, {});
        block.warps[i / 32].lanes++;
        getcontext(&fibre.context);
        fibre.context.uc_stack.ss_sp = fibre.stack.data;
        fibre.context.uc_stack.ss_size = STACK;
        fibre.context.uc_link = nullptr;
        makecontext(&fibre.context, start_fibre, 0);
        all.push_back(&fibre);
    }
    block.running = threads;
    wake(all);
    block.current = block.ready.front();
    block.ready.pop_front();
    swapcontext(&block.home, &block.current->context);
    if (block.running) fail("threads wait at a barrier that others never reach");
}

inline void run_grid(dim3 grid, dim3 size, size_t dynamic_bytes, unsigned order, void (*body)(void*), void* arguments) {
    grid_size = grid, block_size = size;
    block.body = body, block.arguments = arguments;
    block.shuffled = order != 0;
    block.random.seed(order);
    const unsigned long long blocks = (unsigned long long)grid.x * grid.y * grid.z;
    std::vector<unsigned long long> numbers(blocks);
    for (unsigned long long i = 0; i < blocks; i++) numbers[i] = i;
    if (order) std::shuffle(numbers.begin(), numbers.end(), block.random);
    for (unsigned long long i : numbers) {
        block_index = {(unsigned)(i % grid.x), (unsigned)(i / grid.x % grid.y), (unsigned)(i / grid.x / grid.y)};
        run_block(size, dynamic_bytes);
    }
}

// --- what kernels call -----------------------------------------------------------------------------------------------

inline unsigned char* dynamic_memory() { return block.dynamic->data; }

template <typename T>
T* shared_array(int number, size_t size) {
    auto& memory = block.arrays[number];
    if (!memory) memory = std::make_unique<Memory>(size * sizeof(T));
    return reinterpret_cast<T*>(memory->data);
}

inline void copy_async(void* target, const void* source, size_t size, size_t count) {
    if (size != 4 && size != 8 && size != 16) fail("an asynchronous copy of other than 4, 8, 16 bytes");
    if ((uintptr_t)target % size || (uintptr_t)source % size) fail("an asynchronous copy that is not aligned to its size");
    block.current->groups.back().push_back({target, source, size, count});
}

inline void commit_copies() { block.current->groups.emplace_back(); }

inline void wait_for_copies(size_t pending) {
    auto& groups = block.current->groups;
    while (groups.size() - 1 > pending) {
        for (const Copy& copy : groups.front()) copy.run();
        groups.pop_front();
    }
}

// float32 → TF32: 10 bits of mantissa, to nearest, ties away from zero.
inline unsigned to_tf32(float x) {
    unsigned bits;
    memcpy(&bits, &x, 4);
    if ((bits & 0x7f800000u) != 0x7f800000u) bits += 0x1000u;
    return bits & 0xffffe000u;
}

struct Product {
    float* c;
    const unsigned *a, *b;
};

// mma.sync.m16n8k8 over a warp. As the hardware does, it ignores the low 13 bits of the factors.
inline void multiply_16x8x8(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    Product mine{c, a, b};
    meet(&mine, [](void** all) {
        auto number = [](unsigned bits) {
            bits &= 0xffffe000u;
            float x;
            memcpy(&x, &bits, 4);
            return x;
        };
        float a[16][8], b[8][8];
        for (int lane = 0; lane < 32; lane++) {
            const Product& p = *static_cast<Product*>(all[lane]);
            const int g = lane / 4, t = lane % 4;
            a[g][t] = number(p.a[0]), a[g + 8][t] = number(p.a[1]), a[g][t + 4] = number(p.a[2]), a[g + 8][t + 4] = number(p.a[3]);
            b[t][g] = number(p.b[0]), b[t + 4][g] = number(p.b[1]);
        }
        for (int lane = 0; lane < 32; lane++)
            for (int v = 0; v < 4; v++) {
                const int row = lane / 4 + v / 2 * 8, column = lane % 4 * 2 + v % 2;
                float& sum = static_cast<Product*>(all[lane])->c[v];
                for (int k = 0; k < 8; k++) sum += a[row][k] * b[k][column];
            }
    });
}

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
        for (int lane = 0; lane < 32; lane++) {
            auto* one = static_cast<Shuffle<T>*>(all[lane]);
            one->result = static_cast<Shuffle<T>*>(all[one->source])->value;
        }
    });
    return mine.result;
}

}  // namespace host

#define threadIdx (host::block.current->thread)
#define blockIdx host::block_index
#define blockDim host::block_size
#define gridDim host::grid_size

inline void __syncthreads() { host::barrier(); }
inline void __syncwarp() {
    int nothing = 0;
    host::meet(&nothing, [](void**) {});
}
template <typename T>
T __shfl_sync(unsigned mask, T value, unsigned lane) {
    return host::shuffle(mask, value, lane % 32);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, unsigned distance) {
    return host::shuffle(mask, value, host::block.current->index % 32 ^ distance);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance) {
    const unsigned lane = host::block.current->index % 32;
    return host::shuffle(mask, value, lane + distance < 32 ? lane + distance : lane);
}
template <typename T>
T atomicAdd(T* place, T value) {  // fibres change only where they wait: every line is atomic
    const T before = *place;
    *place += value;
    return before;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
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
using std::max;
using std::min;
