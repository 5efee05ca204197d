//! From the bytes of a photo to the pixels a network reads: sniff, decode,
//! resize, crop, turn upright.

mod crop;
mod decode;
mod error;
mod gif;
mod jpeg;
mod orientation;
mod resize;
mod sniff;

use weights::Recipe;

pub use error::{PhotoError, SUPPORTED};
pub use sniff::Format;

use orientation::Orientation;
use resize::Bitmap;

/// What the network reads: `[S, S, 3]` RGB, 8 bits, `S` being the recipe's
/// crop. Scaling to floats and normalising are the model's.
#[derive(Clone, Debug, PartialEq)]
pub struct Pixels(pub Vec<u8>);

/// What a photo may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most pixels (width times height) that are decoded. Memory follows:
    /// at most about 8 bytes a pixel, most often 3.
    pub max_pixels: u64,
}

impl Default for Limits {
    /// 50 million: the largest photos that phones take by themselves.
    fn default() -> Self {
        Self {
            max_pixels: 50_000_000,
        }
    }
}

impl Limits {
    /// Refuses a photo by its header.
    fn check(&self, format: Format, width: u32, height: u32) -> Result<(), PhotoError> {
        let (width, height) = (u64::from(width), u64::from(height));
        let (pixels, limit) = (width * height, self.max_pixels);
        match pixels {
            0 => Err(PhotoError::broken(format, "it has no pixels")),
            _ if pixels > limit => Err(PhotoError::TooLarge {
                width,
                height,
                pixels,
                limit,
            }),
            _ => Ok(()),
        }
    }

    /// The bytes a decoder may take at once: four channels of 16 bits.
    fn memory(&self) -> u64 {
        self.max_pixels.saturating_mul(8).max(1 << 20)
    }
}

/// A decoded photo, as it lies in the file.
struct Decoded {
    /// Width and height in the file.
    size: [u32; 2],
    /// Pixels of the bitmap per pixel of the file: 1, or less for a JPEG that
    /// was decoded small. The bitmap then has `size * scale` pixels, rounded up.
    scale: f64,
    orientation: Orientation,
    bitmap: Bitmap,
}

/// Reads a photo as `recipe` wants it.
///
/// # Errors
/// See [`PhotoError`]: all but one are the sender's.
pub fn read(bytes: &[u8], recipe: &Recipe, limits: &Limits) -> Result<Pixels, PhotoError> {
    let photo = match sniff::sniff(bytes)? {
        Format::Jpeg => jpeg::decode(bytes, recipe, limits)?,
        Format::Gif => gif::decode(bytes, limits)?,
        format => decode::decode(bytes, format, limits)?,
    };
    let orientation = photo.orientation;
    let [width, height] = orientation.swap(photo.size);
    let upright = crop::sides(width, height, recipe);
    let stored = orientation.stored(upright);
    let kept = resize::resize(&photo, stored, recipe.interpolation)?;
    Ok(Pixels(resize::place(
        kept,
        upright,
        orientation,
        recipe.crop,
    )))
}
