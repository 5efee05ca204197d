// The kernels as a library for the processor: `run_kernel` launches one by name.
#include "host.h"
#include "../../../kernels/kernels.cu"

// 0 when it ran, 1 for a name that no kernel has, 2 for another number of
// parameters than the kernel's, 3 when a block's threads did not all wait.
extern "C" int run_kernel(const char* name, void** arguments, unsigned count, const unsigned grid[3],
                          const unsigned block[3]) {
  const auto found = host::kernels().find(name);
  if (found == host::kernels().end()) return 1;
  if (found->second.sizes.size() != count) return 2;
  const bool whole =
      host::launch(found->second, {grid[0], grid[1], grid[2]}, {block[0], block[1], block[2]}, arguments);
  return whole ? 0 : 3;
}
