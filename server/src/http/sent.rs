//! An image as the APIs of other servers carry it: a file, its base64, or the
//! values of its pixels in JSON.

use bytes::Bytes;

use super::document::Tensor;
use crate::core::image::Encoding;

/// One image of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// A file or its base64.
    File(Bytes, Encoding),
    /// RGB bytes `[height, width, 3]`.
    Pixels { size: [u32; 2], rgb: Bytes },
}

impl Sent {
    /// The base64 of a file.
    pub(super) fn base64(text: Bytes) -> Self {
        Self::File(text, Encoding::Base64)
    }

    /// The images of a tensor `[N, height, width, 3]`. Their values are 0 to 255,
    /// or 0 to 1: numbers with fractions that are all at most 1 are the latter. There
    /// may be `most` images.
    ///
    /// # Errors
    /// Another shape, more images, or values outside of both ranges.
    pub(super) fn pixels(tensor: Tensor, most: usize) -> Result<Vec<Self>, String> {
        let size = |n: usize| u32::try_from(n).ok().filter(|n| *n > 0);
        let size = match tensor.shape[..] {
            [_, height, width, 3] => size(height).zip(size(width)),
            _ => None,
        };
        let Some((height, width)) = size else {
            return Err(format!(
                "pixels have shape {:?}, where [images, height, width, 3] is expected",
                tensor.shape
            ));
        };
        let count = tensor.shape[0];
        if count > most {
            return Err(too_many(count, most));
        }
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
        let bytes: Bytes = bytes.collect();
        let [height, width] = [height, width];
        let one = height as usize * width as usize * 3;
        let image = |index: usize| Self::Pixels {
            size: [height, width],
            rgb: bytes.slice(index * one..(index + 1) * one),
        };
        Ok((0..count).map(image).collect())
    }
}

/// What is wrong with a request that has too many images.
pub(super) fn too_many(count: usize, most: usize) -> String {
    format!("the request has {count} images; at most {most} are allowed")
}
