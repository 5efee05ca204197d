// The kernels as a CPU library: `run_kernel` launches a kernel by name.
#include "host.h"
#include "../../../kernels/kernels.cu"

// Returns 0 on success, 1 for an unknown kernel, 2 for a wrong number of
// arguments, and 3 if not all threads of a block reached a barrier.
extern "C" int run_kernel(const char* name, void** arguments, unsigned count, const unsigned grid[3],
                          const unsigned block[3]) {
  const auto found = host::kernels().find(name);
  if (found == host::kernels().end()) return 1;
  if (found->second.sizes.size() != count) return 2;
  const bool barriers_ok =
      host::launch(found->second, {grid[0], grid[1], grid[2]}, {block[0], block[1], block[2]}, arguments);
  return barriers_ok ? 0 : 3;
}
