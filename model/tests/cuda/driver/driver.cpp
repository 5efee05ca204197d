// A fake CUDA driver that needs no GPU: memory, streams, events, graphs and
// modules. It reports every violation of the API's rules, including those that a
// real driver does not detect. Tests load it under the names of the real libraries.
#include "../host/host.h"
#include "../../../kernels/kernels.cu"
#include "state.h"

using namespace fake;

namespace {

constexpr size_t GUARD = 512;               // guard bytes on each side of an allocation
constexpr unsigned char GUARD_BYTE = 0xA5;  // value of the guard bytes
constexpr unsigned char FRESH = 0xFF;      // value of new memory: NaN in every data type

thread_local int bound = -1;

// Allocates memory between two guard zones.
void* allocate_guarded(size_t bytes) {
  void* raw = nullptr;
  if (posix_memalign(&raw, 512, bytes + 2 * GUARD)) return nullptr;
  memset(raw, GUARD_BYTE, bytes + 2 * GUARD);
  return memset((char*)raw + GUARD, FRESH, bytes);
}

// Frees guarded memory. Returns whether the guard zones are unchanged.
bool free_guarded(void* start, size_t bytes) {
  const unsigned char* at = (unsigned char*)start;
  bool intact = true;
  for (size_t i = 1; i <= GUARD; i++) intact &= at[-(ptrdiff_t)i] == GUARD_BYTE && at[bytes + i - 1] == GUARD_BYTE;
  free((char*)start - GUARD);
  return intact;
}

Status allocate(State& s, uintptr_t* out, size_t bytes) {
  size_t used = 0;
  for (const auto& [start, buffer] : s.buffers)
    if (buffer.device == bound) used += buffer.bytes;
  void* start = used + bytes > s.memory ? nullptr : allocate_guarded(bytes);
  if (!start) return OUT_OF_MEMORY;
  *out = (uintptr_t)start;
  s.buffers[*out] = {bytes, bound};
  s.counts.allocations++;
  return SUCCESS;
}

Status release(State& s, uintptr_t start) {
  const auto it = s.buffers.find(start);
  if (it == s.buffers.end()) return s.violation("a buffer that does not exist is freed");
  const size_t bytes = it->second.bytes;
  s.buffers.erase(it);
  return free_guarded((void*)start, bytes) ? SUCCESS : s.violation("a write outside a buffer");
}

Status copy(State& s, void* to, const void* from, size_t bytes, bool device_writes) {
  if (!s.contains((uintptr_t)(device_writes ? to : from), bytes))
    return s.violation("a copy accesses memory outside a buffer");
  memcpy(to, from, bytes);
  return SUCCESS;
}

struct Function {
  const host::Kernel* kernel;
  std::string name;
};
struct Module {
  std::map<std::string, Function> functions;
};

}  // namespace

EXPORT int cuInit(unsigned) { return state().devices ? SUCCESS : NO_DEVICE; }
EXPORT int cuDriverGetVersion(int* version) { return *version = state().version, SUCCESS; }
EXPORT int cuDeviceGetCount(int* count) { return *count = state().devices, SUCCESS; }
EXPORT int cuDeviceGet(int* device, int ordinal) {
  LOCKED
  MAY_FAIL(INVALID_DEVICE);
  if (ordinal >= s.devices) return INVALID_DEVICE;
  return *device = ordinal, SUCCESS;
}
EXPORT int cuDeviceGetName(char* name, int size, int device) {
  return snprintf(name, size, "Fake %d", device), SUCCESS;
}
EXPORT int cuDeviceGetAttribute(int* value, int attribute, int) {
  const int capability = state().capability;
  switch (attribute) {
    case 75: *value = capability / 10; break;  // compute capability, major
    case 76: *value = capability % 10; break;  // and minor
    default: *value = 1;
  }
  return SUCCESS;
}
EXPORT int cuDeviceTotalMem_v2(size_t* bytes, int) { return *bytes = state().memory, SUCCESS; }
EXPORT int cuMemGetInfo_v2(size_t* free, size_t* total) {
  LOCKED
  MAY_FAIL(INVALID_CONTEXT);
  *total = *free = s.memory;
  for (const auto& [start, buffer] : s.buffers)
    if (buffer.device == bound) *free -= std::min(*free, buffer.bytes);
  return SUCCESS;
}

