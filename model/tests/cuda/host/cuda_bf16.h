// The part of CUDA's bfloat16 type that the kernels use, for the CPU.
#pragma once
#include "host.h"

struct __nv_bfloat16 {
  uint16_t bits;
};
inline float __bfloat162float(__nv_bfloat16 x) {
  const uint32_t bits = (uint32_t)x.bits << 16;
  float y;
  memcpy(&y, &bits, sizeof y);
  return y;
}
inline __nv_bfloat16 __float2bfloat16_rn(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  if (x != x) return {(uint16_t)(bits >> 16 | 64)};
  return {(uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};  // round half to even
}
