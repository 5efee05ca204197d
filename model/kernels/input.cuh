// Converts pixels to the network's input.

// Converts RGB bytes [count, 3] to [count, 8]: y[i, c] = x[i, c] * scale[c] +
// shift[c] for c < 3, otherwise 0. scale = 1 / (255 std), shift = -mean / std.
extern "C" __global__ void NAMED(pixels)(const uint8_t* x, VALUE* y, float scale_r, float scale_g, float scale_b,
                                         float shift_r, float shift_g, float shift_b, int count) {
  EACH(i, count) {
    const uint8_t* rgb = x + 3 * (size_t)i;
    const float out[EIGHT] = {rgb[0] * scale_r + shift_r, rgb[1] * scale_g + shift_g, rgb[2] * scale_b + shift_b};
    store_eight(y + EIGHT * (size_t)i, out);
  }
}
HOST_KERNEL(NAMED(pixels))
