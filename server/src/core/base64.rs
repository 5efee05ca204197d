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
    let mut text = Cow::Borrowed(payload(text));
    if has_blanks(&text) {
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

/// The most bytes that [`decode`] allocates for this text.
#[must_use]
pub fn memory(text: &[u8]) -> usize {
    let text = payload(text);
    let copy = if has_blanks(text) { text.len() } else { 0 };
    base64::decoded_len_estimate(text.len()) + copy
}

/// The text without blanks around it and without the prefix of a `data:` URL,
/// whose scheme is written in any case (RFC 3986, section 3.1).
fn payload(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii();
    let is_url = text
        .get(..5)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"data:"));
    match text.iter().position(|&b| b == b',') {
        Some(comma) if is_url => text[comma + 1..].trim_ascii(),
        _ => text,
    }
}

fn has_blanks(text: &[u8]) -> bool {
    text.iter().any(u8::is_ascii_whitespace)
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
            "DATA:image/jpeg;BASE64,/9j/4D4/AA==",
            " \n data:image/jpeg;base64, /9j/4D4/AA== ",
        ] {
            assert_eq!(decode(text.as_bytes()).unwrap(), bytes, "{text}");
        }
    }

    #[test]
    fn text_that_is_not_base64_is_an_error() {
        let error = decode(b"cat.jpg").unwrap_err().to_string();
        assert!(error.contains("not valid base64"), "{error}");
    }

    #[test]
    fn the_memory_of_decoding_is_known_before() {
        for text in ["/9j/4D4/AA==", " data:,/9j/4D4/AA", "/9j/\n4D4/AA"] {
            let decoded = decode(text.as_bytes()).unwrap();
            assert!(memory(text.as_bytes()) >= decoded.len(), "{text}");
        }
        // A copy without the line breaks, and the bytes.
        let lines = "AAAA\n".repeat(1000);
        assert!(memory(lines.as_bytes()) >= 4999 + 3000);
        assert!(memory("AAAA".repeat(1000).as_bytes()) < 3100);
    }
}
