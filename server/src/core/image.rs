//! An image as it was sent: the bytes of a file, or their base64 text.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::admission::ByteShare;
use super::base64::{self, Base64Error};

/// One image of a request. It holds a reference to its request's share of the
/// byte budget until it has been decoded.
pub struct EncodedImage {
    sent: Bytes,
    encoding: Encoding,
    _share: Arc<ByteShare>,
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
            _share: share,
        }
    }

    /// The bytes of the image file.
    ///
    /// # Errors
    /// Text that is not base64.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>, Base64Error> {
        match self.encoding {
            Encoding::Raw => Ok(Cow::Borrowed(&self.sent)),
            Encoding::Base64 => base64::decode(&self.sent).map(Cow::Owned),
        }
    }
}
