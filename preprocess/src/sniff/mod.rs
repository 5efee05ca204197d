//! Detects the format from the first bytes. Content types and file names are
//! ignored because they are often wrong.

mod refuse;
mod text;

use crate::decode::pnm::is_pnm;
use crate::error::ImageError;
use crate::format::Format;
use crate::sniff::refuse::{HEIC, iso_media, refuse};
use crate::sniff::text::text;

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
        [b'q', b'o', b'i', b'f', ..] if text(bytes).is_none() => Format::Qoi,
        _ if is_pnm(bytes) => Format::Pnm,
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

/// "BM" alone also starts ordinary text, so the length of the second header,
/// which has few valid values, is checked as well.
fn is_bmp(bytes: &[u8]) -> bool {
    bytes.starts_with(b"BM")
        && matches!(
            bytes.get(14..18),
            Some([12 | 16 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0])
        )
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
            (b"P5 meeting at 10", "plain text"),
            (b"P1 is a plan for the year", "plain text"),
            (b"P7 is a plan for the year", "plain text"),
            (
                b"qoif is a format, and this is a text about it",
                "plain text",
            ),
            (b"AAAA batteries", "plain text"),
            (b"key=value", "plain text"),
            (b"\xff\xd8\xff\xf7\0\x0b", "JPEG-LS"),
            (b"8BPS\0\x01\0\0", "Photoshop"),
            (b"\x89HDF\r\n\x1a\n", "HDF5"),
            (b"\xabKTX 11\xbb\r\n\x1a\n", "KTX"),
            (b"\xabKTX 20\xbb\r\n\x1a\n", "KTX"),
            (b"\xd7\xcd\xc6\x9a\0\0", "WMF"),
            (b"\x59\xa6\x6a\x95\0\0", "Sun raster"),
            (b"\x0a\x02\x01\x08\0\0", "PCX"),
            (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n", "Radiance"),
            (b"SIMPLE  =                    T", "FITS"),
            (b"/* XPM */\nstatic char *a[] = {", "XPM"),
            (b"#define cat_width 16\n#define cat_height 16\n", "XBM"),
            (b"PF\n3 2\n-1.0\n\0\0\x80\x3f", "PFM"),
            (b"P7 332\n#END_OF_COMMENTS\n80 60 255\n\0", "xv"),
            (b"\0\0\0\x08wide\0\0\0\0mdat", "QuickTime"),
            (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media"),
            (b"RIFF\x24\0\0\0ACONanih", "animated cursor"),
            (b"%!PS-Adobe-3.0 EPSF-3.0\n", "EPS"),
            (b"\xff\xfeh\0i\0", "UTF-16"),
            (b"\x28\0\0\0\x10\0\0\0\x10\0\0\0\x01\0\x18\0\0\0", "DIB"),
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
            (b"P5\n# a comment\n3 # another\n2\n255\n", Format::Pnm),
            (b"P6#x\n3 ", Format::Pnm),
            (b"P7\n# a comment\nDEPTH 3\n", Format::Pnm),
            (b"qoif\0\0\0\x01\0\0\0\x01\x03\0", Format::Qoi),
        ] {
            assert_eq!(sniff(bytes), Ok(format));
        }
    }

    #[test]
    fn an_image_as_text_is_found_in_any_wrapping() {
        for (text, name) in [
            ("\"/9j/4AAQSkZJRgABAQAA\"", "an image as base64 text"),
            ("b'/9j/4AAQSkZJRgABAQAA'", "an image as base64 text"),
            ("\"\\/9j\\/4AAQSkZJRgABAQAA\"", "an image as base64 text"),
            ("_9j_4AAQSkZJRgABAQ-_", "an image as base64 text"),
            ("%2F9j%2F4AAQSkZJRgABAQAA", "an image as base64 text"),
            ("image=/9j/4AAQSkZJRgABAQAA", "an image as base64 text"),
            (
                "top=5&image=%2F9j%2F4AAQSkZJRg%3D%3D",
                "an image as base64 text",
            ),
            (
                "image=\"iVBORw0KGgoAAAANSUhEUg==\"",
                "an image as base64 text",
            ),
            (
                "image/png;base64,iVBORw0KGgoAAAANSUhEUg==",
                "an image as base64 text",
            ),
            ("iVBORw0KGgoAAAANSUhEUg==\r\n", "an image as base64 text"),
            ("\"data:image/png;base64,iVBORw0KGgo=\"", "a data: URL"),
            (
                "image=data%3Aimage%2Fpng%3Bbase64%2CiVBORw0KGgo",
                "a data: URL",
            ),
            ("\"https://example.com/cat.jpg\"", "the address of an image"),
            (
                "url=https%3A%2F%2Fexample.com%2Fcat.jpg",
                "the address of an image",
            ),
            ("0xFFD8FFE000104A464946", "an image as hexadecimal text"),
            ("image=%FF%D8%FF%E0", "an image as percent-encoded text"),
            (
                "b'\\xff\\xd8\\xff\\xe0\\x00\\x10JFIF'",
                "an image as the text of Python bytes",
            ),
            (
                "version https://git-lfs.github.com/spec/v1\n",
                "a pointer file of Git LFS",
            ),
        ] {
            assert_eq!(found(text.as_bytes()), format!("the text {name}"), "{text}");
        }
    }

    #[test]
    fn a_message_around_an_image_is_named() {
        let image = b"\r\n\r\n\xff\xd8\xff\xe0\0\x10JFIF";
        for (head, name) in [
            ("--x\r\nContent-Type: image/jpeg", "a multipart message"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9", "an HTTP response"),
        ] {
            let bytes = [head.as_bytes(), image].concat();
            assert!(found(&bytes).starts_with(&format!("the text {name}")));
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
