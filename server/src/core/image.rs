//! An image as it was sent: a file, the base64 text of one, or numbers. It is
//! prepared for the network by one job on the thread pool.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use preprocess::{Crop, Pixels, Preprocessing};

use super::admission::ByteShare;
use super::base64;
use super::cache::digest::{Digest, of_parts};
use super::error::Error;
use super::tensor::{FloatImage, PixelImage};

/// The format of a file that is no image.
pub(super) const UNKNOWN: &str = "unknown";

/// One image of a request, in any of the forms that protocols carry.
pub enum ImageInput {
    /// The content of an image file.
    Encoded(EncodedImage),
    /// RGB bytes.
    Pixels(PixelImage),
    /// Floats, normalised or not.
    Floats(FloatImage),
}

/// What the network takes of an image.
pub enum Frame {
    /// RGB `[S, S, 3]`.
    Pixels(Bytes),
    /// Normalised `[3, S, S]`.
    Planes(Vec<f32>),
}

/// An image that is ready for the network.
pub struct Prepared {
    /// Its values.
    pub frame: Frame,
    /// The part of the photo that they show.
    pub crop: Crop,
    /// Counts the memory of a frame that is not bounded by the images in flight.
    pub held: Option<Arc<ByteShare>>,
}

impl Prepared {
    /// Pixels that belong to no body.
    pub(super) fn of_pixels(pixels: Pixels, crop: Crop) -> Self {
        Self {
            frame: Frame::Pixels(pixels.0.into()),
            crop,
            held: None,
        }
    }
}

impl ImageInput {
    /// The digest of its content: equal images are equal files, or equal numbers that mean
    /// the same. `None` for base64 that cannot be decoded, or not now.
    pub(super) fn digest(&self) -> Option<Digest> {
        match self {
            Self::Encoded(image) => Some(of_parts([&b"file"[..], &*image.bytes().ok()?])),
            Self::Pixels(image) => Some(image.digest()),
            Self::Floats(image) => Some(image.digest()),
        }
    }

    /// Decodes, resizes and crops what needs it. Decoding stops when
    /// `is_cancelled` returns true. `format` is set as soon as it is known.
    pub(super) fn prepare(
        self,
        preprocessing: &Preprocessing,
        limits: &preprocess::Limits,
        is_cancelled: &dyn Fn() -> bool,
        format: &mut &'static str,
    ) -> Result<Prepared, Error> {
        *format = match &self {
            Self::Encoded(_) => UNKNOWN,
            Self::Pixels(_) => "pixels",
            Self::Floats(_) => "floats",
        };
        match self {
            Self::Encoded(image) => {
                let bytes = image.bytes()?;
                *format = preprocess::detect(&bytes).map_or(UNKNOWN, preprocess::Format::name);
                let (pixels, crop) =
                    preprocess::read_with_crop(&bytes, preprocessing, limits, is_cancelled)?;
                Ok(Prepared::of_pixels(pixels, crop))
            }
            Self::Pixels(image) => image.prepare(preprocessing, limits),
            Self::Floats(image) => image.prepare(preprocessing, limits),
        }
    }
}

/// One image of a request. It holds a reference to its request's share of the
/// byte budget until it has been decoded.
#[derive(Clone)]
pub struct EncodedImage {
    sent: Bytes,
    encoding: Encoding,
    share: Arc<ByteShare>,
}

/// The bytes of an image file. The memory of a decoded copy is counted while it
/// exists.
pub struct FileBytes<'a> {
    bytes: Cow<'a, [u8]>,
    _share: ByteShare,
}

impl Deref for FileBytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// How the bytes of an image were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As they are in the file.
    Raw,
    /// As base64 text, see [`base64`].
    Base64,
}

impl EncodedImage {
    /// An image of the request whose body is counted in `share`.
    #[must_use]
    pub fn new(sent: Bytes, encoding: Encoding, share: Arc<ByteShare>) -> Self {
        Self {
            sent,
            encoding,
            share,
        }
    }

    /// The bytes of the image file.
    ///
    /// # Errors
    /// Text that is not base64, or no memory to decode it.
    pub fn bytes(&self) -> Result<FileBytes<'_>, Error> {
        let mut share = self.share.sibling();
        let bytes = match self.encoding {
            Encoding::Raw => Cow::Borrowed(&*self.sent),
            Encoding::Base64 => {
                share.grow(base64::memory(&self.sent))?;
                Cow::Owned(base64::decode(&self.sent)?)
            }
        };
        Ok(FileBytes {
            bytes,
            _share: share,
        })
    }
}
