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
        [0xff, 0xd8, 0xff, 0xf7, ..] => return Err(ImageError::unsupported("a JPEG-LS image")),
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
        // Some writers store the version in the other byte order; Pillow accepts that too.
        [b'I', b'I', 42 | 43, 0, ..]
        | [b'M', b'M', 0, 42 | 43, ..]
        | [b'I', b'I', 0, 42 | 43, ..]
        | [b'M', b'M', 42 | 43, 0, ..] => Format::Tiff,
        [b'q', b'o', b'i', b'f', ..] => Format::Qoi,
        [b'P', b'1'..=b'7', b' ' | b'\t' | b'\n' | b'\r' | b'#', ..] => Format::Pnm,
        [0xff, 0x0a, ..] => Format::JpegXl,
        [0xff, 0x4f, 0xff, 0x51, ..] => Format::Jpeg2000,
        _ if bytes.starts_with(b"\0\0\0\x0cJXL \r\n\x87\n") => Format::JpegXl,
        _ if bytes.starts_with(b"\0\0\0\x0cjP  \r\n\x87\n") => Format::Jpeg2000,
        _ if bytes.get(4..8) == Some(b"ftyp") && iso_media(bytes) == HEIC => Format::Heic,
        _ if is_bmp(bytes) => Format::Bmp,
        _ if is_icon(bytes) => Format::Ico,
        _ => return Err(refuse(bytes)),
    };
    Ok(format)
}

/// An icon or cursor: its first entry names data after the directory. TGA images can
/// start with the same four bytes as a cursor, whose reserved byte must be 0.
fn is_icon(bytes: &[u8]) -> bool {
    let &[0, 0, kind @ (1 | 2), 0, n0, n1, ref rest @ ..] = bytes else {
        return false;
    };
    let count = usize::from(u16::from_le_bytes([n0, n1]));
    let is_entry = |entry: &[u8; 16]| {
        let offset = u32::from_le_bytes([entry[12], entry[13], entry[14], entry[15]]);
        (kind == 1 || entry[3] == 0) && offset as usize >= 6 + 16 * count
    };
    count > 0 && rest.first_chunk::<16>().is_none_or(is_entry)
}

