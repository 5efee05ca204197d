//! The limit on the size of a decoded image.

use crate::error::ImageError;
use crate::format::Format;

/// Limits on the resources that one image may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest image that is decoded, in pixels (width times height). It
    /// bounds the memory of a decoded image: usually 3 bytes per pixel, at most
    /// about 8.
    pub max_pixels: u64,
}

impl Default for Limits {
    /// 50 million pixels, above the default resolution of phone cameras.
    fn default() -> Self {
        Self {
            max_pixels: 50_000_000,
        }
    }
}

impl Limits {
    /// Checks the dimensions from the header, before any pixel is decoded.
    ///
    /// # Errors
    /// `Broken` for an image without pixels, `TooLarge` above the limit.
    pub(crate) fn check(&self, format: Format, width: u32, height: u32) -> Result<(), ImageError> {
        let (width, height) = (u64::from(width), u64::from(height));
        let (pixels, limit) = (width * height, self.max_pixels);
        match pixels {
            0 => Err(ImageError::broken(format, "its width or height is 0")),
            _ if pixels > limit => Err(ImageError::TooLarge {
                width,
                height,
                pixels,
                limit,
            }),
            _ => Ok(()),
        }
    }

    /// The largest single allocation of a decoder in bytes: four channels of
    /// 16 bits per pixel, and at least 1 MiB.
    pub(crate) fn max_allocation(&self) -> u64 {
        self.max_pixels.saturating_mul(8).max(1 << 20)
    }
}
