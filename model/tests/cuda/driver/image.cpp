// Reads the kernel image that a module is loaded from: PTX or a fat binary. From a
// fat binary it selects the machine code for the GPU, or the PTX if there is none.
#include "state.h"

namespace fake {

namespace {

// The header of NVIDIA's fat binaries, with the fields that are read here.
struct File {
  uint32_t magic;
  uint16_t version, header;
  uint64_t bytes;  // after the header
};
constexpr uint32_t MAGIC = 0xBA55ED50;
struct Part {
  uint16_t kind, version;
  uint32_t header;
  uint64_t bytes;  // after the header
  uint32_t unknown[3];
  int capability;
};
enum Kind { PTX = 1, CUBIN = 2 };

using Entries = std::map<std::string, std::vector<size_t>>;

// The entry points of a PTX text, with the sizes of their parameters.
Entries entries_of(const std::string& text) {
  Entries all;
  for (const char* at = text.c_str(); (at = strstr(at, ".visible .entry "));) {
    at += strlen(".visible .entry ");
    const char* open = strchr(at, '(');
    const char* end = strchr(at, ')');
    std::vector<size_t> sizes;
    for (const char* p = at; (p = strstr(p, ".param .")) && p < end; p++) {
      const char type = p[8];  // u64, u32, f32, b8 ...
      sizes.push_back(type == 'a' ? 0 : atoi(p + 9) / 8);
    }
    all[std::string(at, open)] = sizes;
    at = end;
  }
  return all;
}

}  // namespace

Entries entries(State& s, const char* image) {
  const File& file = *(const File*)image;
  if (file.magic != MAGIC) return s.loaded_image = "PTX", entries_of(image);
  Entries all;
  int best = 0, ptx = 0;
  std::string code;
  const char *at = image + file.header, *end = at + file.bytes;
  while (at < end) {
    const Part& part = *(const Part*)at;
    at += part.header;
    const bool runs = part.capability <= s.capability;
    if (part.kind == PTX) {
      all = entries_of(std::string(at, part.bytes));
      if (runs) ptx = part.capability;
    } else if (part.kind == CUBIN && runs && part.capability / 10 == s.capability / 10 && part.capability > best) {
      best = part.capability;
      code = std::string(at, part.bytes);
    }
    at += part.bytes;
  }
  s.loaded_image = best ? "sm_" + std::to_string(best) : ptx ? "compute_" + std::to_string(ptx) : "none";
  if (!best && !ptx) return {};
  // machine code contains the kernel names; the parameters come from the PTX
  for (auto entry = all.begin(); best && entry != all.end();)
    entry = code.find(".text." + entry->first) == std::string::npos ? all.erase(entry) : std::next(entry);
  return all;
}

}  // namespace fake
