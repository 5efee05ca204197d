// The tests' side of the pretended driver: what it counted, which call is to
// fail, what machine it is.
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
// Forgets what was counted (not what is alive), and lets call `fail_in` fail
// (never if negative): once, or with an error that stays.
EXPORT void fake_reset(int64_t fail_in, int stays) {
  LOCKED
  Counts& c = s.counts;
  c.calls = c.allocations = c.waits = c.uploads = c.downloads = c.launches = c.convolutions = c.replays = 0;
  s.fail_in = fail_in, s.again_in = -1, s.fault_stays = stays, s.lost = SUCCESS;
}
// Lets another call fail, so many calls after the one that `fake_reset` named.
EXPORT void fake_again(int64_t again_in) {
  LOCKED
  s.again_in = again_in;
}
EXPORT void fake_defer(int on) { state().deferred = on; }
EXPORT void fake_card(int devices, int capability, int version, size_t memory) {
  LOCKED
  s.devices = devices, s.capability = capability, s.version = version, s.memory = memory;
}
EXPORT void fake_dnn(size_t version) { state().dnn = version; }
EXPORT const char* fake_image() { return state().image.c_str(); }
EXPORT void fake_unplanned(int on) { state().unplanned = on; }
EXPORT void fake_workspace(size_t bytes) { state().workspace = bytes; }