EXPORT int cuDevicePrimaryCtxRetain(void** context, int device) {
  LOCKED
  MAY_FAIL(OUT_OF_MEMORY);
  s.retained[device]++, s.counts.contexts++;
  return *context = (void*)(uintptr_t)(0x1000 + device), SUCCESS;
}
EXPORT int cuDevicePrimaryCtxRelease_v2(int device) {
  LOCKED
  s.counts.contexts--;
  // destroying a context clears its error and frees its memory
  if (--s.retained[device] == 0 && s.sticky_error) {
    while (!s.buffers.empty()) release(s, s.buffers.begin()->first);
    s.sticky_error = SUCCESS;
  }
  return SUCCESS;
}
EXPORT int cuCtxGetCurrent(void** context) {
  return *context = bound < 0 ? nullptr : (void*)(uintptr_t)(0x1000 + bound), SUCCESS;
}
EXPORT int cuCtxSetCurrent(void* context) { return bound = (int)((uintptr_t)context - 0x1000), SUCCESS; }
EXPORT int cuCtxSynchronize() {
  LOCKED
  MAY_FAIL(LAUNCH_FAILED);
  s.counts.waits++;
  for (void* stream : s.streams) s.drain((Stream*)stream);
  return s.sticky_error;
}
EXPORT int cuGetErrorName(int, const char** name) { return *name = "CUDA_ERROR_FAKE", SUCCESS; }
EXPORT int cuGetErrorString(int code, const char** text) {
  *text = code == OUT_OF_MEMORY ? "out of memory" : code == LAUNCH_FAILED ? "launch failure" : "fake error";
  return SUCCESS;
}

EXPORT int cuMemAlloc_v2(uintptr_t* out, size_t bytes) {
  LOCKED
  MAY_FAIL(OUT_OF_MEMORY);
  for (void* stream : s.streams)
    if (((Stream*)stream)->capturing) return s.violation("an allocation during stream capture");
  return allocate(s, out, bytes);
}
EXPORT int cuMemAllocAsync(uintptr_t* out, size_t bytes, void*) { return cuMemAlloc_v2(out, bytes); }
EXPORT int cuMemFree_v2(uintptr_t start) {
  LOCKED
  // synchronizes every stream, like the real driver
  for (void* stream : s.streams) s.drain((Stream*)stream);
  if (s.sticky_error) return s.sticky_error;
  return release(s, start);
}
EXPORT int cuMemFreeAsync(uintptr_t start, void* handle) {
  LOCKED
  Stream* stream = stream_of(handle);
  if (stream->capturing) return s.violation("a buffer is freed during stream capture");
  if (s.sticky_error) return s.sticky_error;
  return s.enqueue(stream, [&s, start] { return release(s, start); });
}
EXPORT int cuMemHostAlloc(void** out, size_t bytes, unsigned) {
  LOCKED
  MAY_FAIL(OUT_OF_MEMORY);
  if (!(*out = allocate_guarded(bytes))) return OUT_OF_MEMORY;
  s.pinned[(uintptr_t)*out] = bytes;
  s.counts.allocations++;
  return SUCCESS;
}
EXPORT int cuMemFreeHost(void* start) {
  LOCKED
  const auto it = s.pinned.find((uintptr_t)start);
  if (it == s.pinned.end()) return s.violation("pinned memory that does not exist is freed");
  for (void* stream : s.streams) s.drain((Stream*)stream);
  const size_t bytes = it->second;
  s.pinned.erase(it);
  return free_guarded(start, bytes) ? SUCCESS : s.violation("a write outside pinned memory");
}

EXPORT int cuMemcpyHtoDAsync_v2(uintptr_t to, const void* from, size_t bytes, void* handle) {
  LOCKED
  MAY_FAIL(LAUNCH_FAILED);
  s.counts.uploads++;
  Stream* stream = stream_of(handle);
  if (s.is_pinned((uintptr_t)from, bytes))
    return s.enqueue(stream, [&s, to, from, bytes] { return copy(s, (void*)to, from, bytes, true); });
  if (stream->capturing) return CAPTURE_UNSUPPORTED;
  // pageable memory is read before the call returns
  std::vector<char> copied((const char*)from, (const char*)from + bytes);
  return s.enqueue(stream, [&s, to, copied] { return copy(s, (void*)to, copied.data(), copied.size(), true); });
}
EXPORT int cuMemcpyDtoHAsync_v2(void* to, uintptr_t from, size_t bytes, void* handle) {
  LOCKED
  MAY_FAIL(LAUNCH_FAILED);
  s.counts.downloads++;
  Stream* stream = stream_of(handle);
  const auto work = [&s, to, from, bytes] { return copy(s, to, (void*)from, bytes, false); };
  if (s.is_pinned((uintptr_t)to, bytes)) return s.enqueue(stream, work);
  if (stream->capturing) return CAPTURE_UNSUPPORTED;
  s.counts.waits++;
  if (const Status status = s.drain(stream)) return status;
  return work();
}
EXPORT int cuMemsetD8Async(uintptr_t to, unsigned char value, size_t bytes, void* handle) {
  LOCKED
  MAY_FAIL(LAUNCH_FAILED);
  return s.enqueue(stream_of(handle), [&s, to, value, bytes] {
    if (!s.contains(to, bytes)) return s.violation("a memset accesses memory outside a buffer");
    return memset((void*)to, value, bytes), SUCCESS;
  });
}

