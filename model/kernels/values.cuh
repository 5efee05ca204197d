// Common code of the kernels: conversion between stored values and floats, eight
// at a time, and the grid-stride loop. Feature maps are NHWC, with channels
// zero-padded to a multiple of eight. So each group of eight values belongs to one
// pixel and is aligned to 16 bytes.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

// Registers a kernel in the CPU build; `WITH_BARRIERS` if its threads synchronize.
// In CUDA builds both are empty, because the driver finds kernels by name.
#ifndef HOST_KERNEL
#define HOST_KERNEL(name)
#define HOST_KERNEL_WITH_BARRIERS(name)
#endif

// Number of values that one thread loads and stores together.
constexpr int EIGHT = 8;

__device__ __forceinline__ float to_float(__half x) { return __half2float(x); }
__device__ __forceinline__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float to_float(float x) { return x; }

__device__ __forceinline__ void from_float(float x, __half& y) { y = __float2half_rn(x); }
__device__ __forceinline__ void from_float(float x, __nv_bfloat16& y) { y = __float2bfloat16_rn(x); }
__device__ __forceinline__ void from_float(float x, float& y) { y = x; }

// Loads eight values from `p` with 16-byte loads. `p` is aligned to 16 bytes.
template <class T>
__device__ __forceinline__ void load_eight(const T* p, float (&x)[EIGHT]) {
  uint4 words[EIGHT * sizeof(T) / sizeof(uint4)];
#pragma unroll
  for (unsigned i = 0; i < sizeof(words) / sizeof(uint4); i++) words[i] = reinterpret_cast<const uint4*>(p)[i];
  const T* values = reinterpret_cast<const T*>(words);
#pragma unroll
  for (int i = 0; i < EIGHT; i++) x[i] = to_float(values[i]);
}

// Stores eight values at `p`; the counterpart of `load_eight`.
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

// The identity if `relu` is 0, otherwise ReLU.
__device__ __forceinline__ float activate(float x, int relu) { return relu ? fmaxf(x, 0.0f) : x; }

// Grid-stride loop: `i` runs over this thread's share of `count` items. Counts
// are below 2^31, because 32-bit divisions are several times faster than 64-bit.
#define EACH(i, count)                                                                \
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < (unsigned)(count); \
       i += gridDim.x * blockDim.x)
