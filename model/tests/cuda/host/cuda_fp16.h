// CUDA's half type for the processor, as much of it as the kernels use.
#pragma once
#include "host.h"

struct __half {
  _Float16 value;
};
inline float __half2float(__half x) { return x.value; }
inline __half __float2half_rn(float x) { return {(_Float16)x}; }
