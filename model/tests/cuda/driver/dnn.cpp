// A fake of cuDNN's backend API that needs no GPU. Descriptors are validated when
// they are finalized. Every graph of a convolution and its epilogue has three
// engines. Plans are executed in float on any of the three data types.
#include "../host/cuda_bf16.h"
#include "../host/cuda_fp16.h"
#include "state.h"

using namespace fake;

namespace {

// The values of cudnn_graph.h.
enum { OK = 0, BAD_PARAM = 2000, NOT_FINALIZED = 2004, UNSUPPORTED = 3000, INTERNAL = 4000, EXECUTION_FAILED = 5000 };
enum { POINTWISE, CONVOLUTION, ENGINE, ENGINE_CONFIG, HEURISTIC, PLAN };
enum { CONVOLUTION_FORWARD = 10, POINTWISE_OPERATION = 13, OPERATION_GRAPH = 15, VARIANT_PACK, TENSOR };
enum { FLOAT_DATA = 0, HALF_DATA = 2, BFLOAT_DATA = 9 };
enum { ADD = 0, RELU = 100 };

struct Attribute {
  int type;
  int64_t count;
  std::vector<char> bytes;
};
struct Descriptor {
  int kind;
  bool final = false;
  std::map<int, Attribute> attributes;
};
struct Handle {
  void* stream = nullptr;
};

size_t size_of(int type) {
  switch (type) {
    case 2: return 1;                                     // boolean
    case 1: case 4: case 7: case 8: case 11: case 14: return 4;  // enums and floats
    default: return 8;
  }
}

template <class T>
T get(const Descriptor* d, int name, size_t i = 0) {
  T value;
  memcpy(&value, d->attributes.at(name).bytes.data() + i * sizeof(T), sizeof(T));
  return value;
}
int64_t count(const Descriptor* d, int name) {
  const auto found = d->attributes.find(name);
  return found == d->attributes.end() ? 0 : found->second.count;
}
const Descriptor* child(const Descriptor* d, int name, size_t i = 0) { return get<const Descriptor*>(d, name, i); }

// The attributes of a finalized tensor descriptor.
struct Tensor {
  int64_t dims[4], strides[4], id, alignment;
  int type;
  bool is_virtual;
  explicit Tensor(const Descriptor* d) {
    for (int i = 0; i < 4; i++) dims[i] = get<int64_t>(d, 902, i), strides[i] = get<int64_t>(d, 903, i);
    id = get<int64_t>(d, 906), alignment = get<int64_t>(d, 900), type = get<int>(d, 901);
    is_virtual = count(d, 907) && get<bool>(d, 907);
  }
  int64_t values() const { return dims[0] * dims[1] * dims[2] * dims[3]; }
  size_t bytes() const { return values() * (type == FLOAT_DATA ? 4 : 2); }
  // whether the dimensions N, C, H, W are stored densely with channels last
  bool channels_last() const {
    return strides[1] == 1 && strides[3] == dims[1] && strides[2] == dims[3] * strides[3] &&
           strides[0] == dims[2] * strides[2];
  }
  std::vector<float> read(const void* at) const {
    std::vector<float> all(values());
    for (int64_t i = 0; i < values(); i++)
      all[i] = type == FLOAT_DATA  ? ((const float*)at)[i]
               : type == HALF_DATA ? __half2float(((const __half*)at)[i])
                                   : __bfloat162float(((const __nv_bfloat16*)at)[i]);
    return all;
  }
  void write(void* at, const std::vector<float>& all) const {
    for (int64_t i = 0; i < values(); i++)
      if (type == FLOAT_DATA) ((float*)at)[i] = all[i];
      else if (type == HALF_DATA) ((__half*)at)[i] = __float2half_rn(all[i]);
      else ((__nv_bfloat16*)at)[i] = __float2bfloat16_rn(all[i]);
  }
};

// Whether a descriptor has all required attributes for finalization.
bool complete(const Descriptor* d) {
  const std::map<int, std::vector<int>> needed = {
      {POINTWISE, {0, 1}},
      {CONVOLUTION, {100, 101, 102, 103, 104, 105, 106}},
      {HEURISTIC, {200, 201}},
      {ENGINE_CONFIG, {300}},
      {PLAN, {400, 401}},
      {CONVOLUTION_FORWARD, {702, 703, 704, 705}},
      {POINTWISE_OPERATION, {750, 751, 753}},
      {OPERATION_GRAPH, {800, 801}},
      {VARIANT_PACK, {1000, 1001, 1003}},
      {TENSOR, {900, 901, 902, 903, 906}},
  };
  const auto found = needed.find(d->kind);
  if (found == needed.end()) return false;
  for (int name : found->second)
    if (!count(d, name)) return false;
  // every descriptor that it refers to must exist and be finalized
  for (const auto& [name, attribute] : d->attributes) {
    if (attribute.type != 15) continue;
    for (int64_t i = 0; i < attribute.count; i++) {
      const Descriptor* other = child(d, name, i);
      if (!state().descriptors.count((void*)other) || !other->final) return false;
    }
  }
  return true;
}

bool valid_convolution(const Descriptor* op) {
  const Descriptor* c = child(op, 702);
  const Tensor w(child(op, 703)), x(child(op, 704)), y(child(op, 705));
  if (!x.channels_last() || !y.channels_last() || !w.channels_last()) return false;
  if (x.dims[1] % w.dims[1] || y.dims[1] != w.dims[0] || y.dims[0] != x.dims[0]) return false;
  if (w.dims[0] % (x.dims[1] / w.dims[1])) return false;
  for (int i = 0; i < 2; i++) {
    const int64_t padding = get<int64_t>(c, 105, i), stride = get<int64_t>(c, 103, i);
    if (get<int64_t>(c, 102, i) != 1 || get<int64_t>(c, 104, i) != padding) return false;
    if (y.dims[2 + i] != (x.dims[2 + i] + 2 * padding - w.dims[2 + i]) / stride + 1) return false;
  }
  return get<int>(c, 101) == 1 && get<int>(c, 100) == FLOAT_DATA;  // cross-correlation, float accumulation
}

std::vector<float> convolve(const Descriptor* op, const std::vector<float>& in, const std::vector<float>& weight) {
  const Descriptor* c = child(op, 702);
  const Tensor w(child(op, 703)), x(child(op, 704)), y(child(op, 705));
  const int64_t stride = get<int64_t>(c, 103), padding = get<int64_t>(c, 105);
  const int64_t inputs = w.dims[1], groups = x.dims[1] / inputs, outputs = w.dims[0] / groups;
  const int64_t height = w.dims[2], width = w.dims[3];
  // [K, R, S, C] to [group, R, S, C, K], so that the inner loop is contiguous
  std::vector<float> transposed(weight.size()), all(y.values(), 0.0f);
  for (int64_t k = 0; k < w.dims[0]; k++)
    for (int64_t i = 0; i < height * width * inputs; i++)
      transposed[(k / outputs * height * width * inputs + i) * outputs + k % outputs] =
          weight[k * height * width * inputs + i];
  for (int64_t n = 0; n < y.dims[0]; n++)
    for (int64_t oy = 0; oy < y.dims[2]; oy++)
      for (int64_t ox = 0; ox < y.dims[3]; ox++)
        for (int64_t r = 0; r < height; r++)
          for (int64_t t = 0; t < width; t++) {
            const int64_t iy = oy * stride - padding + r, ix = ox * stride - padding + t;
            if (iy < 0 || ix < 0 || iy >= x.dims[2] || ix >= x.dims[3]) continue;
            const float* from = &in[((n * x.dims[2] + iy) * x.dims[3] + ix) * x.dims[1]];
            float* to = &all[((n * y.dims[2] + oy) * y.dims[3] + ox) * y.dims[1]];
            for (int64_t g = 0; g < groups; g++)
              for (int64_t i = 0; i < inputs; i++) {
                const float* line = &transposed[(((g * height + r) * width + t) * inputs + i) * outputs];
                const float value = from[g * inputs + i];
                for (int64_t k = 0; k < outputs; k++) to[g * outputs + k] += value * line[k];
              }
          }
  state().counts.convolutions++;
  if (state().wrong_convolutions)
    for (float& v : all) v *= 1.05f;
  return all;
}

// Runs a plan's operations; `at` holds the address of each tensor by its ID.
Status run(const std::vector<const Descriptor*>& ops, const std::map<int64_t, void*>& at) {
  State& s = state();
  std::map<int64_t, std::vector<float>> virtual_values;
  const auto value = [&](const Descriptor* d) {
    const Tensor t(d);
    if (t.is_virtual) return virtual_values.at(t.id);
    return t.read(at.at(t.id));
  };
  for (const Descriptor* op : ops) {
    std::vector<float> result;
    const Tensor y(child(op, op->kind == CONVOLUTION_FORWARD ? 705 : 753));
    if (op->kind == CONVOLUTION_FORWARD) {
      result = convolve(op, value(child(op, 704)), value(child(op, 703)));
    } else if (get<int>(child(op, 750), 0) == ADD) {
      result = value(child(op, 751));
      const std::vector<float> other = value(child(op, 752));
      // a bias has the size of a pixel, a residual that of the feature map
      for (size_t i = 0; i < result.size(); i++) result[i] += other[i % other.size()];
    } else {
      result = value(child(op, 751));
      for (float& v : result) v = v < 0 ? 0 : v;
    }
    if (y.is_virtual) virtual_values[y.id] = std::move(result);
    else y.write(at.at(y.id), result);
  }
  s.clock += 0.01;
  return SUCCESS;
}

// The distinct tensors of a graph, by ID.
std::map<int64_t, Tensor> tensors(const std::vector<const Descriptor*>& ops) {
  std::map<int64_t, Tensor> all;
  for (const Descriptor* op : ops)
    for (int name : {703, 704, 705, 751, 752, 753})
      if (count(op, name)) all.emplace(Tensor(child(op, name)).id, Tensor(child(op, name)));
  return all;
}

std::vector<const Descriptor*> operations(const Descriptor* graph) {
  std::vector<const Descriptor*> ops;
  for (int64_t i = 0; i < count(graph, 801); i++) ops.push_back(child(graph, 801, i));
  return ops;
}

constexpr int64_t ENGINES = 3;  // the first is slow, the second is fast, the third is not supported

int64_t engine_of(const Descriptor* plan) { return get<int64_t>(child(plan, 401), -1); }

// Workspace size of a plan in bytes.
size_t workspace(const State& s, const Descriptor* plan) {
  const Descriptor* graph = child(child(plan, 401), 300);
  const auto all = tensors(operations(graph));
  const int64_t images = all.at(1).dims[0];  // the input's
  return (engine_of(plan) == 0 ? 4096 : 512) + images * s.workspace;
}

}  // namespace

