// The end of a program made of cuda_on_host.h and one .cu file: it waits on standard input for launches.
//
// It first prints, a line a kernel, the name and the parameters' types, so that the caller can check what it sends: CuPy
// does not. A launch is 64-bit integers: kernel, grid (3), block (3), bytes of shared memory, order, number of buffers;
// per buffer its misalignment, its size, its bytes; then number of arguments, and each: 0 and a scalar (size, bytes),
// 1 and a pointer (buffer or −1, offset), 2 and a table of pointers (count, then buffer and offset of each).
// The answer: all buffers' bytes.
#pragma once
#include <string>

namespace host {

template <typename T>
std::string type_name() {
    if constexpr (std::is_pointer_v<T>) {
        using Target = std::remove_pointer_t<T>;
        return type_name<std::remove_const_t<Target>>() + (std::is_const_v<Target> ? "*c" : "*");
    } else if constexpr (std::is_class_v<T>)
        return "struct";
    else
        return (std::is_floating_point_v<T> ? "f" : std::is_signed_v<T> ? "i" : "u") + std::to_string(sizeof(T));
}

struct Kernel {
    std::string name, signature;
    std::vector<size_t> sizes;
    void (*call)(void* arguments);
};

template <auto F>
struct Caller;

template <typename... A, void (*F)(A...)>
struct Caller<F> {
    template <size_t... I>
    static void call(void** arguments, std::index_sequence<I...>) {
        F(*static_cast<A*>(arguments[I])...);
    }
    static Kernel describe(const char* name) {
        std::string signature;
        for (const std::string& type : {type_name<A>()...}) signature += " " + type;
        return {name, signature, {sizeof(A)...}, [](void* arguments) {
                    call(static_cast<void**>(arguments), std::index_sequence_for<A...>());
                }};
    }
};

inline long long read_number() {
    long long n;
    if (fread(&n, 8, 1, stdin) != 1) exit(0);
    return n;
}

inline void read_bytes(void* target, size_t n) {
    if (n && fread(target, 1, n, stdin) != n) exit(1);
}

struct Buffer {
    Buffer(size_t misalignment, size_t size) : memory(misalignment + size), data(memory.data + misalignment), size(size) {}
    Memory memory;
    unsigned char* data;
    size_t size;
};

inline void serve(const std::vector<Kernel>& kernels) {
    for (const Kernel& kernel : kernels) printf("%s%s\n", kernel.name.c_str(), kernel.signature.c_str());
    printf("\n");
    fflush(stdout);
    while (true) {
        const Kernel& kernel = kernels[read_number()];
        dim3 grid, size;
        for (dim3* d : {&grid, &size}) d->x = (unsigned)read_number(), d->y = (unsigned)read_number(), d->z = (unsigned)read_number();
        const size_t shared = read_number();
        const unsigned order = (unsigned)read_number();
        std::vector<std::unique_ptr<Buffer>> buffers(read_number());
        for (auto& buffer : buffers) {
            const size_t misalignment = read_number();
            buffer = std::make_unique<Buffer>(misalignment, read_number());
            read_bytes(buffer->data, buffer->size);
        }
        auto read_pointer = [&]() -> unsigned char* {
            const long long buffer = read_number(), offset = read_number();
            return buffer < 0 ? nullptr : buffers[buffer]->data + offset;
        };
        std::deque<std::vector<unsigned char>> values;
        std::deque<std::vector<unsigned char*>> tables;
        std::vector<void*> arguments(read_number());
        for (void*& argument : arguments) {
            const long long kind = read_number();
            values.emplace_back(8);
            if (kind == 0) {
                values.back().resize(read_number());
                read_bytes(values.back().data(), values.back().size());
            } else {
                unsigned char* pointer;
                if (kind == 1) {
                    pointer = read_pointer();
                } else {
                    tables.emplace_back(read_number());
                    for (auto& one : tables.back()) one = read_pointer();
                    pointer = reinterpret_cast<unsigned char*>(tables.back().data());
                }
                memcpy(values.back().data(), &pointer, 8);
            }
            argument = values.back().data();
        }
        run_grid(grid, size, shared, order, kernel.call, arguments.data());
        for (auto& buffer : buffers) fwrite(buffer->data, 1, buffer->size, stdout);
        fflush(stdout);
    }
}

}  // namespace host
