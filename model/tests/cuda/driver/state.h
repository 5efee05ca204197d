// The state of the fake GPUs and libraries: memory with guard zones, streams as
// queues, a clock, and the failures that a test requests.
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

// Counters; `Counts` in fake_driver.rs has the same layout.
struct Counts {
  uint64_t calls;        // calls that can fail, since the last reset
  uint64_t allocations;  // device and pinned allocations, since the last reset
  uint64_t waits;        // times the host waited for a stream, an event or a context
  uint64_t uploads, downloads, launches, convolutions, replays;
  uint64_t buffers, bytes;  // existing
  uint64_t pinned, streams, events, graphs, modules, descriptors, handles, contexts;  // existing
  uint64_t violations;  // violated rules: always a bug in the code under test
};

struct Stream;
using Work = std::function<Status()>;

// The state of a recorded event: done when its stream has reached it.
struct EventRecord {
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
  std::map<uintptr_t, Buffer> buffers;  // device memory by start address
  std::map<uintptr_t, size_t> pinned;
  std::set<void*> streams, events, descriptors;
  int devices = 2, capability = 90, version = 13000;
  size_t cudnn_version = 92100;  // cuDNN's version
  size_t memory = (size_t)16 << 30;  // of each device
  size_t workspace = 0;  // of an engine per image, in bytes
  bool reject_plans = false;  // every execution plan is rejected
  bool wrong_convolutions = false;  // every convolution is 5 % too large
  int retained[8] = {};
  std::string loaded_image;  // the image that the last module was loaded from
  bool deferred = false;  // queued work runs only when the host waits for it
  double clock = 0;       // milliseconds, advanced by convolutions
  int64_t fail_in = -1;   // calls until a call fails; negative if none
  int64_t fail_again_in = -1;  // calls from there until another one fails
  bool fail_sticky = false;
  Status sticky_error = SUCCESS;  // the context's error, returned by all later calls

  // Counts a call that can fail. Returns `status` if this call is to fail.
  Status call(Status status) {
    counts.calls++;
    if (sticky_error) return sticky_error;
    if (fail_in < 0 || fail_in-- > 0) return SUCCESS;
    fail_in = std::exchange(fail_again_in, -1);
    if (fail_sticky) return sticky_error = LAUNCH_FAILED;
    return status;
  }

  Status violation(const char* what) {
    fprintf(stderr, "fake driver: %s\n", what);
    counts.violations++;
    return sticky_error = ILLEGAL_ADDRESS;
  }

  bool contains(uintptr_t start, size_t bytes) const {
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

  // Runs the queued work of a stream, up to `record` if it is given.
  Status drain(Stream* stream, const EventRecord* record = nullptr) {
    while (!stream->queue.empty() && !(record && record->done)) {
      Work work = std::move(stream->queue.front());
      stream->queue.pop_front();
      const Status status = work();
      if (status) sticky_error = status;
    }
    return sticky_error;
  }

  // Appends work to a stream. It is kept for the graph during capture, and
  // otherwise runs immediately unless work is deferred.
  Status enqueue(Stream* stream, Work work) {
    stream->queue.push_back(std::move(work));
    if (stream->capturing || deferred) return SUCCESS;
    return drain(stream);
  }
};

inline State& state() {
  static State* const all = new State;  // never destroyed
  return *all;
}

// The stream of a handle, including the default stream's handles.
inline Stream* stream_of(void* handle) {
  static Stream default_stream;
  return (uintptr_t)handle <= 2 ? &default_stream : static_cast<Stream*>(handle);
}

// The kernels of a module's image, with the sizes of their parameters. Empty if
// the GPU cannot run the image.
std::map<std::string, std::vector<size_t>> entries(State& s, const char* image);

using Guard = std::lock_guard<std::recursive_mutex>;

}  // namespace fake

#define EXPORT extern "C" __attribute__((visibility("default")))
#define LOCKED               \
  fake::State& s = fake::state(); \
  fake::Guard guard(s.mutex);
// Returns from the function if this call is to fail.
#define MAY_FAIL(status) \
  if (fake::Status error = s.call(status)) return error
