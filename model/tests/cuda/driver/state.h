// What the pretended card and its libraries share: memory with red zones,
// streams as queues, one clock, and the faults a test asks for.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace fake {

enum Status {
  SUCCESS = 0,
  INVALID_VALUE = 1,
  OUT_OF_MEMORY = 2,
  NO_DEVICE = 100,
  INVALID_DEVICE = 101,
  INVALID_IMAGE = 200,
  INVALID_CONTEXT = 201,
  INVALID_HANDLE = 400,
  NOT_FOUND = 500,
  ILLEGAL_ADDRESS = 700,
  LAUNCH_FAILED = 719,
  NOT_SUPPORTED = 801,
  CAPTURE_UNSUPPORTED = 900,
};

// Counted for the tests; the Rust side has the same struct.
struct Counts {
  uint64_t calls;        // that may fail, since the last reset
  uint64_t allocations;  // of device or pinned memory, since the last reset
  uint64_t waits;        // of the host for a stream, an event or a context
  uint64_t uploads, downloads, launches, convolutions, replays;
  uint64_t buffers, bytes;  // alive
  uint64_t pinned, streams, events, graphs, modules, descriptors, handles, contexts;  // alive
  uint64_t violations;  // rules broken: always an error of the code under test
};

struct Stream;
using Work = std::function<Status()>;

// An event: done once its stream has come to where it was recorded.
struct Mark {
  Stream* stream;
  bool done;
  double at;
};

struct Stream {
  int device = 0;
  bool capturing = false;
  std::deque<Work> queue;
};

struct Graph {
  std::vector<Work> work;
};

struct Buffer {
  size_t bytes;
  int device;
};

struct State {
  std::recursive_mutex mutex;
  Counts counts = {};
  std::map<uintptr_t, Buffer> buffers;  // device memory by its start
  std::map<uintptr_t, size_t> pinned;
  std::set<void*> streams, events, descriptors;
  int devices = 2, capability = 90, version = 13000;
  size_t dnn = 92100;  // cuDNN's version
  size_t memory = (size_t)16 << 30;  // of each device
  size_t workspace = 0;  // that an engine wants for each image
  bool unplanned = false;  // no engine makes a plan
  int retained[8] = {};
  std::string image;  // what the last module was loaded from
  bool deferred = false;  // work runs only when someone waits for it
  double clock = 0;       // milliseconds, moved on by convolutions
  int64_t fail_in = -1;   // calls until the fault
  int64_t again_in = -1;  // calls from there to another
  bool fault_stays = false;
  Status lost = SUCCESS;  // the context's error, once it has one

  // One more call that may fail. `usual` is what such a call fails with.
  Status call(Status usual) {
    counts.calls++;
    if (lost) return lost;
    if (fail_in < 0 || fail_in-- > 0) return SUCCESS;
    fail_in = std::exchange(again_in, -1);
    if (fault_stays) return lost = LAUNCH_FAILED;
    return usual;
  }

  Status broken(const char* what) {
    fprintf(stderr, "fake driver: %s\n", what);
    counts.violations++;
    return lost = ILLEGAL_ADDRESS;
  }

  bool holds(uintptr_t start, size_t bytes) const {
    auto it = buffers.upper_bound(start);
    if (it == buffers.begin()) return false;
    --it;
    return start + bytes <= it->first + it->second.bytes;
  }

  bool is_pinned(uintptr_t start, size_t bytes) const {
    auto it = pinned.upper_bound(start);
    if (it == pinned.begin()) return false;
    --it;
    return start + bytes <= it->first + it->second;
  }

  // Runs what waits in a stream, up to `mark` if there is one.
  Status drain(Stream* stream, const Mark* mark = nullptr) {
    while (!stream->queue.empty() && !(mark && mark->done)) {
      Work work = std::move(stream->queue.front());
      stream->queue.pop_front();
      const Status status = work();
      if (status) lost = status;
    }
    return lost;
  }

  // Appends to a stream: kept for the graph while it captures, run at once
  // unless work is deferred.
  Status submit(Stream* stream, Work work) {
    stream->queue.push_back(std::move(work));
    if (stream->capturing || deferred) return SUCCESS;
    return drain(stream);
  }
};

inline State& state() {
  static State* const all = new State;  // outlives every destructor
  return *all;
}

// The stream itself, or the one that stands for the default.
inline Stream* stream_of(void* handle) {
  static Stream default_stream;
  return (uintptr_t)handle <= 2 ? &default_stream : static_cast<Stream*>(handle);
}

// The kernels of an image that a module is loaded from, with the sizes of their
// parameters; none of an image that the card cannot run.
std::map<std::string, std::vector<size_t>> entries(State& s, const char* image);

using Guard = std::lock_guard<std::recursive_mutex>;

}  // namespace fake

#define EXPORT extern "C" __attribute__((visibility("default")))
#define LOCKED               \
  fake::State& s = fake::state(); \
  fake::Guard guard(s.mutex);
// Returns the fault if this call is to fail.
#define MAY_FAIL(usual) \
  if (fake::Status fault = s.call(usual)) return fault
