// The machine behind cuda_on_host.h, and a server: the program made of it and one .cu file waits for launches.
#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "cuda_on_host.h"

namespace host {

dim3 block_index, block_size, grid_size;
const dim3* thread_index;
unsigned lane;

void fail(const char* what) {
    fprintf(stderr, "cuda_on_host: %s\n", what);
    abort();
}

// --- the machine -----------------------------------------------------------------------------------------------------

#ifndef STACK
#define STACK 131072  // bytes of a fibre's; a sanitizer's report needs most of them, and each switch clears its shadow
#endif

// Memory to the byte.
struct Memory {
    explicit Memory(size_t bytes) : data(static_cast<unsigned char*>(malloc(bytes ? bytes : 1))) {}
    ~Memory() { free(data); }
    Memory(const Memory&) = delete;
    unsigned char* data;
};

struct Copy {
    void* target;
    const void* source;
    size_t size, count;
};

struct Fibre {
    ucontext_t context;
    Memory stack{STACK};
    dim3 thread;
    unsigned index;
    std::deque<std::vector<Copy>> groups;  // of asynchronous copies, the last one open
};

struct Warp {
    unsigned lanes = 0, waiting = 0, turn = 0;  // turn: which warps run first, where they run ahead of each other
    void* argument[32];
};

struct Machine {
    std::vector<std::unique_ptr<Fibre>> fibres;
    std::deque<Fibre*> ready;
    std::vector<Fibre*> at_barrier;
    std::vector<Warp> warps;
    unsigned running = 0;
    Fibre* current = nullptr;
    ucontext_t home;
    std::unique_ptr<Memory> dynamic;
    std::map<int, std::unique_ptr<Memory>> arrays;
    void (*kernel)(void**) = nullptr;
    void** arguments = nullptr;
    std::mt19937 random;
    bool shuffled = false, ahead = false, early = false;
};

static Machine machine;

// A block's shared memory: NaN as numbers, far out of range as indices; where the order is shuffled, half of it 0, as
// an index that seems right beside one that is not.
static std::unique_ptr<Memory> shared_memory(size_t bytes) {
    auto memory = std::make_unique<Memory>(bytes);
    for (size_t i = 0; i < bytes; i++) memory->data[i] = machine.shuffled && i % 16 >= 8 ? 0 : i % 4 == 3 ? 0x7f : 0xff;
    return memory;
}

static void enter(Fibre* fibre) {
    machine.current = fibre;
    thread_index = &fibre->thread;
    lane = fibre->index % 32;
}

// Of the threads that can run the next one; where warps run ahead, one of the first warp that can.
static Fibre* take_next() {
    auto next = machine.ready.begin();
    auto turn = [](const Fibre* fibre) { return machine.warps[fibre->index / 32].turn; };
    if (machine.ahead)
        next = std::min_element(machine.ready.begin(), machine.ready.end(), [&](Fibre* a, Fibre* b) { return turn(a) < turn(b); });
    Fibre* fibre = *next;
    machine.ready.erase(next);
    return fibre;
}

// Run the next thread that can run; go home when there is none.
static void hand_over() {
    Fibre* self = machine.current;
    if (machine.ready.empty()) {
        swapcontext(&self->context, &machine.home);
        return;
    }
    Fibre* next = take_next();
    if (next == self) return;
    enter(next);
    swapcontext(&self->context, &next->context);
}

static void wake(std::vector<Fibre*> fibres) {
    if (machine.shuffled) std::shuffle(fibres.begin(), fibres.end(), machine.random);
    machine.ready.insert(machine.ready.end(), fibres.begin(), fibres.end());
}

void barrier() {
    machine.at_barrier.push_back(machine.current);
    if (machine.at_barrier.size() == machine.fibres.size()) {
        std::vector<Fibre*> all;
        all.swap(machine.at_barrier);
        wake(all);
    }
    hand_over();
}

void meet(void* mine, void (*f)(void** all)) {
    const unsigned first = machine.current->index / 32 * 32;
    Warp& warp = machine.warps[first / 32];
    if (warp.lanes != 32) fail("a warp-wide operation in a warp of fewer than 32 threads");
    warp.argument[lane] = mine;
    if (++warp.waiting == 32) {
        f(warp.argument);
        warp.waiting = 0;
        std::vector<Fibre*> lanes;
        for (unsigned i = 0; i < 32; i++) lanes.push_back(machine.fibres[first + i].get());
        wake(lanes);
    }
    hand_over();
}

static void run_thread() {
    machine.kernel(machine.arguments);
    machine.running--;
    hand_over();  // for good: nobody wakes it
}

static void run_block(size_t dynamic_bytes) {
    const unsigned threads = block_size.x * block_size.y * block_size.z;
    machine.dynamic = shared_memory(dynamic_bytes);
    machine.arrays.clear();
    machine.warps.assign((threads + 31) / 32, Warp());
    machine.fibres.resize(threads);
    std::vector<Fibre*> all;
    for (unsigned i = 0; i < threads; i++) {
        if (!machine.fibres[i]) machine.fibres[i] = std::make_unique<Fibre>();
        Fibre& fibre = *machine.fibres[i];
        fibre.index = i;
        fibre.thread = {i % block_size.x, i / block_size.x % block_size.y, i / block_size.x / block_size.y};
        fibre.groups.assign(1, {});
        machine.warps[i / 32].lanes++;
        getcontext(&fibre.context);
        fibre.context.uc_stack.ss_sp = fibre.stack.data;
        fibre.context.uc_stack.ss_size = STACK;
        makecontext(&fibre.context, run_thread, 0);
        all.push_back(&fibre);
    }
    machine.running = threads;
    for (Warp& warp : machine.warps) warp.turn = machine.random();
    wake(all);
    Fibre* first = take_next();
    enter(first);
    swapcontext(&machine.home, &first->context);
    if (machine.running) fail("threads wait at a barrier that others never reach");
}

static void run_grid(const Kernel& kernel, void** arguments, size_t dynamic_bytes, unsigned order) {
    machine.kernel = kernel.call, machine.arguments = arguments;
    machine.shuffled = order != 0, machine.ahead = order % 2 == 1, machine.early = order && !machine.ahead;
    machine.random.seed(order);
    std::vector<unsigned long long> numbers((unsigned long long)grid_size.x * grid_size.y * grid_size.z);
    for (size_t i = 0; i < numbers.size(); i++) numbers[i] = i;
    if (order) std::shuffle(numbers.begin(), numbers.end(), machine.random);
    for (unsigned long long i : numbers) {
        block_index = {(unsigned)(i % grid_size.x), (unsigned)(i / grid_size.x % grid_size.y), (unsigned)(i / grid_size.x / grid_size.y)};
        run_block(dynamic_bytes);
    }
}

unsigned char* dynamic_memory() { return machine.dynamic->data; }

void* shared_array(int number, size_t bytes) {
    auto& memory = machine.arrays[number];
    if (!memory) memory = shared_memory(bytes);
    return memory->data;
}

static void make(const Copy& copy) {
    memcpy(copy.target, copy.source, copy.count);
    memset(static_cast<char*>(copy.target) + copy.count, 0, copy.size - copy.count);
}

void copy_async(void* target, const void* source, size_t size, size_t count) {
    if (size != 4 && size != 8 && size != 16) fail("an asynchronous copy of other than 4, 8 or 16 bytes");
    if ((uintptr_t)target % size || (uintptr_t)source % size) fail("an asynchronous copy that is not aligned to its size");
    const Copy copy{target, source, size, count};
    if (machine.early) return make(copy);  // a GPU makes it any time before it is waited for
    machine.current->groups.back().push_back(copy);
}

void commit_copies() { machine.current->groups.emplace_back(); }

void wait_for_copies(size_t pending) {
    auto& groups = machine.current->groups;
    for (; groups.size() - 1 > pending; groups.pop_front())
        for (const Copy& copy : groups.front()) make(copy);
}

// float32 → TF32: 10 bits of mantissa, to nearest, ties away from zero.
unsigned to_tf32(float x) {
    unsigned bits = __float_as_uint(x);
    if ((bits & 0x7f800000u) != 0x7f800000u) bits += 0x1000u;
    return bits & 0xffffe000u;
}

struct Product {
    float* c;
    const unsigned *a, *b;
};

// mma.sync.m16n8k8 over a warp. The hardware ignores the low 13 bits of the factors; here they must be rounded away.
void multiply_16x8x8(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    Product mine{c, a, b};
    meet(&mine, [](void** all) {
        auto number = [](unsigned bits) {
            if (bits & 0x1fffu && (bits & 0x7f800000u) != 0x7f800000u) fail("a factor that is not rounded to TF32");
            return __uint_as_float(bits & 0xffffe000u);
        };
        float a[16][8], b[8][8];
        for (int i = 0; i < 32; i++) {
            const Product& p = *static_cast<Product*>(all[i]);
            const int g = i / 4, t = i % 4;
            a[g][t] = number(p.a[0]), a[g + 8][t] = number(p.a[1]), a[g][t + 4] = number(p.a[2]), a[g + 8][t + 4] = number(p.a[3]);
            b[t][g] = number(p.b[0]), b[t + 4][g] = number(p.b[1]);
        }
        for (int i = 0; i < 32; i++)
            for (int v = 0; v < 4; v++) {
                float& sum = static_cast<Product*>(all[i])->c[v];
                for (int k = 0; k < 8; k++) sum += a[i / 4 + v / 2 * 8][k] * b[k][i % 4 * 2 + v % 2];
            }
    });
}

// --- the server ------------------------------------------------------------------------------------------------------
// It first prints, a line a kernel, the name and the parameters' types, so that the caller can check what it sends: CuPy
// does not. A launch is 64-bit integers: kernel, grid, block, bytes of shared memory, order; number of buffers, and of
// each its misalignment, its size, its bytes; then of each argument 0 and a scalar (size, bytes), 1 and a pointer (buffer
// or −1, offset), or 2 and a table of pointers (count, then buffer and offset of each). The answer is all buffers' bytes.

static long long read_number() {
    long long n;
    if (fread(&n, 8, 1, stdin) != 1) exit(0);
    return n;
}

static void read_bytes(void* target, size_t n) {
    if (n && fread(target, 1, n, stdin) != n) exit(1);
}

struct Buffer {
    Buffer(size_t misalignment, size_t size) : memory(misalignment + size), data(memory.data + misalignment), size(size) {
        read_bytes(data, size);
    }
    Memory memory;
    unsigned char* data;
    size_t size;
};

static void serve_one() {
    const Kernel& kernel = kernels[read_number()];
    grid_size = {(unsigned)read_number()};
    block_size = {(unsigned)read_number()};
    if (block_size.x > kernel.most) fail("more threads than __launch_bounds__ names");
    const size_t shared = read_number();
    const unsigned order = (unsigned)read_number();
    std::vector<std::unique_ptr<Buffer>> buffers(read_number());
    for (auto& buffer : buffers) {
        const size_t misalignment = read_number(), size = read_number();
        buffer = std::make_unique<Buffer>(misalignment, size);
    }
    auto read_pointer = [&]() -> unsigned char* {
        const long long buffer = read_number(), offset = read_number();
        return buffer < 0 ? nullptr : buffers[buffer]->data + offset;
    };
    std::deque<std::vector<unsigned char>> values;
    std::deque<std::vector<unsigned char*>> tables;
    std::vector<void*> arguments(kernel.parameters);
    for (void*& argument : arguments) {
        const long long kind = read_number();
        values.emplace_back(kind == 0 ? read_number() : 8);
        argument = values.back().data();
        if (kind == 0) {
            read_bytes(argument, values.back().size());
            continue;
        }
        unsigned char* pointer;
        if (kind == 1) {
            pointer = read_pointer();
        } else {
            tables.emplace_back(read_number());
            for (auto& one : tables.back()) one = read_pointer();
            pointer = reinterpret_cast<unsigned char*>(tables.back().data());
        }
        memcpy(argument, &pointer, 8);
    }
    run_grid(kernel, arguments.data(), shared, order);
    for (auto& buffer : buffers) fwrite(buffer->data, 1, buffer->size, stdout);
    fflush(stdout);
}

}  // namespace host

int main() {
    for (int i = 0; i < host::n_kernels; i++) {
        const host::Kernel& kernel = host::kernels[i];
        printf("%s", kernel.name);
        for (int j = 0; j < kernel.parameters; j++) {
            const host::Type& type = kernel.types[j];
            if (type.kind == host::STRUCT)
                printf(" struct");
            else
                printf(" %c%u", "fiu"[type.kind], type.size);
            for (unsigned star = 0; star < type.pointers; star++) printf("*");
        }
        printf("\n");
    }
    printf("\n");
    fflush(stdout);
    while (true) host::serve_one();
}
