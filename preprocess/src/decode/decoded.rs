//! What the decoders return: pixels in stored order, with what the later stages
//! need from the header.

use crate::decode::interleaved::InterleavedPixels;
use crate::decode::jpeg::planes::JpegPlanes;
use crate::decode::vp8::planes::YuvPlanes;
use crate::orientation::Orientation;

/// A decoded image in stored orientation.
pub(crate) struct DecodedImage {
    /// Width and height from the header, in pixels.
    pub size: [u32; 2],
    /// Decoded pixels per pixel of the file: 1, or 1/2, 1/4 or 1/8 after a
    /// reduced-size JPEG decode. The decoded image has `size * scale` pixels,
    /// rounded up.
    pub scale: f64,
    /// How the upright image is obtained.
    pub orientation: Orientation,
    /// The pixels.
    pub pixels: DecodedPixels,
}

/// The pixels of a decoded image, in one of three layouts.
pub(crate) enum DecodedPixels {
    /// The whole image.
    Interleaved(InterleavedPixels),
    /// The part of a JPEG inside the crop, before upsampling and colour
    /// conversion.
    JpegPlanes(JpegPlanes),
    /// A whole lossy WebP, before upsampling and colour conversion.
    YuvPlanes(YuvPlanes),
}

impl DecodedImage {
    /// A whole image, decoded at full size.
    pub(crate) fn full_size(pixels: InterleavedPixels, orientation: Orientation) -> Self {
        Self {
            size: [pixels.width, pixels.height],
            scale: 1.0,
            orientation,
            pixels: DecodedPixels::Interleaved(pixels),
        }
    }

    /// A whole image of a format without a separate orientation: `samples` is
    /// `[height, width, channels]`.
    pub(crate) fn upright(size: [u32; 2], channels: usize, samples: Vec<u8>) -> Self {
        let [width, height] = size;
        let pixels = InterleavedPixels {
            width,
            height,
            channels,
            samples,
        };
        Self::full_size(pixels, Orientation::default())
    }
}

impl DecodedPixels {
    /// Width and height of the decoded image.
    pub(crate) fn size(&self) -> [usize; 2] {
        match self {
            Self::Interleaved(pixels) => [pixels.width as usize, pixels.height as usize],
            Self::JpegPlanes(planes) => planes.size(),
            Self::YuvPlanes(planes) => planes.size(),
        }
    }

    /// Channels without alpha: 1 (grey) or 3 (RGB).
    pub(crate) fn color_channels(&self) -> usize {
        match self {
            Self::Interleaved(pixels) if pixels.channels < 3 => 1,
            Self::Interleaved(_) | Self::YuvPlanes(_) => 3,
            Self::JpegPlanes(planes) => planes.channels(),
        }
    }
}