EXPORT int cuStreamCreate(void** out, unsigned) {
  LOCKED
  MAY_FAIL(OUT_OF_MEMORY);
  *out = new Stream{bound, false, {}};
  return s.streams.insert(*out), SUCCESS;
}
EXPORT int cuStreamDestroy_v2(void* handle) {
  LOCKED
  if (!s.streams.count(handle)) return s.violation("a stream that does not exist is destroyed");
  Stream* stream = (Stream*)handle;
  if (!stream->capturing) s.drain(stream);
  s.streams.erase(handle);
  delete stream;
  return SUCCESS;
}
EXPORT int cuStreamSynchronize(void* handle) {
  LOCKED
  MAY_FAIL(LAUNCH_FAILED);
  if (stream_of(handle)->capturing) return CAPTURE_UNSUPPORTED;
  s.counts.waits++;
  return s.drain(stream_of(handle));
}
EXPORT int cuStreamWaitEvent(void* handle, void* event, unsigned) {
  LOCKED
  MAY_FAIL(LAUNCH_FAILED);
  if (stream_of(handle)->capturing) return CAPTURE_UNSUPPORTED;
  const auto record = *(std::shared_ptr<EventRecord>*)event;
  return s.enqueue(stream_of(handle), [&s, record] {
    return record->done ? SUCCESS : s.drain(record->stream, record.get());
  });
}

EXPORT int cuEventCreate(void** out, unsigned) {
  LOCKED
  MAY_FAIL(OUT_OF_MEMORY);
  *out = new std::shared_ptr<EventRecord>(new EventRecord{nullptr, true, 0});
  return s.events.insert(*out), SUCCESS;
}
EXPORT int cuEventDestroy_v2(void* event) {
  LOCKED
  if (!s.events.erase(event)) return s.violation("an event that does not exist is destroyed");
  delete (std::shared_ptr<EventRecord>*)event;
  return SUCCESS;
}
EXPORT int cuEventRecord(void* event, void* handle) {
  LOCKED
  MAY_FAIL(LAUNCH_FAILED);
  Stream* stream = stream_of(handle);
  if (stream->capturing) return CAPTURE_UNSUPPORTED;
  // a new record: waits for an earlier record of this event are unaffected
  auto& record = *(std::shared_ptr<EventRecord>*)event;
  record.reset(new EventRecord{stream, false, 0});
  return s.enqueue(stream, [&s, record] { return record->done = true, record->at = s.clock, SUCCESS; });
}
EXPORT int cuEventSynchronize(void* event) {
  LOCKED
  MAY_FAIL(LAUNCH_FAILED);
  const auto record = *(std::shared_ptr<EventRecord>*)event;
  if (record->done) return s.sticky_error;
  s.counts.waits++;
  return s.drain(record->stream, record.get());
}
EXPORT int cuEventElapsedTime_v2(float* milliseconds, void* start, void* end) {
  LOCKED
  MAY_FAIL(LAUNCH_FAILED);
  for (void* event : {start, end})
    if (!(*(std::shared_ptr<EventRecord>*)event)->done)
      return s.violation("the elapsed time of an event that is not complete");
  *milliseconds = (float)((*(std::shared_ptr<EventRecord>*)end)->at - (*(std::shared_ptr<EventRecord>*)start)->at);
  return SUCCESS;
}
EXPORT int cuEventElapsedTime(float* milliseconds, void* start, void* end) {
  return cuEventElapsedTime_v2(milliseconds, start, end);
}

