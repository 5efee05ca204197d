//! Images that were sent as numbers instead of as files: RGB bytes, and floats
//! that are normalised or not.

use std::sync::Arc;

use bytes::Bytes;
use half::{bf16, f16};
use preprocess::{Crop, Photo, Preprocessing};

use super::admission::ByteShare;
use super::cache::digest::{Digest, of_parts};
use super::error::Error;
use super::image::{Frame, Prepared};

/// RGB bytes.
pub struct PixelImage {
    size: [u32; 2],
    layout: Layout,
    rgb: Bytes,
    share: Arc<ByteShare>,
}

/// The type of the floats of an image. All are little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// IEEE binary16.
    F16,
    /// The upper half of a binary32.
    Bf16,
    /// IEEE binary32.
    F32,
}

/// The order of the values of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `[3, H, W]`.
    ChannelsFirst,
    /// `[H, W, 3]`.
    ChannelsLast,
}

/// What the floats of an image mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FloatRange {
    /// The input of the network: normalised, and of its size.
    #[default]
    Normalised,
    /// Pixels from 0 to 1, of any size.
    Unit,
    /// Pixels from 0 to 255, of any size.
    Bytes,
}

/// How the values of a float image are to be read.
#[derive(Clone, Copy, Debug)]
pub struct FloatFormat {
    /// Their type.
    pub element: Element,
    /// Their order.
    pub layout: Layout,
    /// Their meaning.
    pub range: FloatRange,
}

/// Floats.
pub struct FloatImage {
    size: [u32; 2],
    format: FloatFormat,
    values: Bytes,
    share: Arc<ByteShare>,
}

impl Element {
    /// Bytes of a value.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
        }
    }

    /// Calls `each` with every value in order.
    fn read(self, bytes: &[u8], each: impl FnMut(f32)) {
        let pairs = bytes.as_chunks::<2>().0.iter();
        match self {
            Self::F16 => pairs
                .map(|&b| f16::from_le_bytes(b).to_f32())
                .for_each(each),
            Self::Bf16 => pairs
                .map(|&b| bf16::from_le_bytes(b).to_f32())
                .for_each(each),
            Self::F32 => {
                let fours = bytes.as_chunks::<4>().0.iter();
                fours.map(|&b| f32::from_le_bytes(b)).for_each(each);
            }
        }
    }
}

impl PixelImage {
    /// An image of `[height, width]` pixels, of the request whose body is counted
    /// in `share`.
    #[must_use]
    pub fn new(size: [u32; 2], layout: Layout, rgb: Bytes, share: Arc<ByteShare>) -> Self {
        Self {
            size,
            layout,
            rgb,
            share,
        }
    }

    /// The digest of its values, their order and their size.
    pub(super) fn digest(&self) -> Digest {
        let form = format!("pixels {:?} {:?}", self.size, self.layout);
        of_parts([form.as_bytes(), &self.rgb])
    }

    /// Pixels of the network's size are used as they are; others are resized and
    /// cropped as a decoded photo is.
    pub(super) fn prepare(
        self,
        preprocessing: &Preprocessing,
        limits: &preprocess::Limits,
    ) -> Result<Prepared, Error> {
        let side = preprocessing.crop;
        let is_whole = self.size == [side; 2] && self.rgb.len() == values(self.size);
        if is_whole && self.layout == Layout::ChannelsLast {
            return Ok(Prepared {
                frame: Frame::Pixels(self.rgb),
                crop: whole(side),
                held: Some(self.share),
            });
        }
        let mut copy = self.share.sibling();
        copy.grow(self.rgb.len())?;
        let rgb = self.interleaved();
        if is_whole {
            return Ok(Prepared {
                frame: Frame::Pixels(rgb.into()),
                crop: whole(side),
                held: Some(Arc::new(copy)),
            });
        }
        let [height, width] = self.size;
        let photo = Photo { width, height, rgb };
        let (pixels, crop) = preprocess::resize_photo(photo, preprocessing, limits)?;
        Ok(Prepared::of_pixels(pixels, crop))
    }

