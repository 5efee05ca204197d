// Draws a class activation map and the crop over a photo.

const SIDE = 224; // pixels of the drawn map, which the browser scales
// matplotlib's inferno at nine places (CC0), interpolated between them.
const INFERNO = [[0, 0, 4], [31, 12, 72], [85, 15, 109], [136, 34, 106], [186, 54, 85], [227, 89, 51], [249, 140, 10], [249, 201, 50], [252, 255, 164]];

/** The colour of a value from 0 to 1. */
function inferno(t) {
  const place = t * (INFERNO.length - 1);
  const low = Math.min(Math.floor(place), INFERNO.length - 2);
  return INFERNO[low].map((from, i) => from + (INFERNO[low + 1][i] - from) * (place - low));
}

/** Bilinear interpolation of rows of values at (x, y) from 0 to 1; the values are centres of cells. */
export function sample(rows, x, y) {
  const [height, width] = [rows.length, rows[0].length];
  const axis = (t, n) => {
    const place = Math.min(n - 1, Math.max(0, t * n - 0.5));
    const low = Math.min(Math.floor(place), Math.max(0, n - 2));
    return [low, Math.min(n - 1, low + 1), place - low];
  };
  const [top, bottom, v] = axis(y, height);
  const [left, right, u] = axis(x, width);
  const along = (row) => rows[row][left] * (1 - u) + rows[row][right] * u;
  return along(top) * (1 - v) + along(bottom) * v;
}

/** Draws a map, [H, W] as rows: evidence against the class is transparent, the strongest for it is brightest. */
export function drawMap(canvas, rows) {
  const most = Math.max(1e-9, ...rows.map((row) => Math.max(...row)));
  [canvas.width, canvas.height] = [SIDE, SIDE];
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(SIDE, SIDE);
  for (let y = 0, at = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++, at += 4) {
      const t = Math.max(0, sample(rows, (x + 0.5) / SIDE, (y + 0.5) / SIDE) / most);
      const [red, green, blue] = inferno(t);
      pixels.data.set([red, green, blue, 255 * Math.min(1, 0.35 + t)], at);
    }
  }
  context.putImageData(pixels, 0, 0);
}

/** Puts an element over a rectangle of the photo. */
export function place(element, { x, y, width, height }, photo) {
  const part = (n, whole) => `${(100 * n) / whole}%`;
  const { style } = element;
  style.setProperty("left", part(x, photo.width));
  style.setProperty("top", part(y, photo.height));
  style.setProperty("width", part(width, photo.width));
  style.setProperty("height", part(height, photo.height));
}
