// Functions with which the tests control the fake driver: its counters, the call
// that fails, and the machine it simulates.
#include "state.h"

using namespace fake;

EXPORT void fake_counts(Counts* out) {
  LOCKED
  Counts& c = s.counts;
  c.buffers = s.buffers.size(), c.pinned = s.pinned.size(), c.streams = s.streams.size();
  c.events = s.events.size(), c.descriptors = s.descriptors.size(), c.bytes = 0;
  for (const auto& [start, buffer] : s.buffers) c.bytes += buffer.bytes;
  *out = c;
}
// Resets the counters, except those of existing objects. Call number `fail_in`
// will fail (none if negative): once, or with a sticky error.
EXPORT void fake_reset(int64_t fail_in, int sticky) {
  LOCKED
  Counts& c = s.counts;
  c.calls = c.allocations = c.waits = c.uploads = c.downloads = c.launches = c.convolutions = c.replays = 0;
  s.fail_in = fail_in, s.fail_again_in = -1, s.fail_sticky = sticky, s.sticky_error = SUCCESS;
}
// A second call will fail, `fail_again_in` calls after the one set by `fake_reset`.
EXPORT void fake_fail_again(int64_t fail_again_in) {
  LOCKED
  s.fail_again_in = fail_again_in;
}
EXPORT void fake_defer(int on) { state().deferred = on; }
EXPORT void fake_machine(int devices, int capability, int version, size_t memory) {
  LOCKED
  s.devices = devices, s.capability = capability, s.version = version, s.memory = memory;
}
EXPORT void fake_cudnn_version(size_t version) { state().cudnn_version = version; }
EXPORT const char* fake_loaded_image() { return state().loaded_image.c_str(); }
EXPORT void fake_reject_plans(int on) { state().reject_plans = on; }
EXPORT void fake_wrong_convolutions(int on) { state().wrong_convolutions = on; }
EXPORT void fake_workspace(size_t bytes) { state().workspace = bytes; }