EXPORT size_t cudnnGetVersion() { return state().cudnn_version; }
EXPORT const char* cudnnGetErrorString(int) { return "fake cuDNN error"; }
EXPORT void cudnnGetLastErrorString(char* text, size_t size) { snprintf(text, size, "fake"); }
EXPORT int cudnnCreate(void** handle) {
  LOCKED
  if (s.call(OUT_OF_MEMORY)) return INTERNAL;
  s.counts.handles++;
  return *handle = new Handle, OK;
}
EXPORT int cudnnDestroy(void* handle) {
  LOCKED
  s.counts.handles--;
  return delete (Handle*)handle, OK;
}
EXPORT int cudnnSetStream(void* handle, void* stream) {
  LOCKED
  if (s.call(OUT_OF_MEMORY)) return INTERNAL;
  return ((Handle*)handle)->stream = stream, OK;
}

EXPORT int cudnnBackendCreateDescriptor(int kind, void** out) {
  LOCKED
  if (s.call(OUT_OF_MEMORY)) return INTERNAL;
  *out = new Descriptor{kind, false, {}};
  return s.descriptors.insert(*out), OK;
}
EXPORT int cudnnBackendDestroyDescriptor(void* descriptor) {
  LOCKED
  if (!s.descriptors.erase(descriptor)) return s.violation("a descriptor that does not exist is destroyed"), BAD_PARAM;
  return delete (Descriptor*)descriptor, OK;
}
EXPORT int cudnnBackendSetAttribute(void* descriptor, int name, int type, int64_t count, const void* values) {
  LOCKED
  if (s.call(OUT_OF_MEMORY)) return INTERNAL;
  auto* d = (Descriptor*)descriptor;
  if (!s.descriptors.count(descriptor) || d->final || count <= 0) return BAD_PARAM;
  const char* bytes = (const char*)values;
  d->attributes[name] = {type, count, {bytes, bytes + count * size_of(type)}};
  return OK;
}
EXPORT int cudnnBackendFinalize(void* descriptor) {
  LOCKED
  if (s.call(OUT_OF_MEMORY)) return INTERNAL;
  auto* d = (Descriptor*)descriptor;
  if (!s.descriptors.count(descriptor) || d->final || !complete(d)) return BAD_PARAM;
  if (d->kind == CONVOLUTION_FORWARD && !valid_convolution(d)) return BAD_PARAM;
  if (d->kind == PLAN && (engine_of(d) == ENGINES - 1 || s.reject_plans)) return UNSUPPORTED;
  return d->final = true, OK;
}
EXPORT int cudnnBackendGetAttribute(void* descriptor, int name, int, int64_t requested, int64_t* found, void* out) {
  LOCKED
  if (s.call(OUT_OF_MEMORY)) return INTERNAL;
  auto* d = (Descriptor*)descriptor;
  if (!s.descriptors.count(descriptor) || !d->final) return NOT_FINALIZED;
  if (d->kind == HEURISTIC && name == 202) {
    *found = ENGINES;
    for (int64_t i = 0; i < std::min(requested, ENGINES); i++) {
      Descriptor* config = ((Descriptor**)out)[i];
      if (!s.descriptors.count(config) || config->kind != ENGINE_CONFIG) return BAD_PARAM;
      const Descriptor* graph = child(d, 201);
      config->attributes[-1] = {3, 1, {(char*)&i, (char*)&i + 8}};          // the engine
      config->attributes[300] = {15, 1, {(char*)&graph, (char*)&graph + 8}};  // the graph
      config->final = true;
    }
    return OK;
  }
  if (d->kind == PLAN && name == 402) {
    *found = 1;
    return *(int64_t*)out = workspace(s, d), OK;
  }
  if (d->kind == ENGINE_CONFIG && name == 300) {
    Descriptor* engine = *(Descriptor**)out;
    if (!s.descriptors.count(engine) || engine->kind != ENGINE) return BAD_PARAM;
    engine->final = true;
    return *found = 1, OK;
  }
  if (d->kind == ENGINE && name == 1303) return *found = 0, OK;  // no numerical notes
  return UNSUPPORTED;
}

