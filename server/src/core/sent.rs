//! An image as it is in a request, before its memory is counted: a file, its
//! base64, or the values of its pixels.

use std::sync::Arc;

use bytes::Bytes;

use super::admission::ByteShare;
use super::image::{EncodedImage, Encoding, ImageInput};
use super::tensor::{Layout, PixelImage};

/// One image of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// A file or its base64.
    File(Bytes, Encoding),
    /// RGB bytes `[height, width, 3]`.
    Pixels {
        /// Height and width.
        size: [u32; 2],
        /// Row by row.
        rgb: Bytes,
    },
}

/// Numbers with a shape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tensor {
    /// From the outermost dimension to the innermost.
    pub shape: Vec<usize>,
    /// As many as the product of `shape`.
    pub values: Vec<f32>,
    /// Whether the numbers are floats: one of them is written with a fraction or an
    /// exponent, or their type is one of floats.
    pub has_fractions: bool,
}

impl Sent {
    /// The base64 of a file.
    #[must_use]
    pub fn base64(text: Bytes) -> Self {
        Self::File(text, Encoding::Base64)
    }

    /// The image, whose bytes are counted in `share`.
    #[must_use]
    pub fn into_input(self, share: &Arc<ByteShare>) -> ImageInput {
        let share = Arc::clone(share);
        match self {
            Self::File(bytes, encoding) => {
                ImageInput::Encoded(EncodedImage::new(bytes, encoding, share))
            }
            Self::Pixels { size, rgb } => {
                ImageInput::Pixels(PixelImage::new(size, Layout::ChannelsLast, rgb, share))
            }
        }
    }

    /// The images of a tensor `[N, height, width, 3]`. Their values are 0 to 255,
    /// or 0 to 1: numbers with fractions that are all at most 1 are the latter. There
    /// may be `most` images.
    ///
    /// # Errors
    /// Another shape, more images, or values outside of both ranges.
    pub fn pixels(tensor: Tensor, most: usize) -> Result<Vec<Self>, String> {
        let batch = Batch::new(&tensor.shape, most)?;
        let largest = tensor.values.iter().copied().fold(0.0, f32::max);
        let smallest = tensor.values.iter().copied().fold(0.0, f32::min);
        if smallest < 0.0 || largest > 255.0 || tensor.values.iter().any(|v| v.is_nan()) {
            return Err(format!(
                "pixels have values from {smallest} to {largest}; send RGB values of 0 to 255, or \
                 0 to 1: the server normalises them"
            ));
        }
        let factor = match tensor.has_fractions && largest <= 1.0 {
            true => 255.0,
            false => 1.0,
        };
        let bytes = tensor.values.iter().map(|v| (v * factor).round() as u8);
        batch.split(&bytes.collect())
    }

    /// The images of bytes `[N, height, width, 3]`, of which there may be `most`.
    ///
    /// # Errors
    /// Another shape or number of bytes, or more images.
    pub fn rgb(shape: &[usize], bytes: &Bytes, most: usize) -> Result<Vec<Self>, String> {
        Batch::new(shape, most)?.split(bytes)
    }
}

/// The shape of some images.
struct Batch {
    count: usize,
    /// Height and width.
    size: [u32; 2],
}

impl Batch {
    fn new(shape: &[usize], most: usize) -> Result<Self, String> {
        let side = |n: usize| u32::try_from(n).ok().filter(|n| *n > 0);
        let found = match *shape {
            [count, height, width, 3] => side(height).zip(side(width)).map(|size| (count, size)),
            _ => None,
        };
        let Some((count, (height, width))) = found else {
            return Err(format!(
                "pixels have shape {shape:?}, where [images, height, width, 3] is expected"
            ));
        };
        if count > most {
            return Err(too_many(count, most));
        }
        let size = [height, width];
        Ok(Self { count, size })
    }

    fn split(&self, bytes: &Bytes) -> Result<Vec<Sent>, String> {
        let [height, width] = self.size.map(|n| n as usize);
        let one = height.saturating_mul(width).saturating_mul(3);
        let all = one.saturating_mul(self.count);
        if all != bytes.len() {
            return Err(format!(
                "pixels have {} values, where their shape has {all}",
                bytes.len()
            ));
        }
        let image = |index: usize| Sent::Pixels {
            size: self.size,
            rgb: bytes.slice(index * one..(index + 1) * one),
        };
        Ok((0..self.count).map(image).collect())
    }
}

/// What is wrong with a request that has too many images.
#[must_use]
pub fn too_many(count: usize, most: usize) -> String {
    format!("the request has {count} images; at most {most} are allowed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_split_by_their_shape() {
        let bytes = Bytes::from_static(&[1, 2, 3, 4, 5, 6]);
        let image = |rgb: &'static [u8]| Sent::Pixels {
            size: [1, 1],
            rgb: Bytes::from_static(rgb),
        };
        let found = Sent::rgb(&[2, 1, 1, 3], &bytes, 2).unwrap();
        assert_eq!(found, [image(&[1, 2, 3]), image(&[4, 5, 6])]);
        for (shape, reason) in [
            (&[2, 1, 1, 3][..], "at most 1"),
            (&[1, 1, 1, 3], "6 values, where their shape has 3"),
            (&[1, 1, 3], "[images, height, width, 3]"),
            (&[1, 0, 2, 3], "[images, height, width, 3]"),
            (&[1, usize::MAX, 1, 3], "[images, height, width, 3]"),
            (&[1, 1 << 31, 1 << 31, 3], "their shape has"),
        ] {
            let error = Sent::rgb(shape, &bytes, 1).unwrap_err();
            assert!(error.contains(reason), "{shape:?}: {error}");
        }
    }
}