    /// `[H, W, 3]`; bytes that are not whole pixels stay as they are.
    fn interleaved(&self) -> Vec<u8> {
        let plane = self.rgb.len() / 3;
        if self.layout == Layout::ChannelsLast || plane * 3 != self.rgb.len() {
            return self.rgb.to_vec();
        }
        let (red, rest) = self.rgb.split_at(plane);
        let (green, blue) = rest.split_at(plane);
        let pixels = red.iter().zip(green).zip(blue);
        pixels.flat_map(|((&r, &g), &b)| [r, g, b]).collect()
    }
}

impl FloatImage {
    /// Values of an image of `[height, width]` pixels, of the request whose body
    /// is counted in `share`.
    #[must_use]
    pub fn new(size: [u32; 2], format: FloatFormat, values: Bytes, share: Arc<ByteShare>) -> Self {
        Self {
            size,
            format,
            values,
            share,
        }
    }

    /// The digest of its values, their meaning and their size.
    pub(super) fn digest(&self) -> Digest {
        let form = format!("floats {:?} {:?}", self.size, self.format);
        of_parts([form.as_bytes(), &self.values])
    }

    /// Normalised values become the planes of the network. Others become bytes
    /// and are used as [`PixelImage`]s are.
    pub(super) fn prepare(
        self,
        preprocessing: &Preprocessing,
        limits: &preprocess::Limits,
    ) -> Result<Prepared, Error> {
        let [height, width] = self.size;
        let found = self.values.len() / self.format.element.size();
        if found != values(self.size) {
            let expected = format!("{width} x {height} x 3 values");
            return Err(Error::InputSize { found, expected });
        }
        let factor = match self.format.range {
            FloatRange::Normalised => return self.planes(preprocessing.crop),
            FloatRange::Unit => 255.0,
            FloatRange::Bytes => 1.0,
        };
        let mut copy = self.share.sibling();
        copy.grow(found)?;
        let rgb = self.arranged(Layout::ChannelsLast, |value| {
            (value * factor).round().clamp(0.0, 255.0) as u8
        })?;
        let layout = Layout::ChannelsLast;
        let image = PixelImage::new(self.size, layout, rgb.into(), Arc::new(copy));
        image.prepare(preprocessing, limits)
    }

    fn planes(&self, side: u32) -> Result<Prepared, Error> {
        let [height, width] = self.size;
        if self.size != [side; 2] {
            return Err(Error::InputSize {
                found: values(self.size),
                expected: format!(
                    "{side} x {side} x 3 values instead of {width} x {height} x 3, because \
                     normalised images are not resized"
                ),
            });
        }
        let mut copy = self.share.sibling();
        copy.grow(values(self.size) * size_of::<f32>())?;
        Ok(Prepared {
            frame: Frame::Planes(self.arranged(Layout::ChannelsFirst, |value| value)?),
            crop: whole(side),
            held: Some(Arc::new(copy)),
        })
    }

    /// The values in this order, converted.
    fn arranged<T: Clone + Default>(
        &self,
        layout: Layout,
        convert: impl Fn(f32) -> T,
    ) -> Result<Vec<T>, Error> {
        let total = values(self.size);
        let mut arranged = vec![T::default(); total];
        let plane = total / 3;
        let (mut at, mut finite) = (0, true);
        self.format.element.read(&self.values, |value| {
            finite &= value.is_finite();
            let to = match (self.format.layout, layout) {
                (Layout::ChannelsLast, Layout::ChannelsFirst) => at % 3 * plane + at / 3,
                (Layout::ChannelsFirst, Layout::ChannelsLast) => at % plane * 3 + at / plane,
                _ => at,
            };
            arranged[to] = convert(value);
            at += 1;
        });
        match finite {
            true => Ok(arranged),
            false => Err(Error::InputValues("some are NaN or infinite")),
        }
    }
}

/// The values of an image of three channels.
fn values(size: [u32; 2]) -> usize {
    size.iter().map(|&n| n as usize).product::<usize>() * 3
}

/// The crop of an image that is used as it is.
fn whole(side: u32) -> Crop {
    Crop {
        photo: [side; 2],
        x: 0.0,
        y: 0.0,
        width: f64::from(side),
        height: f64::from(side),
    }
}

#[cfg(test)]
mod tests;
