// The photos of the page: what is known about each before the server answers.

const THUMBNAIL = 320; // pixels of the longer side
const DECODERS = 2;

let last = 0;
let decoding = 0;
const undecoded = [];

/** A photo that waits to be classified. */
export const photo = (file) => ({
  id: ++last, file, name: file.name || `photo-${last}.png`, state: "waiting", format: undefined,
  width: undefined, height: undefined, thumbnail: undefined, result: undefined, timing: undefined,
  error: undefined, explained: undefined,
});

/** Reads format, size and thumbnail of a photo, a few photos at a time. Calls `ready(photo)`. */
export function read(photo, ready) {
  undecoded.push([photo, ready]);
  pump();
}

function pump() {
  while (decoding < DECODERS && undecoded.length) {
    decoding += 1;
    const [photo, ready] = undecoded.shift();
    decode(photo).finally(() => {
      decoding -= 1;
      ready(photo);
      pump();
    });
  }
}

async function decode(photo) {
  if (photo.removed) return;
  const head = new Uint8Array(await photo.file.slice(0, 16).arrayBuffer().catch(() => new ArrayBuffer(0)));
  photo.format = format(head);
  let whole;
  try {
    whole = await createImageBitmap(photo.file);
  } catch {
    photo.undecodable = true; // a TIFF, or no image; the server may still read it
    return;
  }
  const { width, height } = whole;
  const scale = Math.min(1, THUMBNAIL / Math.max(width, height));
  const side = (n) => Math.max(1, Math.round(n * scale));
  photo.thumbnail = await createImageBitmap(whole, {
    resizeWidth: side(width), resizeHeight: side(height), resizeQuality: "medium",
  });
  whole.close();
  Object.assign(photo, { width, height });
}

/** The format by the first bytes, as the server detects it. */
export function format(head) {
  const text = String.fromCharCode(...head);
  if (text.startsWith("\xff\xd8\xff")) return "JPEG";
  if (text.startsWith("\x89PNG")) return "PNG";
  if (text.startsWith("RIFF") && text.slice(8, 12) === "WEBP") return "WebP";
  if (text.startsWith("GIF8")) return "GIF";
  if (text.startsWith("BM")) return "BMP";
  if (text.startsWith("II*\0") || text.startsWith("MM\0*")) return "TIFF";
  if (text.startsWith("\0\0\x01\0")) return "ICO";
  if (text.startsWith("qoif")) return "QOI";
  if (/^P[1-7]\s/.test(text)) return "PNM";
  return undefined;
}

/**
 * The part of the upright photo that the network sees, in its pixels: the resize
 * and the centre crop of torchvision, the other way around.
 */
export function cropOf({ width, height }, { resize, crop }) {
  const short = Math.min(width, height);
  const scaled = (n) => resize.exact ?? (n === short ? resize.short_side : Math.floor((resize.short_side * n) / short));
  const part = (n) => {
    const resized = scaled(n);
    const unit = n / resized;
    return [Math.max(0, Math.round((resized - crop) / 2) * unit), Math.min(n, crop * unit)];
  };
  const [x, w] = part(width);
  const [y, h] = part(height);
  return { x, y, width: w, height: h };
}
