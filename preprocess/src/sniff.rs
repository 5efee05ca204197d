//! Detects the format from the first bytes. Content types and file names are
//! ignored because they are often wrong.

use crate::error::ImageError;
use crate::format::Format;

/// Detects the format of `bytes`.
///
/// # Errors
/// `Empty` for an empty slice. `Unsupported`, with the name of the detected
/// content, for anything that is not one of [`Format`].
pub(crate) fn sniff(bytes: &[u8]) -> Result<Format, ImageError> {
    let format = match bytes {
        [] => return Err(ImageError::Empty),
        [0xff, 0xd8, 0xff, ..] => Format::Jpeg,
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Format::Png,
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => Format::WebP,
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Format::Gif,
        [b'I', b'I', 42, 0, _, _, _, _, b'C', b'R', ..] => {
            return Err(ImageError::unsupported("a Canon raw image (CR2)"));
        }
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Format::Tiff,
        _ if is_bmp(bytes) => Format::Bmp,
        _ => return Err(ImageError::unsupported(describe(bytes))),
    };
    Ok(format)
}

/// "BM" alone also starts ordinary text, so the length of the second header,
/// which has few valid values, is checked as well.
fn is_bmp(bytes: &[u8]) -> bool {
    bytes.starts_with(b"BM")
        && matches!(
            bytes.get(14..18),
            Some([12 | 16 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0])
        )
}

/// Names the content of a file in an unsupported format, with its article.
fn describe(bytes: &[u8]) -> String {
    const SIGNATURES: [(&[u8], &str); 22] = [
        (b"%PDF", "a PDF document"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
        (b"\xff\x0a", "a JPEG XL image"),
        (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
        (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
        (b"\0\0\x01\0", "a Windows icon (ICO)"),
        (b"\0\0\x02\0", "a Windows cursor (CUR)"),
        (b"8BPS", "a Photoshop document"),
        (b"\x76\x2f\x31\x01", "an OpenEXR image"),
        (b"#?RADIANCE", "a Radiance HDR image"),
        (b"qoif", "a QOI image"),
        (b"DDS ", "a DDS texture"),
        (b"\x1a\x45\xdf\xa3", "a Matroska or WebM video"),
        (b"OggS", "an Ogg recording"),
        (b"FLV\x01", "a Flash video"),
        (b"ID3", "an MP3 recording"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"\x1f\x8b", "gzip-compressed data"),
        (b"\x28\xb5\x2f\xfd", "Zstandard-compressed data"),
        (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
        (b"\x7fELF", "an executable program"),
        (b"\x93NUMPY", "a NumPy array"),
    ];
    if let Some((_, name)) = SIGNATURES.iter().find(|(s, _)| bytes.starts_with(s)) {
        return (*name).to_string();
    }
    if bytes.get(4..8) == Some(b"ftyp") {
        return iso_media(bytes).to_string();
    }
    if bytes.starts_with(b"RIFF") && bytes.len() >= 12 {
        return match &bytes[8..12] {
            b"AVI " => "an AVI video".to_string(),
            b"WAVE" => "a WAVE recording".to_string(),
            _ => "a RIFF file other than WebP".to_string(),
        };
    }
    if let Some(text) = text(bytes) {
        return describe_text(text).to_string();
    }
    let first: Vec<String> = bytes.iter().take(8).map(|b| format!("{b:02x}")).collect();
    format!(
        "a file in an unknown format (first bytes are {})",
        first.join(" ")
    )
}

/// Names a file of the ISO base media family (ISO/IEC 14496-12): images and
/// videos that are identified by four-character brands.
fn iso_media(bytes: &[u8]) -> &'static str {
    let end = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    let brands = &bytes[8..end.clamp(8, bytes.len().min(256))];
    let has = |brand: &[u8]| brands.chunks_exact(4).any(|b| b == brand);
    let major = brands.get(..4).unwrap_or_default();
    if has(b"avif") || has(b"avis") {
        "an AVIF image"
    } else if major.starts_with(b"he") || has(b"mif1") || has(b"msf1") {
        "a HEIC image"
    } else if major == b"crx " {
        "a Canon raw image (CR3)"
    } else if major == b"qt  " {
        "a QuickTime video"
    } else {
        "an MP4 video"
    }
}

/// The first 1024 bytes as text, if they are UTF-8 without control characters.
/// A character that the limit cuts in two is left out.
fn text(bytes: &[u8]) -> Option<&str> {
    let head = &bytes[..bytes.len().min(1024)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(e) if e.error_len().is_none() => std::str::from_utf8(&head[..e.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    let plain = |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r' | '\u{c}');
    text.chars().all(plain).then_some(text)
}

/// Names the kind of a text.
fn describe_text(text: &str) -> &'static str {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let lower = text.to_ascii_lowercase();
    if lower.contains("<svg") {
        "an SVG drawing"
    } else if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
        "an HTML page"
    } else if lower.starts_with('<') {
        "an XML or HTML document"
    } else if text.starts_with('{') || text.starts_with('[') {
        "a JSON document"
    } else if lower.starts_with("data:") {
        "a data: URL instead of the image itself"
    } else if lower.starts_with("http://") || lower.starts_with("https://") {
        "the address of an image instead of the image itself"
    } else if ["/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR"]
        .iter()
        .any(|b| text.starts_with(b))
    {
        "an image as base64 text instead of its bytes"
    } else {
        "plain text"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(bytes: &[u8]) -> String {
        match sniff(bytes) {
            Err(ImageError::Unsupported { found }) => found,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn unsupported_content_is_named() {
        for (bytes, name) in [
            (&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], "HEIC"),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
            (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "AVIF"),
            (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", "AVIF"),
            (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "QuickTime"),
            (b"\0\0\0\x14ftypisom\0\0\0\0isom", "MP4"),
            (b"\0\0\0\x08ftyp", "MP4"),
            (b"\xff\x0a\x00\x10", "JPEG XL"),
            (b"\0\0\x01\0\x01\0", "ICO"),
            (b"%PDF-1.7\n", "PDF"),
            (b"RIFF\x24\0\0\0AVI LIST", "AVI"),
            (b"RIFF\x24\0\0\0", "unknown"),
            (b"<?xml version=\"1.0\"?>\n<svg xmlns=\"\">", "SVG"),
            (b"  <!DOCTYPE html><p>", "HTML page"),
            (b"{\"image\": 1}", "JSON"),
            (b"data:image/png;base64,iVBORw0KGgo=", "data: URL"),
            (b"https://example.com/cat.jpg", "address"),
            (b"/9j/4AAQSkZJRg", "base64"),
            (b"BMW 320i, one owner, full service history", "plain text"),
            (b"\x01\x02\x03", "first bytes are 01 02 03"),
        ] {
            assert!(found(bytes).contains(name), "{name}: {}", found(bytes));
        }
        // In one of these, the 1024-byte limit cuts a two-byte character in half.
        let even = "ä".repeat(900);
        let odd = format!("a{even}");
        assert_eq!(found(even.as_bytes()), "plain text");
        assert_eq!(found(odd.as_bytes()), "plain text");
        assert_eq!(sniff(b""), Err(ImageError::Empty));
    }

    #[test]
    fn the_error_lists_the_supported_formats() {
        let text = ImageError::unsupported("a PDF document").to_string();
        for name in ["PDF", "JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF"] {
            assert!(text.contains(name), "{text}");
        }
    }
}
