// Gates: squeeze-and-excitation, ECA and highway.

// y = act(x * sigmoid(gate[n, c]) + residual), gate [n, channels].
extern "C" __global__ void NAMED(excite)(const VALUE* x, const VALUE* gate, const VALUE* residual, VALUE* y,
                                         int channels, int pixels, int relu, int count) {
  const unsigned eights = channels / EIGHT;
  EACH(i, count) {
    const int c = i % eights * EIGHT;
    const size_t n = i / eights / pixels;
    float v[EIGHT], g[EIGHT], r[EIGHT];
    load_eight(x + EIGHT * (size_t)i, v);
    load_eight(gate + n * channels + c, g);
    load_eight(residual + EIGHT * (size_t)i, r);
#pragma unroll
    for (int k = 0; k < EIGHT; k++) v[k] = activate(v[k] * sigmoid(g[k]) + r[k], relu);
    store_eight(y + EIGHT * (size_t)i, v);
  }
}
HOST_KERNEL(NAMED(excite))

// y = h t + x (1 - t), t = sigmoid(gate). All feature maps have the same size.
extern "C" __global__ void NAMED(highway)(const VALUE* h, const VALUE* gate, const VALUE* x, VALUE* y, int count) {
  EACH(i, count) {
    float v[EIGHT], g[EIGHT], s[EIGHT];
    load_eight(h + EIGHT * (size_t)i, v);
    load_eight(gate + EIGHT * (size_t)i, g);
    load_eight(x + EIGHT * (size_t)i, s);
#pragma unroll
    for (int k = 0; k < EIGHT; k++) {
      const float t = sigmoid(g[k]);
      v[k] = v[k] * t + s[k] * (1.0f - t);
    }
    store_eight(y + EIGHT * (size_t)i, v);
  }
}
HOST_KERNEL(NAMED(highway))

// A 1-D convolution over the channels of [n, channels], zero-padded at both ends.
// The first `real` channels are not padding. One loop item is a channel.
extern "C" __global__ void NAMED(channel_conv)(const VALUE* x, const float* weight, VALUE* y, int channels, int real,
                                               int kernel, int count) {
  EACH(i, count) {
    const int c = i % channels;
    const VALUE* vector = x + (i - c);
    float sum = 0.0f;
    for (int k = 0; k < kernel; k++) {
      const int from = c + k - kernel / 2;
      if (from >= 0 && from < real) sum += weight[k] * to_float(vector[from]);
    }
    from_float(c < real ? sum : 0.0f, y[i]);
  }
}
HOST_KERNEL(NAMED(channel_conv))
