// Group norm (Wu and He 2018) in two kernels: statistics, then normalization.

#ifndef BLOCK_SUM
#define BLOCK_SUM
// Returns the sum of `x` over the 256 threads of a block, in every thread.
__device__ __forceinline__ float block_sum(float x) {
  __shared__ float parts[8];
  for (int lanes = 16; lanes; lanes /= 2) x += __shfl_xor_sync(~0u, x, lanes);
  __syncthreads();
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = 0.0f;
  for (int warp = 0; warp < 8; warp++) sum += parts[warp];
  return sum;
}
#endif

// statistics[n, group] = (mean, 1 / sqrt(var + epsilon)) over `pixels` pixels and
// the `size` channels of a group. Block size 256, grid size (groups, n). Two
// passes, because E[x^2] - E[x]^2 would suffer from cancellation.
extern "C" __global__ void NAMED(group_statistics)(const VALUE* x, float* statistics, int channels, int size,
                                                   int pixels, float epsilon) {
  const VALUE* group = x + (size_t)blockIdx.y * pixels * channels + blockIdx.x * size;
  const int count = pixels * size;
  float sum = 0.0f;
  for (int i = threadIdx.x; i < count; i += blockDim.x)
    sum += to_float(group[(size_t)(i / size) * channels + i % size]);
  const float mean = block_sum(sum) / count;
  float squares = 0.0f;
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    const float centred = to_float(group[(size_t)(i / size) * channels + i % size]) - mean;
    squares += centred * centred;
  }
  const float variance = block_sum(squares) / count;
  if (threadIdx.x == 0) {
    float* out = statistics + 2 * ((size_t)blockIdx.y * gridDim.x + blockIdx.x);
    out[0] = mean;
    out[1] = 1.0f / sqrtf(variance + epsilon);
  }
}
HOST_KERNEL_WITH_BARRIERS(NAMED(group_statistics))

// y = act((x - mean) / deviation * scale[c] + shift[c] + residual); without `add`,
// `residual` is not read. One loop item is eight channels of a pixel. Padding channels belong to no group; their scale and shift
// are 0.
extern "C" __global__ void NAMED(group_norm)(const VALUE* x, const float* statistics, const float* scale,
                                             const float* shift, const VALUE* residual, VALUE* y, int channels,
                                             int size, int groups, int pixels, int add, int relu, int count) {
  const unsigned eights = channels / EIGHT;
  EACH(i, count) {
    const int c = i % eights * EIGHT;
    const size_t n = i / eights / pixels;
    float v[EIGHT], a[EIGHT], b[EIGHT], r[EIGHT] = {};
    load_eight(x + EIGHT * (size_t)i, v);
    load_eight(scale + c, a);
    load_eight(shift + c, b);
    if (add) load_eight(residual + EIGHT * (size_t)i, r);
#pragma unroll
    for (int k = 0; k < EIGHT; k++) {
      const float* s = statistics + 2 * (n * groups + min((c + k) / size, groups - 1));
      v[k] = activate((v[k] - s[0]) * s[1] * a[k] + b[k] + r[k], relu);
    }
    store_eight(y + EIGHT * (size_t)i, v);
  }
}
HOST_KERNEL(NAMED(group_norm))