/// A TGA image (Truevision, 2.0). It has no signature at its start, so its header
/// must be one that programs write, or its footer must be there.
fn is_tga(bytes: &[u8]) -> bool {
    if bytes.ends_with(b"TRUEVISION-XFILE.\0") {
        return true;
    }
    let Some(header) = bytes.first_chunk::<18>() else {
        return false;
    };
    let has_palette = header[1] == 1;
    let is_known = match header[2] {
        1 | 9 => has_palette && header[16] == 8 && matches!(header[7], 15 | 16 | 24 | 32),
        2 | 10 => matches!(header[16], 15 | 16 | 24 | 32),
        3 | 11 => header[16] == 8,
        _ => false,
    };
    let has_pixels = header[12..14] != [0; 2] && header[14..16] != [0; 2];
    is_known && header[1] <= 1 && has_pixels && header[17] & 0xc0 == 0
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

/// The error for content that is not an image in a supported format.
fn refuse(bytes: &[u8]) -> ImageError {
    const SIGNATURES: [(&[u8], &str); 47] = [
        (b"%PDF", "a PDF document"),
        (
            b"\0\x05\x16\x07",
            "macOS metadata (AppleDouble), not the image itself",
        ),
        (b"\0\x05\x16\0", "a macOS archive (AppleSingle)"),
        (b"FUJIFILMCCD-RAW", "a Fujifilm raw image (RAF)"),
        (b"IIRO", "an Olympus raw image (ORF)"),
        (b"IIRS", "an Olympus raw image (ORF)"),
        (b"MMOR", "an Olympus raw image (ORF)"),
        (b"IIU\0", "a Panasonic raw image (RW2)"),
        (b"\0MRM", "a Minolta raw image (MRW)"),
        (b"FOVb", "a Sigma raw image (X3F)"),
        (b"gimp xcf", "a GIMP project (XCF)"),
        (b"8BPS", "a Photoshop document"),
        (b"\x76\x2f\x31\x01", "an OpenEXR image"),
        (b"#?RADIANCE", "a Radiance HDR image"),
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
        (b"bplist", "a property list of Apple"),
        (b"\xd0\xcf\x11\xe0", "a Microsoft Office document"),
        (b"\xc5\xd0\xd3\xc6", "a PostScript drawing (EPS)"),
        (b"II\x1a\0\0\0HEAPCCDR", "a Canon raw image (CRW)"),
        (b"IIII", "a Phase One raw image (IIQ)"),
        (b"II\xbc\x01", "a JPEG XR image"),
        (b"icns", "an icon of macOS (ICNS)"),
        (b"\x0a\x05\x01", "a PCX image"),
        (b"\x01\xda", "an SGI image"),
        (b"\x8aMNG", "an MNG animation"),
        (b"\x8bJNG", "a JNG image"),
        (b"AT&TFORM", "a DjVu document"),
        (b"SIMPLE  =", "a FITS image"),
        (b"farbfeld", "a farbfeld image"),
        (b"BPG\xfb", "a BPG image"),
        (b"FLIF", "a FLIF image"),
        (b"fLaC", "a FLAC recording"),
        (b"BZh", "bzip2-compressed data"),
        (b"\xfd7zXZ\0", "xz-compressed data"),
        (b"Rar!\x1a\x07", "a RAR archive"),
        (b"SQLite format 3\0", "a SQLite database"),
        (
            b"\xc3\xbf\xc3\x98\xc3\xbf",
            "a JPEG whose bytes were read as text and written as UTF-8",
        ),
    ];
    if let Some((_, name)) = SIGNATURES.iter().find(|(s, _)| bytes.starts_with(s)) {
        return ImageError::unsupported(*name);
    }
    if bytes.get(4..8) == Some(b"ftyp") {
        return ImageError::unsupported(iso_media(bytes));
    }
    if bytes.get(128..132) == Some(b"DICM") {
        return ImageError::unsupported("a DICOM file");
    }
    if bytes.starts_with(b"RIFF") && bytes.len() >= 12 {
        return ImageError::unsupported(match &bytes[8..12] {
            b"AVI " => "an AVI video",
            b"WAVE" => "a WAVE recording",
            _ => "a RIFF file other than WebP",
        });
    }
    match text(bytes).map(describe_text) {
        Some(Description::Stands(found)) => return ImageError::Text { found },
        Some(Description::Other(found)) => return ImageError::unsupported(found),
        None => {}
    }
    if is_tga(bytes) {
        return ImageError::unsupported("a TGA image");
    }
    let first: Vec<String> = bytes.iter().take(8).map(|b| format!("{b:02x}")).collect();
    let first = first.join(" ");
    ImageError::unsupported(format!(
        "a file in an unknown format (first bytes are {first})"
    ))
}

/// The name of HEIC, which is supported.
const HEIC: &str = "a HEIC image";

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
        HEIC
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

/// What a text is, with its article.
enum Description {
    /// It stands for an image that the sender could have sent instead.
    Stands(&'static str),
    /// It is something else.
    Other(&'static str),
}

/// Names the kind of a text.
fn describe_text(text: &str) -> Description {
    use Description::{Other, Stands};

    let text = text.trim_start_matches('\u{feff}').trim_start();
    let lower = text.to_ascii_lowercase();
    let starts = |prefixes: &[&str]| prefixes.iter().any(|p| lower.starts_with(p));
    if lower.contains("<svg") {
        Other("an SVG drawing")
    } else if starts(&["<!doctype html", "<html"]) {
        Other("an HTML page")
    } else if lower.starts_with('<') {
        Other("an XML or HTML document")
    } else if starts(&["%!ps"]) {
        Other("a PostScript document")
    } else if starts(&["{", "["]) {
        Stands("a JSON document")
    } else if starts(&["data:"]) {
        Stands("a data: URL")
    } else if starts(&["http://", "https://", "file://"]) {
        Stands("the address of an image")
    } else if is_base64_image(text) {
        Stands("an image as base64 text")
    } else if starts(&["ffd8ff", "89504e470d0a"]) {
        Stands("an image as hexadecimal text")
    } else {
        Other("plain text")
    }
}

/// Whether a text starts as the base64 of a JPEG, PNG, GIF, WebP, BMP, TIFF, HEIC
/// or AVIF file does.
fn is_base64_image(text: &str) -> bool {
    const STARTS: [&str; 8] = [
        "/9j/",
        "iVBORw0KGgo",
        "R0lGOD",
        "UklGR",
        "Qk0",
        "SUkqA",
        "TU0AK",
        "AAAA",
    ];
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/=-_\r\n".contains(c);
    STARTS.iter().any(|start| text.starts_with(start)) && text.trim_end().chars().all(is_base64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(bytes: &[u8]) -> String {
        match sniff(bytes) {
            Err(ImageError::Unsupported { found }) => found,
            Err(ImageError::Text { found }) => format!("the text {found}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn unsupported_content_is_named() {
        for (bytes, name) in [
            (&b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf"[..], "AVIF"),
            (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", "AVIF"),
            (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "QuickTime"),
            (b"\0\0\0\x14ftypisom\0\0\0\0isom", "MP4"),
            (b"\0\0\0\x08ftyp", "MP4"),
            (b"\0\x05\x16\x07\0\x02\0\0", "AppleDouble"),
            (b"\0\0\x02\0\0\0\0\0\0\0\0\0\x10\0\x10\0\x18\x20", "TGA"),
            (b"\0\0\x0a\0\0\0\0\0\0\0\0\0\x10\0\x10\0\x20\x08", "TGA"),
            (b"\x01\x02\x03TRUEVISION-XFILE.\0", "TGA"),
            (b"%PDF-1.7\n", "PDF"),
            (b"RIFF\x24\0\0\0AVI LIST", "AVI"),
            (b"RIFF\x24\0\0\0", "unknown"),
            (b"<?xml version=\"1.0\"?>\n<svg xmlns=\"\">", "SVG"),
            (b"  <!DOCTYPE html><p>", "HTML page"),
            (b"{\"image\": 1}", "the text a JSON"),
            (
                b"data:image/png;base64,iVBORw0KGgo=",
                "the text a data: URL",
            ),
            (b"https://example.com/cat.jpg", "the text the address"),
            (b"/9j/4AAQSkZJRg", "the text an image as base64"),
            (b"BMW 320i, one owner, full service history", "plain text"),
            (b"\xff\xd8\xff\xf7\0\x0b", "JPEG-LS"),
            (b"icns\0\0\x10\0", "ICNS"),
            (b"\xc3\xbf\xc3\x98\xc3\xbf\xc3\xa0", "read as text"),
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
        for (bytes, format) in [
            (&b"\0\0\x02\0\x01\0"[..], Format::Ico),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Format::Heic),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", Format::Heic),
            (b"\xff\x0a\x00\x10", Format::JpegXl),
        ] {
            assert_eq!(sniff(bytes), Ok(format));
        }
    }

    #[test]
    fn the_error_lists_the_supported_formats() {
        let text = ImageError::unsupported("a PDF document").to_string();
        for name in ["PDF", "JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF"] {
            assert!(text.contains(name), "{text}");
        }
    }
}
