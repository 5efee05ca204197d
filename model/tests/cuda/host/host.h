// CUDA C++ for the CPU: the source of a kernel compiles as plain C++, and a launch
// runs its threads one after another. In kernels with barriers or shuffles, each
// thread is a fiber that runs up to the next of them.
#pragma once
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static

struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
using std::max;
using std::min;

namespace host {

struct Dim {
  unsigned x = 1, y = 1, z = 1;
};
inline Dim thread, block, block_size, grid_size;

// A kernel. Its arguments are passed by address, as in the driver API.
struct Kernel {
  std::vector<size_t> sizes;  // size of each parameter in bytes
  bool has_barriers;          // whether its threads synchronize
  void (*call)(void** arguments);
};
inline std::map<std::string, Kernel>& kernels() {
  static std::map<std::string, Kernel> all;
  return all;
}

// A fiber starts with its context and is resumed with longjmp, which unlike
// swapcontext needs no system call.
struct Fiber {
  ucontext_t context;
  jmp_buf here;
  std::vector<char> stack = std::vector<char>(65536);
  Dim thread;
  bool started, done;
};
inline std::vector<Fiber> fibers;
inline jmp_buf scheduler;
inline unsigned current;
inline bool any_waited;
inline const Kernel* running;
inline void** arguments;
inline uint64_t exchanged[1024];

// A barrier: returns when the other threads of the block have reached it.
inline void barrier() {
  const unsigned me = current;
  any_waited = true;
  if (!_setjmp(fibers[me].here)) _longjmp(scheduler, 1);
}

inline void enter() {
  running->call(arguments);
  fibers[current].done = true;
  _longjmp(scheduler, 1);
}

// Runs the current fiber up to its next barrier, or to its end.
inline void resume() {
  Fiber& fiber = fibers[current];
  if (_setjmp(scheduler)) return;
  if (fiber.started) _longjmp(fiber.here, 1);
  fiber.started = true;
  setcontext(&fiber.context);
}

// Runs the threads of a block as fibers. Returns false if some threads exited
// while others waited at a barrier.
inline bool run_fibers(const std::vector<Dim>& threads) {
  if (fibers.size() < threads.size()) fibers.resize(threads.size());
  for (size_t i = 0; i < threads.size(); i++) {
    Fiber& fiber = fibers[i];
    fiber.thread = threads[i];
    fiber.started = fiber.done = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.data();
    fiber.context.uc_stack.ss_size = fiber.stack.size();
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, enter, 0);
  }
  for (size_t left = threads.size(); left;) {
    size_t ended = 0;
    any_waited = false;
    for (current = 0; current < threads.size(); current++) {
      if (fibers[current].done) continue;
      thread = fibers[current].thread;
      resume();
      ended += fibers[current].done;
    }
    if (any_waited && ended) return false;
    left -= ended;
  }
  return true;
}

// Launches `kernel`. Returns false if not all threads of a block reach a barrier.
inline bool launch(const Kernel& kernel, Dim grid, Dim size, void** args) {
  running = &kernel, arguments = args, grid_size = grid, block_size = size;
  std::vector<Dim> threads;
  for (unsigned z = 0; z < size.z; z++)
    for (unsigned y = 0; y < size.y; y++)
      for (unsigned x = 0; x < size.x; x++) threads.push_back({x, y, z});
  for (unsigned z = 0; z < grid.z; z++)
    for (unsigned y = 0; y < grid.y; y++)
      for (unsigned x = 0; x < grid.x; x++) {
        block = {x, y, z};
        if (kernel.has_barriers) {
          if (!run_fibers(threads)) return false;
        } else {
          for (const Dim& t : threads) thread = t, kernel.call(args);
        }
      }
  return true;
}

template <class V>
V shuffle(V value, unsigned from) {
  memcpy(&exchanged[current], &value, sizeof value);
  barrier();
  memcpy(&value, &exchanged[from], sizeof value);
  barrier();
  return value;
}

// Registers the kernel `F`, with the sizes of its parameters.
template <auto F>
struct Entry;
template <class... A, void (*F)(A...)>
struct Entry<F> {
  template <size_t... I>
  static void apply(void** args, std::index_sequence<I...>) {
    F(*static_cast<std::remove_const_t<A>*>(args[I])...);
  }
  static void call(void** args) { apply(args, std::index_sequence_for<A...>{}); }
  static bool add(const char* name, bool has_barriers) {
    return kernels().emplace(name, Kernel{{sizeof(A)...}, has_barriers, call}).second;
  }
};

}  // namespace host

static host::Dim &threadIdx = host::thread, &blockIdx = host::block;
static host::Dim &blockDim = host::block_size, &gridDim = host::grid_size;

inline void __syncthreads() { host::barrier(); }
template <class V>
V __shfl_xor_sync(unsigned, V value, int lane_mask) {
  return host::shuffle(value, host::current ^ lane_mask);
}

#define HOST_KERNEL_AS(name, has_barriers) static const bool host_##name = host::Entry<&name>::add(#name, has_barriers);
#define HOST_KERNEL_EXPANDED(name, has_barriers) HOST_KERNEL_AS(name, has_barriers)
#define HOST_KERNEL(name) HOST_KERNEL_EXPANDED(name, false)
#define HOST_KERNEL_WITH_BARRIERS(name) HOST_KERNEL_EXPANDED(name, true)