EXPORT int cuStreamBeginCapture_v2(void* handle, int) {
  LOCKED
  MAY_FAIL(LAUNCH_FAILED);
  s.drain(stream_of(handle));
  return stream_of(handle)->capturing = true, SUCCESS;
}
EXPORT int cuStreamIsCapturing(void* handle, int* status) { return *status = stream_of(handle)->capturing, SUCCESS; }
EXPORT int cuStreamEndCapture(void* handle, void** out) {
  LOCKED
  Stream* stream = stream_of(handle);
  if (!stream->capturing) return INVALID_VALUE;
  stream->capturing = false;
  *out = nullptr;
  std::deque<Work> queue;
  queue.swap(stream->queue);
  MAY_FAIL(OUT_OF_MEMORY);
  *out = new Graph{{queue.begin(), queue.end()}};
  return s.counts.graphs++, SUCCESS;
}
EXPORT int cuGraphInstantiateWithFlags(void** out, void* graph, uint64_t) {
  LOCKED
  MAY_FAIL(OUT_OF_MEMORY);
  *out = new Graph(*(Graph*)graph);
  return s.counts.graphs++, SUCCESS;
}
EXPORT int cuGraphUpload(void*, void*) {
  LOCKED
  MAY_FAIL(OUT_OF_MEMORY);
  return SUCCESS;
}
EXPORT int cuGraphLaunch(void* graph, void* handle) {
  LOCKED
  MAY_FAIL(LAUNCH_FAILED);
  s.counts.replays++;
  for (const Work& work : ((Graph*)graph)->work)
    if (const Status status = s.enqueue(stream_of(handle), work)) return status;
  return SUCCESS;
}
EXPORT int cuGraphDestroy(void* graph) {
  LOCKED
  delete (Graph*)graph;
  return s.counts.graphs--, SUCCESS;
}
EXPORT int cuGraphExecDestroy(void* graph) { return cuGraphDestroy(graph); }

EXPORT int cuModuleLoadData(void** out, const void* image) {
  LOCKED
  MAY_FAIL(OUT_OF_MEMORY);
  auto* module = new Module;
  for (const auto& [name, sizes] : entries(s, (const char*)image)) {
    const auto found = host::kernels().find(name);
    if (found == host::kernels().end()) continue;  // one of candle's kernels
    if (found->second.sizes != sizes)
      return delete module, s.violation("the kernel parameters in the PTX differ from those in the source");
    module->functions[name] = {&found->second, name};
  }
  *out = module;
  return s.counts.modules++, SUCCESS;
}
EXPORT int cuModuleUnload(void* module) {
  LOCKED
  delete (Module*)module;
  return s.counts.modules--, SUCCESS;
}
EXPORT int cuModuleGetFunction(void** out, void* module, const char* name) {
  LOCKED
  MAY_FAIL(NOT_FOUND);
  auto& functions = ((Module*)module)->functions;
  const auto found = functions.find(name);
  if (found == functions.end()) return NOT_FOUND;
  return *out = &found->second, SUCCESS;
}
EXPORT int cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                          unsigned, void* handle, void** arguments, void**) {
  LOCKED
  MAY_FAIL(LAUNCH_FAILED);
  if (!gx || !gy || !gz || !bx || bx * by * bz > 1024 || gy > 65535 || gz > 65535) return INVALID_VALUE;
  s.counts.launches++;
  const host::Kernel* kernel = ((Function*)function)->kernel;
  std::vector<std::vector<char>> copied;
  for (size_t i = 0; i < kernel->sizes.size(); i++)
    copied.emplace_back((char*)arguments[i], (char*)arguments[i] + kernel->sizes[i]);
  return s.enqueue(stream_of(handle), [=, &s]() mutable {
    std::vector<void*> addresses;
    for (auto& argument : copied) {
      uintptr_t pointer = 0;
      addresses.push_back(argument.data());
      if (argument.size() != sizeof pointer) continue;
      memcpy(&pointer, argument.data(), sizeof pointer);
      if (!s.contains(pointer, 1)) return s.violation("a kernel argument points outside every buffer");
    }
    const bool barriers_ok = host::launch(*kernel, {gx, gy, gz}, {bx, by, bz}, addresses.data());
    return barriers_ok ? SUCCESS : s.violation("some threads of a block wait at a barrier after others have exited");
  });
}

// cuBLAS and cuRAND, which candle opens: handles without any functionality.
EXPORT int cublasGetProperty(int, int* value) { return *value = 13, 0; }
EXPORT int cublasCreate_v2(void** handle) { return *handle = malloc(1), 0; }
EXPORT int cublasDestroy_v2(void* handle) { return free(handle), 0; }
EXPORT int cublasSetStream_v2(void*, void*) { return 0; }
EXPORT int curandGetVersion(int* version) { return *version = 100400, 0; }
EXPORT int curandCreateGenerator(void** handle, int) { return *handle = malloc(1), 0; }
EXPORT int curandDestroyGenerator(void* handle) { return free(handle), 0; }
EXPORT int curandSetStream(void*, void*) { return 0; }
EXPORT int curandSetPseudoRandomGeneratorSeed(void*, uint64_t) { return 0; }
