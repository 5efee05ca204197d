// Elementwise steps. One loop item is eight channels of a pixel.

// y = act(x * scale[c] + shift[c]): a batch norm that does not follow a convolution.
extern "C" __global__ void NAMED(scale_shift)(const VALUE* x, const float* scale, const float* shift, VALUE* y,
                                              int channels, int relu, int count) {
  const unsigned eights = channels / EIGHT;
  EACH(i, count) {
    const int c = i % eights * EIGHT;
    float v[EIGHT], a[EIGHT], b[EIGHT];
    load_eight(x + EIGHT * (size_t)i, v);
    load_eight(scale + c, a);
    load_eight(shift + c, b);
#pragma unroll
    for (int k = 0; k < EIGHT; k++) v[k] = activate(v[k] * a[k] + b[k], relu);
    store_eight(y + EIGHT * (size_t)i, v);
  }
}
HOST_KERNEL(NAMED(scale_shift))

// The option A shortcut: every `stride`-th pixel of every `stride`-th row. The
// `old` input channels start at output channel `before`; the other channels are
// zero. `cin` and `cout` are the padded channel counts.
extern "C" __global__ void NAMED(zero_pad)(const VALUE* x, VALUE* y, int cin, int cout, int old, int before, int hin,
                                           int win, int hout, int wout, int stride, int count) {
  const unsigned eights = cout / EIGHT;
  EACH(i, count) {
    const int first = (int)(i % eights * EIGHT) - before, ox = i / eights % wout, oy = i / eights / wout % hout;
    const size_t n = i / eights / wout / hout;
    const VALUE* pixel = x + ((n * hin + oy * stride) * win + ox * stride) * cin;
    float v[EIGHT];
#pragma unroll
    for (int k = 0; k < EIGHT; k++) v[k] = first + k >= 0 && first + k < old ? to_float(pixel[first + k]) : 0.0f;
    store_eight(y + EIGHT * (size_t)i, v);
  }
}
HOST_KERNEL(NAMED(zero_pad))