EXPORT int cudnnBackendExecute(void* handle, void* plan_, void* pack_) {
  LOCKED
  if (s.call(OUT_OF_MEMORY)) return EXECUTION_FAILED;
  auto *plan = (Descriptor*)plan_, *pack = (Descriptor*)pack_;
  if (!s.descriptors.count(plan) || !s.descriptors.count(pack) || !plan->final || !pack->final) return NOT_FINALIZED;
  const Descriptor* graph = child(child(plan, 401), 300);
  if (!s.descriptors.count((void*)graph))
    return s.violation("a plan is executed after its graph was destroyed"), BAD_PARAM;
  const std::vector<const Descriptor*> ops = operations(graph);
  for (const Descriptor* op : ops) {
    if (!s.descriptors.count((void*)op))
      return s.violation("a graph is executed after its operations were destroyed"), BAD_PARAM;
    for (int name : {702, 703, 704, 705, 750, 751, 752, 753})
      if (count(op, name) && !s.descriptors.count((void*)child(op, name)))
        return s.violation("an operation is executed after a descriptor it refers to was destroyed"), BAD_PARAM;
  }
  std::map<int64_t, void*> at;
  for (int64_t i = 0; i < count(pack, 1000); i++) at[get<int64_t>(pack, 1000, i)] = get<void*>(pack, 1001, i);
  struct Range {
    uintptr_t start;
    size_t bytes;
  };
  std::vector<Range> ranges;
  const int64_t engine = engine_of(plan);
  ranges.push_back({(uintptr_t)get<void*>(pack, 1003), workspace(s, plan)});
  for (const auto& [id, tensor] : tensors(ops)) {
    if (tensor.is_virtual) continue;
    if (!at.count(id) || (uintptr_t)at[id] % tensor.alignment) return BAD_PARAM;
    ranges.push_back({(uintptr_t)at[id], tensor.bytes()});
  }
  return s.enqueue(stream_of(((Handle*)handle)->stream), [=, &s] {
    for (const Range& range : ranges)
      if (!s.contains(range.start, range.bytes))
        return s.violation("a convolution accesses memory outside its buffers");
    s.clock += engine == 0 ? 3 : 1;
    return run(ops, at);
  }) ? EXECUTION_FAILED : OK;
}
