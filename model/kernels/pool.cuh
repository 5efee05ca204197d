// Pooling over windows and global pooling. One loop item is eight channels of an
// output pixel; `count` = n * hout * wout * channels / 8.

// Max pooling. If `zeros` is 0, the padding is ignored; otherwise it counts as
// zeros.
extern "C" __global__ void NAMED(max_pool)(const VALUE* x, VALUE* y, int channels, int hin, int win, int hout,
                                           int wout, int kernel, int stride, int padding, int zeros, int count) {
  const unsigned eights = channels / EIGHT;
  EACH(i, count) {
    const int c = i % eights * EIGHT, ox = i / eights % wout, oy = i / eights / wout % hout;
    const size_t n = i / eights / wout / hout;
    float best[EIGHT];
#pragma unroll
    for (int k = 0; k < EIGHT; k++) best[k] = -INFINITY;
    for (int iy = oy * stride - padding; iy < oy * stride - padding + kernel; iy++)
      for (int ix = ox * stride - padding; ix < ox * stride - padding + kernel; ix++) {
        float v[EIGHT] = {};
        if (iy >= 0 && iy < hin && ix >= 0 && ix < win)
          load_eight(x + ((n * hin + iy) * win + ix) * channels + c, v);
        else if (!zeros)
          continue;
#pragma unroll
        for (int k = 0; k < EIGHT; k++) best[k] = fmaxf(best[k], v[k]);
      }
    store_eight(y + EIGHT * (size_t)i, best);
  }
}
HOST_KERNEL(NAMED(max_pool))

// Average pooling with kernel size and stride `size`. A window that extends past
// the right or bottom edge averages only the pixels inside.
extern "C" __global__ void NAMED(average_pool)(const VALUE* x, VALUE* y, int channels, int hin, int win, int hout,
                                               int wout, int size, int count) {
  const unsigned eights = channels / EIGHT;
  EACH(i, count) {
    const int c = i % eights * EIGHT, ox = i / eights % wout, oy = i / eights / wout % hout;
    const size_t n = i / eights / wout / hout;
    const int bottom = min((oy + 1) * size, hin), right = min((ox + 1) * size, win);
    float sum[EIGHT] = {};
    for (int iy = oy * size; iy < bottom; iy++)
      for (int ix = ox * size; ix < right; ix++) {
        float v[EIGHT];
        load_eight(x + ((n * hin + iy) * win + ix) * channels + c, v);
#pragma unroll
        for (int k = 0; k < EIGHT; k++) sum[k] += v[k];
      }
    const float share = 1.0f / ((bottom - oy * size) * (right - ox * size));
#pragma unroll
    for (int k = 0; k < EIGHT; k++) sum[k] *= share;
    store_eight(y + EIGHT * (size_t)i, sum);
  }
}
HOST_KERNEL(NAMED(average_pool))

// A 3x3 binomial filter, [1 2 1] / 4 in both directions, with stride 2. Pixels outside
// the feature map are reflected at its first and last pixel.
extern "C" __global__ void NAMED(blur_pool)(const VALUE* x, VALUE* y, int channels, int hin, int win, int hout,
                                            int wout, int count) {
  const unsigned eights = channels / EIGHT;
  EACH(i, count) {
    const int c = i % eights * EIGHT, ox = i / eights % wout, oy = i / eights / wout % hout;
    const size_t n = i / eights / wout / hout;
    float sum[EIGHT] = {};
    for (int dy = -1; dy <= 1; dy++)
      for (int dx = -1; dx <= 1; dx++) {
        const int down = abs(2 * oy + dy), right = abs(2 * ox + dx);
        const int iy = min(down, max(2 * hin - 2 - down, 0)), ix = min(right, max(2 * win - 2 - right, 0));
        const float weight = (dy ? 0.25f : 0.5f) * (dx ? 0.25f : 0.5f);
        float v[EIGHT];
        load_eight(x + ((n * hin + iy) * win + ix) * channels + c, v);
#pragma unroll
        for (int k = 0; k < EIGHT; k++) sum[k] += weight * v[k];
      }
    store_eight(y + EIGHT * (size_t)i, sum);
  }
}
HOST_KERNEL(NAMED(blur_pool))

// Global average pooling: [n, pixels, channels] -> [n, channels]. Block size
// 32 x 8, grid size (channels / 256 rounded up, n). A column of threads reads eight
// channels of every eighth pixel; a row of threads reads 512 contiguous bytes.
extern "C" __global__ void NAMED(global_average_pool)(const VALUE* x, VALUE* y, int channels, int pixels) {
  __shared__ float parts[8][32][EIGHT];
  const int c = (blockIdx.x * 32 + threadIdx.x) * EIGHT;
  const VALUE* image = x + (size_t)blockIdx.y * pixels * channels;
  float sum[EIGHT] = {};
  if (c < channels)
    for (int p = threadIdx.y; p < pixels; p += 8) {
      float v[EIGHT];
      load_eight(image + (size_t)p * channels + c, v);
#pragma unroll
      for (int k = 0; k < EIGHT; k++) sum[k] += v[k];
    }
#pragma unroll
  for (int k = 0; k < EIGHT; k++) parts[threadIdx.y][threadIdx.x][k] = sum[k];
  __syncthreads();
  if (threadIdx.y == 0 && c < channels) {
    for (int row = 1; row < 8; row++)
#pragma unroll
      for (int k = 0; k < EIGHT; k++) sum[k] += parts[row][threadIdx.x][k];
#pragma unroll
    for (int k = 0; k < EIGHT; k++) sum[k] /= pixels;
    store_eight(y + (size_t)blockIdx.y * channels + c, sum);
  }
}
HOST_KERNEL_WITH_BARRIERS(NAMED(global_average_pool))
