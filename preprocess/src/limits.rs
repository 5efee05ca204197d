//! The limits on one image, and the budget that decoding it uses up.

use std::cell::Cell;

use crate::error::ImageError;
use crate::format::Format;

/// Limits on the resources that one image may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest image that is decoded, in pixels (width times height). It
    /// bounds the memory of a decoded image: 3 or 4 bytes per pixel in most formats
    /// (`tests/memory.rs`), and at most about 11, in TIFFs that contain JPEGs. HEIC
    /// images may have half of the pixels and JPEG XL and JPEG 2000 images a third,
    /// as their decoders take more.
    pub max_pixels: u64,
}

impl Default for Limits {
    /// 64 million pixels, above the resolution of phone cameras and their
    /// panoramas.
    fn default() -> Self {
        Self {
            max_pixels: 64_000_000,
        }
    }
}

/// Bytes that a decoder may produce for each pixel of `Limits::max_pixels`, over
/// all passes. The largest ordinary image, 4 channels of 16 bits, takes 8.
const WORK_PER_PIXEL: u64 = 16;

/// The least work that is allowed, for callers with a very small limit.
const LEAST_WORK: u64 = 1 << 20;

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

    /// Checks a photo that is decoded already: `bytes` is the length of its pixels.
    ///
    /// # Errors
    /// `Shape` or `TooLarge`.
    pub(crate) fn check_photo(
        &self,
        width: u32,
        height: u32,
        bytes: usize,
    ) -> Result<(), ImageError> {
        let pixels = u64::from(width) * u64::from(height);
        if pixels == 0 || pixels.checked_mul(3) != Some(bytes as u64) {
            return Err(ImageError::Shape {
                width,
                height,
                bytes,
            });
        }
        match pixels > self.max_pixels {
            true => Err(ImageError::TooLarge {
                width: u64::from(width),
                height: u64::from(height),
                pixels,
                limit: self.max_pixels,
            }),
            false => Ok(()),
        }
    }

    /// The largest single allocation of a decoder in bytes: four channels of
    /// 16 bits per pixel, and at least 1 MiB.
    pub(crate) fn max_allocation(&self) -> u64 {
        self.max_pixels.saturating_mul(8).max(1 << 20)
    }
}

/// What decoding one image may still use. Work is counted in bytes that a
/// decoder produces, so the limit is the same on every machine.
pub(crate) struct Budget<'a> {
    limits: Limits,
    work: Cell<u64>,
    is_cancelled: &'a dyn Fn() -> bool,
}

impl<'a> Budget<'a> {
    /// The whole budget of an image. `is_cancelled` is asked while it is spent.
    pub(crate) fn new(limits: &Limits, is_cancelled: &'a dyn Fn() -> bool) -> Self {
        let work = limits.max_pixels.saturating_mul(WORK_PER_PIXEL);
        Self {
            limits: *limits,
            work: Cell::new(work.max(LEAST_WORK)),
            is_cancelled,
        }
    }

    /// The limits that the budget was made from.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// See [`Limits::check`].
    ///
    /// # Errors
    /// `Broken` or `TooLarge`.
    pub(crate) fn check(&self, format: Format, width: u32, height: u32) -> Result<(), ImageError> {
        self.limits.check(format, width, height)
    }

    /// As [`check`](Self::check), with a `share`th of the pixels, for decoders that
    /// take more memory.
    ///
    /// # Errors
    /// `Broken` or `TooLarge`.
    pub(crate) fn check_share(
        &self,
        format: Format,
        width: u32,
        height: u32,
        share: u64,
    ) -> Result<(), ImageError> {
        let max_pixels = self.limits.max_pixels / share;
        Limits { max_pixels }.check(format, width, height)
    }

    /// Takes `bytes` of work from the budget, before it is done.
    ///
    /// # Errors
    /// `Broken` if less is left, `Cancelled` if the caller no longer waits.
    pub(crate) fn spend(&self, format: Format, bytes: u64) -> Result<(), ImageError> {
        if (self.is_cancelled)() {
            return Err(ImageError::Cancelled);
        }
        let left = self.work.get().checked_sub(bytes);
        let left = left.ok_or_else(|| {
            ImageError::broken(
                format,
                "decoding it takes more work than its pixels justify",
            )
        })?;
        self.work.set(left);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_ends_with_the_budget_and_when_it_is_cancelled() {
        let limits = Limits {
            max_pixels: 1_000_000,
        };
        let stop = Cell::new(false);
        let is_cancelled = || stop.get();
        let budget = Budget::new(&limits, &is_cancelled);
        assert_eq!(budget.spend(Format::Tiff, 16_000_000), Ok(()));
        let spent = budget.spend(Format::Tiff, 1);
        assert!(matches!(spent, Err(ImageError::Broken { .. })), "{spent:?}");
        stop.set(true);
        assert_eq!(budget.spend(Format::Tiff, 0), Err(ImageError::Cancelled));
    }
}
