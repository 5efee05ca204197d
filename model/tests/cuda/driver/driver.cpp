// A CUDA driver without a card: memory, streams, events, graphs and modules,
// strict about everything a real one is strict about or silent on. A test
// loads it under the names of the real libraries.
#include "../host/host.h"
#include "../../../kernels/kernels.cu"
#include "state.h"

using namespace fake;

namespace {

constexpr size_t ZONE = 512;               // bytes on each side of a buffer and of pinned memory
constexpr unsigned char ZONE_BYTE = 0xA5;  // what stands in them
constexpr unsigned char FRESH = 0xFF;      // new memory: NaN in every type

thread_local int bound = -1;

// New memory between two red zones.
void* fenced(size_t bytes) {
  void* raw = nullptr;
  if (posix_memalign(&raw, 512, bytes + 2 * ZONE)) return nullptr;
  memset(raw, ZONE_BYTE, bytes + 2 * ZONE);
  return memset((char*)raw + ZONE, FRESH, bytes);
}

// Frees it; whether its zones are as they were.
bool unfence(void* start, size_t bytes) {
  const unsigned char* at = (unsigned char*)start;
  bool whole = true;
  for (size_t i = 1; i <= ZONE; i++) whole &= at[-(ptrdiff_t)i] == ZONE_BYTE && at[bytes + i - 1] == ZONE_BYTE;
  free((char*)start - ZONE);
  return whole;
}

Status allocate(State& s, uintptr_t* out, size_t bytes) {
  size_t used = 0;
  for (const auto& [start, buffer] : s.buffers)
    if (buffer.device == bound) used += buffer.bytes;
  void* start = used + bytes > s.memory ? nullptr : fenced(bytes);
  if (!start) return OUT_OF_MEMORY;
  *out = (uintptr_t)start;
  s.buffers[*out] = {bytes, bound};
  s.counts.allocations++;
  return SUCCESS;
}

Status release(State& s, uintptr_t start) {
  const auto it = s.buffers.find(start);
  if (it == s.buffers.end()) return s.broken("a buffer is freed that does not exist");
  const size_t bytes = it->second.bytes;
  s.buffers.erase(it);
  return unfence((void*)start, bytes) ? SUCCESS : s.broken("a write outside a buffer");
}

Status copy(State& s, void* to, const void* from, size_t bytes, bool device_writes) {
  if (!s.holds((uintptr_t)(device_writes ? to : from), bytes)) return s.broken("a copy outside a buffer");
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
  // a context takes its error and its memory with it
  if (--s.retained[device] == 0 && s.lost) {
    while (!s.buffers.empty()) release(s, s.buffers.begin()->first);
    s.lost = SUCCESS;
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
  return s.lost;
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
    if (((Stream*)stream)->capturing) return s.broken("an allocation while a stream captures");
  return allocate(s, out, bytes);
}
EXPORT int cuMemAllocAsync(uintptr_t* out, size_t bytes, void*) { return cuMemAlloc_v2(out, bytes); }
EXPORT int cuMemFree_v2(uintptr_t start) {
  LOCKED
  // waits for every stream, as the real one does
  for (void* stream : s.streams) s.drain((Stream*)stream);
  if (s.lost) return s.lost;
  return release(s, start);
}
EXPORT int cuMemFreeAsync(uintptr_t start, void* handle) {
  LOCKED
  Stream* stream = stream_of(handle);
  if (stream->capturing) return s.broken("a buffer is freed while its stream captures");
  if (s.lost) return s.lost;
  return s.submit(stream, [&s, start] { return release(s, start); });
}
EXPORT int cuMemHostAlloc(void** out, size_t bytes, unsigned) {
  LOCKED
  MAY_FAIL(OUT_OF_MEMORY);
  if (!(*out = fenced(bytes))) return OUT_OF_MEMORY;
  s.pinned[(uintptr_t)*out] = bytes;
  s.counts.allocations++;
  return SUCCESS;
}
EXPORT int cuMemFreeHost(void* start) {
  LOCKED
  const auto it = s.pinned.find((uintptr_t)start);
  if (it == s.pinned.end()) return s.broken("pinned memory is freed that does not exist");
  for (void* stream : s.streams) s.drain((Stream*)stream);
  const size_t bytes = it->second;
  s.pinned.erase(it);
  return unfence(start, bytes) ? SUCCESS : s.broken("a write outside pinned memory");
}

EXPORT int cuMemcpyHtoDAsync_v2(uintptr_t to, const void* from, size_t bytes, void* handle) {
  LOCKED
  MAY_FAIL(LAUNCH_FAILED);
  s.counts.uploads++;
  Stream* stream = stream_of(handle);
  if (s.is_pinned((uintptr_t)from, bytes))
    return s.submit(stream, [&s, to, from, bytes] { return copy(s, (void*)to, from, bytes, true); });
  if (stream->capturing) return CAPTURE_UNSUPPORTED;
  // memory that is not pinned is read before the call returns
  std::vector<char> kept((const char*)from, (const char*)from + bytes);
  return s.submit(stream, [&s, to, kept] { return copy(s, (void*)to, kept.data(), kept.size(), true); });
}
EXPORT int cuMemcpyDtoHAsync_v2(void* to, uintptr_t from, size_t bytes, void* handle) {
  LOCKED
  MAY_FAIL(LAUNCH_FAILED);
  s.counts.downloads++;
  Stream* stream = stream_of(handle);
  const auto work = [&s, to, from, bytes] { return copy(s, to, (void*)from, bytes, false); };
  if (s.is_pinned((uintptr_t)to, bytes)) return s.submit(stream, work);
  if (stream->capturing) return CAPTURE_UNSUPPORTED;
  s.counts.waits++;
  if (const Status status = s.drain(stream)) return status;
  return work();
}
EXPORT int cuMemsetD8Async(uintptr_t to, unsigned char value, size_t bytes, void* handle) {
  LOCKED
  MAY_FAIL(LAUNCH_FAILED);
  return s.submit(stream_of(handle), [&s, to, value, bytes] {
    if (!s.holds(to, bytes)) return s.broken("a memset outside a buffer");
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
  if (!s.streams.count(handle)) return s.broken("a stream is destroyed that does not exist");
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
  const auto mark = *(std::shared_ptr<Mark>*)event;
  return s.submit(stream_of(handle), [&s, mark] { return mark->done ? SUCCESS : s.drain(mark->stream, mark.get()); });
}

EXPORT int cuEventCreate(void** out, unsigned) {
  LOCKED
  MAY_FAIL(OUT_OF_MEMORY);
  *out = new std::shared_ptr<Mark>(new Mark{nullptr, true, 0});
  return s.events.insert(*out), SUCCESS;
}
EXPORT int cuEventDestroy_v2(void* event) {
  LOCKED
  if (!s.events.erase(event)) return s.broken("an event is destroyed that does not exist");
  delete (std::shared_ptr<Mark>*)event;
  return SUCCESS;
}
EXPORT int cuEventRecord(void* event, void* handle) {
  LOCKED
  MAY_FAIL(LAUNCH_FAILED);
  Stream* stream = stream_of(handle);
  if (stream->capturing) return CAPTURE_UNSUPPORTED;
  // a new mark: who waits for an earlier one goes on waiting for that
  auto& mark = *(std::shared_ptr<Mark>*)event;
  mark.reset(new Mark{stream, false, 0});
  return s.submit(stream, [&s, mark] { return mark->done = true, mark->at = s.clock, SUCCESS; });
}
EXPORT int cuEventSynchronize(void* event) {
  LOCKED
  MAY_FAIL(LAUNCH_FAILED);
  const auto mark = *(std::shared_ptr<Mark>*)event;
  if (mark->done) return s.lost;
  s.counts.waits++;
  return s.drain(mark->stream, mark.get());
}
EXPORT int cuEventElapsedTime_v2(float* milliseconds, void* start, void* end) {
  LOCKED
  MAY_FAIL(LAUNCH_FAILED);
  for (void* event : {start, end})
    if (!(*(std::shared_ptr<Mark>*)event)->done) return s.broken("the time to an event that has not come");
  *milliseconds = (float)((*(std::shared_ptr<Mark>*)end)->at - (*(std::shared_ptr<Mark>*)start)->at);
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
    if (const Status status = s.submit(stream_of(handle), work)) return status;
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
    if (found == host::kernels().end()) continue;  // one of candle's own
    if (found->second.sizes != sizes) return delete module, s.broken("the PTX is not made from the kernels");
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
  std::vector<std::vector<char>> kept;
  for (size_t i = 0; i < kernel->sizes.size(); i++)
    kept.emplace_back((char*)arguments[i], (char*)arguments[i] + kernel->sizes[i]);
  return s.submit(stream_of(handle), [=, &s]() mutable {
    std::vector<void*> addresses;
    for (auto& argument : kept) {
      uintptr_t pointer = 0;
      addresses.push_back(argument.data());
      if (argument.size() != sizeof pointer) continue;
      memcpy(&pointer, argument.data(), sizeof pointer);
      if (!s.holds(pointer, 1)) return s.broken("a kernel is given a pointer to no buffer");
    }
    const bool whole = host::launch(*kernel, {gx, gy, gz}, {bx, by, bz}, addresses.data());
    return whole ? SUCCESS : s.broken("threads of a block wait for others that have ended");
  });
}

// What candle opens beside the driver: handles, and nothing behind them.
EXPORT int cublasGetProperty(int, int* value) { return *value = 13, 0; }
EXPORT int cublasCreate_v2(void** handle) { return *handle = malloc(1), 0; }
EXPORT int cublasDestroy_v2(void* handle) { return free(handle), 0; }
EXPORT int cublasSetStream_v2(void*, void*) { return 0; }
EXPORT int curandGetVersion(int* version) { return *version = 100400, 0; }
EXPORT int curandCreateGenerator(void** handle, int) { return *handle = malloc(1), 0; }
EXPORT int curandDestroyGenerator(void* handle) { return free(handle), 0; }
EXPORT int curandSetStream(void*, void*) { return 0; }
EXPORT int curandSetPseudoRandomGeneratorSeed(void*, uint64_t) { return 0; }
