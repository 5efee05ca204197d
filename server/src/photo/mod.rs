//! From the bytes of a photo to the pixels a network reads: sniff, decode,
//! orient, resize, crop.

use image::{GenericImageView, ImageReader, imageops};
use std::io::Cursor;

/// What a photo may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most pixels a photo may have.
    pub max_pixels: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_pixels: 50_000_000,
        }
    }
}

/// RGB pixels `[S, S, 3]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pixels(pub Vec<u8>);

/// Why a photo cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PhotoError {
    /// No bytes.
    #[error("the image is empty")]
    Empty,
    /// Not a format that is read.
    #[error("{found} is not a supported format; send JPEG, PNG, WebP, GIF, BMP or TIFF")]
    Unsupported {
        /// The format found.
        found: String,
    },
    /// Too many pixels.
    #[error("{width} x {height} pixels exceed the limit of {limit}")]
    TooLarge {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Most pixels.
        limit: u64,
    },
    /// The file is damaged.
    #[error("the image is broken: {reason}")]
    Broken {
        /// What the decoder said.
        reason: String,
    },
    /// Ours.
    #[error("the decoded photo could not be resized: {0}")]
    Resize(String),
}

/// Reads a photo.
///
/// # Errors
/// See [`PhotoError`].
pub fn read(bytes: &[u8], recipe: &weights::Recipe, limits: &Limits) -> Result<Pixels, PhotoError> {
    if bytes.is_empty() {
        return Err(PhotoError::Empty);
    }
    let broken = |e: &dyn std::fmt::Display| PhotoError::Broken {
        reason: e.to_string(),
    };
    let reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| broken(&e))?;
    let Some(format) = reader.format() else {
        return Err(PhotoError::Unsupported {
            found: "this file".into(),
        });
    };
    let (width, height) = reader.into_dimensions().map_err(|e| broken(&e))?;
    if u64::from(width) * u64::from(height) > limits.max_pixels {
        return Err(PhotoError::TooLarge {
            width,
            height,
            limit: limits.max_pixels,
        });
    }
    let photo = image::load_from_memory_with_format(bytes, format).map_err(|e| broken(&e))?;
    let weights::Resize::ShortSide(short) = recipe.resize else {
        return Err(broken(&"the stand-in resizes short sides only"));
    };
    let scale = f64::from(short) / f64::from(width.min(height));
    let photo = imageops::resize(
        &photo.to_rgb8(),
        (f64::from(width) * scale) as u32,
        (f64::from(height) * scale) as u32,
        imageops::FilterType::CatmullRom,
    );
    let (width, height) = photo.dimensions();
    let crop = recipe.crop;
    let view = photo.view((width - crop) / 2, (height - crop) / 2, crop, crop);
    Ok(Pixels(view.to_image().into_raw()))
}
