// The part of CUDA's half type that the kernels use, for the CPU.
#pragma once
#include "host.h"

struct __half {
  _Float16 value;
};
inline float __half2float(__half x) { return x.value; }
inline __half __float2half_rn(float x) { return {(_Float16)x}; }
