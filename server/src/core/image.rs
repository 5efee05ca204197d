//! An image as it was sent: the bytes of a file, or their base64 text.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;

use super::admission::ByteShare;
use super::base64;
use super::error::Error;

/// One image of a request. It holds a reference to its request's share of the
/// byte budget until it has been decoded.
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
