// What every kernel shares: values of a map to floats and back, eight at a
// time, and the loop over a grid. Maps are NHWC, their channels padded with
// zeros to a multiple of eight, so eight values always lie in one pixel and
// start at a multiple of 16 bytes.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

// Registers a kernel with the processor's build; `WAITS` where threads wait for
// one another. CUDA finds kernels by their names.
#ifndef HOST_KERNEL
#define HOST_KERNEL(name)
#define HOST_KERNEL_WAITS(name)
#endif

// Values that one thread moves at once.
constexpr int EIGHT = 8;

__device__ __forceinline__ float to_float(__half x) { return __half2float(x); }
__device__ __forceinline__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float to_float(float x) { return x; }

__device__ __forceinline__ void from_float(float x, __half& y) { y = __float2half_rn(x); }
__device__ __forceinline__ void from_float(float x, __nv_bfloat16& y) { y = __float2bfloat16_rn(x); }
__device__ __forceinline__ void from_float(float x, float& y) { y = x; }

// Eight values from `p`, a multiple of 16 bytes, in loads of 16 bytes.
template <class T>
__device__ __forceinline__ void load_eight(const T* p, float (&x)[EIGHT]) {
  uint4 words[EIGHT * sizeof(T) / sizeof(uint4)];
#pragma unroll
  for (unsigned i = 0; i < sizeof(words) / sizeof(uint4); i++) words[i] = reinterpret_cast<const uint4*>(p)[i];
  const T* values = reinterpret_cast<const T*>(words);
#pragma unroll
  for (int i = 0; i < EIGHT; i++) x[i] = to_float(values[i]);
}

// Eight values to `p`, as `load_eight` reads them.
template <class T>
__device__ __forceinline__ void store_eight(T* p, const float (&x)[EIGHT]) {
  uint4 words[EIGHT * sizeof(T) / sizeof(uint4)];
  T* values = reinterpret_cast<T*>(words);
#pragma unroll
  for (int i = 0; i < EIGHT; i++) from_float(x[i], values[i]);
#pragma unroll
  for (unsigned i = 0; i < sizeof(words) / sizeof(uint4); i++) reinterpret_cast<uint4*>(p)[i] = words[i];
}

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// max(x, 0) where `relu` is not 0.
__device__ __forceinline__ float activate(float x, int relu) { return relu ? fmaxf(x, 0.0f) : x; }

// `i` runs over this thread's share of `count` items, whatever the grid. Counts
// stay below 2^31: divisions of 32 bits are several times as fast as of 64.
#define EACH(i, count)                                                                \
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < (unsigned)(count); \
       i += gridDim.x * blockDim.x)
