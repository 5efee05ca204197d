// CUDA's language for the processor: a kernel's source compiles as C++, and a
// launch runs its threads one after another. Where threads wait for one
// another, each is a fiber that runs up to the next barrier or shuffle.
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

// One launch of a kernel: its arguments by address, as the driver takes them.
struct Kernel {
  std::vector<size_t> sizes;  // bytes of each parameter
  bool waits;                 // whether its threads wait for one another
  void (*call)(void** arguments);
};
inline std::map<std::string, Kernel>& kernels() {
  static std::map<std::string, Kernel> all;
  return all;
}

// A fiber begins with its own context and goes on by jumps, which unlike a
// change of context ask nothing of the system.
struct Fiber {
  ucontext_t context;
  jmp_buf here;
  std::vector<char> stack = std::vector<char>(65536);
  Dim thread;
  bool begun, done;
};
inline std::vector<Fiber> fibers;
inline jmp_buf scheduler;
inline unsigned current;
inline bool waited;
inline const Kernel* running;
inline void** arguments;
inline uint64_t exchanged[1024];

// Lets the other threads of the block come up to this point.
inline void wait() {
  const unsigned me = current;
  waited = true;
  if (!_setjmp(fibers[me].here)) _longjmp(scheduler, 1);
}

inline void enter() {
  running->call(arguments);
  fibers[current].done = true;
  _longjmp(scheduler, 1);
}

// Lets the current fiber run up to its next wait, or to its end.
inline void go_on() {
  Fiber& fiber = fibers[current];
  if (_setjmp(scheduler)) return;
  if (fiber.begun) _longjmp(fiber.here, 1);
  fiber.begun = true;
  setcontext(&fiber.context);
}

// Runs the block's threads as fibers. False when some threads ended while
// others waited for them.
inline bool run_waiting(const std::vector<Dim>& threads) {
  if (fibers.size() < threads.size()) fibers.resize(threads.size());
  for (size_t i = 0; i < threads.size(); i++) {
    Fiber& fiber = fibers[i];
    fiber.thread = threads[i];
    fiber.begun = fiber.done = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.data();
    fiber.context.uc_stack.ss_size = fiber.stack.size();
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, enter, 0);
  }
  for (size_t left = threads.size(); left;) {
    size_t ended = 0;
    waited = false;
    for (current = 0; current < threads.size(); current++) {
      if (fibers[current].done) continue;
      thread = fibers[current].thread;
      go_on();
      ended += fibers[current].done;
    }
    if (waited && ended) return false;
    left -= ended;
  }
  return true;
}

// Launches `kernel`. False for a block whose threads do not all wait.
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
        if (kernel.waits) {
          if (!run_waiting(threads)) return false;
        } else {
          for (const Dim& t : threads) thread = t, kernel.call(args);
        }
      }
  return true;
}

template <class V>
V shuffle(V value, unsigned from) {
  memcpy(&exchanged[current], &value, sizeof value);
  wait();
  memcpy(&value, &exchanged[from], sizeof value);
  wait();
  return value;
}

// Puts the function `F` on the list, with the sizes of its parameters.
template <auto F>
struct Entry;
template <class... A, void (*F)(A...)>
struct Entry<F> {
  template <size_t... I>
  static void apply(void** args, std::index_sequence<I...>) {
    F(*static_cast<std::remove_const_t<A>*>(args[I])...);
  }
  static void call(void** args) { apply(args, std::index_sequence_for<A...>{}); }
  static bool add(const char* name, bool waits) {
    return kernels().emplace(name, Kernel{{sizeof(A)...}, waits, call}).second;
  }
};

}  // namespace host

static host::Dim &threadIdx = host::thread, &blockIdx = host::block;
static host::Dim &blockDim = host::block_size, &gridDim = host::grid_size;

inline void __syncthreads() { host::wait(); }
template <class V>
V __shfl_xor_sync(unsigned, V value, int lanes) {
  return host::shuffle(value, host::current ^ lanes);
}

#define HOST_KERNEL_AS(name, waits) static const bool host_##name = host::Entry<&name>::add(#name, waits);
#define HOST_KERNEL_EXPANDED(name, waits) HOST_KERNEL_AS(name, waits)
#define HOST_KERNEL(name) HOST_KERNEL_EXPANDED(name, false)
#define HOST_KERNEL_WAITS(name) HOST_KERNEL_EXPANDED(name, true)
