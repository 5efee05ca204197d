//! An image as it was sent: its bytes, or their base64 inside JSON.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use crate::admission::ByteShare;

/// One image of a request. It keeps its request's share of the byte budget
/// until it has been decoded.
pub struct Upload {
    sent: Bytes,
    encoding: Encoding,
    _share: Arc<ByteShare>,
}

/// How the bytes of an image were written down.
#[derive(Clone, Copy)]
pub enum Encoding {
    /// As they are.
    Plain,
    /// Base64 of either alphabet, with or without padding, line breaks or a
    /// `data:` URL's head.
    Base64,
}

/// Text that is not base64.
#[derive(Debug, thiserror::Error)]
#[error("the image is not base64 ({0}); encode the file's bytes, as `base64 cat.jpg` does")]
pub struct Base64Error(base64::DecodeError);

impl Upload {
    /// An image of the request whose body is counted in `share`.
    #[must_use]
    pub fn new(sent: Bytes, encoding: Encoding, share: Arc<ByteShare>) -> Self {
        Self {
            sent,
            encoding,
            _share: share,
        }
    }

    /// The image file's bytes.
    ///
    /// # Errors
    /// Text that is not base64.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>, Base64Error> {
        match self.encoding {
            Encoding::Plain => Ok(Cow::Borrowed(&self.sent)),
            Encoding::Base64 => decode(&self.sent).map(Cow::Owned),
        }
    }
}

fn decode(text: &[u8]) -> Result<Vec<u8>, Base64Error> {
    let text = match text.iter().position(|&b| b == b',') {
        Some(comma) if text.starts_with(b"data:") => &text[comma + 1..],
        _ => text,
    };
    let mut text = Cow::Borrowed(text);
    if text.iter().any(u8::is_ascii_whitespace) {
        text.to_mut().retain(|b| !b.is_ascii_whitespace());
    }
    let url_safe = text.iter().any(|b| matches!(b, b'-' | b'_'));
    let alphabet: &Alphabet = if url_safe { &URL_SAFE } else { &STANDARD };
    let lenient = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(alphabet, lenient)
        .decode(text)
        .map_err(Base64Error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_common_spelling_of_base64() {
        let bytes = [0xff_u8, 0xd8, 0xff, 0xe0, 0x3e, 0x3f, 0x00];
        for text in [
            "/9j/4D4/AA==",
            "/9j/4D4/AA",
            "_9j_4D4_AA",
            "/9j/\r\n4D4/\nAA==\n",
            "data:image/jpeg;base64,/9j/4D4/AA==",
        ] {
            assert_eq!(decode(text.as_bytes()).unwrap(), bytes, "{text}");
        }
    }

    #[test]
    fn what_is_not_base64_is_told() {
        let error = decode(b"cat.jpg").unwrap_err().to_string();
        assert!(error.contains("not base64"), "{error}");
    }
}
