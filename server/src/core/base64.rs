//! Base64 as clients send it: either alphabet, with or without padding, line
//! breaks or the prefix of a `data:` URL.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Text that is not base64.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the image is not valid base64 ({0}); encode the bytes of the file, as `base64 -w0 cat.jpg` does"
)]
pub struct Base64Error(base64::DecodeError);

/// The bytes that `text` encodes.
///
/// # Errors
/// Text that is not base64.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, Base64Error> {
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
    fn all_common_variants_of_base64_are_accepted() {
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
    fn text_that_is_not_base64_is_an_error() {
        let error = decode(b"cat.jpg").unwrap_err().to_string();
        assert!(error.contains("not valid base64"), "{error}");
    }
}
