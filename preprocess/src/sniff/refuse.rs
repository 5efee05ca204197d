//! Names content that is not an image in a supported format.

use crate::error::ImageError;
use crate::sniff::text::{Description, describe_text, text};

/// What files of other kinds start with, and their names with an article.
const SIGNATURES: &[(&[u8], &str)] = &[
    (b"%PDF", "a PDF document"),
    (
        b"\0\x05\x16\x07",
        "macOS metadata (AppleDouble), not the image itself",
    ),
    (b"\0\x05\x16\0", "a macOS archive (AppleSingle)"),
    // Raw images of cameras that are not TIFF files.
    (b"FUJIFILMCCD-RAW", "a Fujifilm raw image (RAF)"),
    (b"IIRO", "an Olympus raw image (ORF)"),
    (b"IIRS", "an Olympus raw image (ORF)"),
    (b"MMOR", "an Olympus raw image (ORF)"),
    (b"IIU\0", "a Panasonic raw image (RW2)"),
    (b"\0MRM", "a Minolta raw image (MRW)"),
    (b"FOVb", "a Sigma raw image (X3F)"),
    (b"II\x1a\0\0\0HEAPCCDR", "a Canon raw image (CRW)"),
    (b"IIII", "a Phase One raw image (IIQ)"),
    (b"MMMM", "a Phase One raw image (IIQ)"),
    // Documents of image editors.
    (b"gimp xcf", "a GIMP project (XCF)"),
    (b"8BPS", "a Photoshop document (PSD)"),
    (b"Paint Shop Pro Image File", "a Paint Shop Pro document"),
    // Images.
    (b"\x76\x2f\x31\x01", "an OpenEXR image"),
    (b"#?RADIANCE", "a Radiance HDR image"),
    (b"#?RGBE", "a Radiance HDR image"),
    (b"DDS ", "a DDS texture"),
    (b"\xabKTX ", "a KTX texture"),
    (b"\x13\xab\xa1\x5c", "an ASTC texture"),
    (b"PVR\x03", "a PVR texture"),
    (b"II\xbc\x01", "a JPEG XR image"),
    (b"\xff\x10\xff\x50", "a JPEG XS image"),
    (b"\x97JB2\r\n\x1a\n", "a JBIG2 image"),
    (b"icns", "an icon of macOS (ICNS)"),
    (b"\x0a\0\x01", "a PCX image"),
    (b"\x0a\x02\x01", "a PCX image"),
    (b"\x0a\x03\x01", "a PCX image"),
    (b"\x0a\x05\x01", "a PCX image"),
    (b"\xb1\x68\xde\x3a", "a DCX image"),
    (b"\x01\xda", "an SGI image"),
    (b"\x59\xa6\x6a\x95", "a Sun raster image"),
    (b"\x8aMNG", "an MNG animation"),
    (b"\x8bJNG", "a JNG image"),
    (b"AT&TFORM", "a DjVu document"),
    (b"SIMPLE  =", "a FITS image"),
    (b"farbfeld", "a farbfeld image"),
    (b"BPG\xfb", "a BPG image"),
    (b"FLIF", "a FLIF image"),
    (b"SDPX", "a DPX image"),
    (b"XPDS", "a DPX image"),
    (b"\x80\x2a\x5f\xd7", "a Cineon image"),
    (
        b"PF\n",
        "a PFM image, whose pixels are floating-point numbers",
    ),
    (
        b"Pf\n",
        "a PFM image, whose pixels are floating-point numbers",
    ),
    (b"P7 332", "a thumbnail of the program xv"),
    // Drawings.
    (b"\xc5\xd0\xd3\xc6", "a PostScript drawing (EPS)"),
    (b"\xd7\xcd\xc6\x9a", "a Windows drawing (WMF)"),
    (b"\x01\0\x09\0\0\x03", "a Windows drawing (WMF)"),
    // Videos and recordings.
    (b"\x1a\x45\xdf\xa3", "a Matroska or WebM video"),
    (b"OggS", "an Ogg recording"),
    (b"FLV\x01", "a Flash video"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media video"),
    (b"\0\0\x01\xba", "an MPEG video"),
    (b"\0\0\x01\xb3", "an MPEG video"),
    (b"ID3", "an MP3 recording"),
    (b"\xff\xfb", "an MP3 recording"),
    (b"\xff\xf1", "an AAC recording"),
    (b"fLaC", "a FLAC recording"),
    // Archives and data.
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"\x28\xb5\x2f\xfd", "Zstandard-compressed data"),
    (b"BZh", "bzip2-compressed data"),
    (b"\xfd7zXZ\0", "xz-compressed data"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x7fELF", "an executable program"),
    (b"MZ\x90\0", "an executable program"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x80\x02}", "a pickled Python object"),
    (b"\x80\x03", "a pickled Python object"),
    (b"\x80\x04\x95", "a pickled Python object"),
    (b"\x80\x05\x95", "a pickled Python object"),
    (b"\x89HDF\r\n", "an HDF5 file"),
    (b"bplist", "a property list of Apple"),
    (b"\xd0\xcf\x11\xe0", "a Microsoft Office document"),
    (b"SQLite format 3\0", "a SQLite database"),
    // Byte-order marks.
    (b"\xff\xfe", "text in UTF-16"),
    (b"\xfe\xff", "text in UTF-16"),
];

/// What files start with whose bytes were taken for characters.
const MANGLED: &[(&[u8], &str)] = &[
    (
        b"\xc3\xbf\xc3\x98\xc3\xbf",
        "a JPEG whose bytes were read as text and written as UTF-8",
    ),
    (
        b"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
        "a file whose bytes were read as text and are lost",
    ),
    (
        b"\xef\xbf\xbdPNG\r\n",
        "a PNG whose bytes were read as text and are lost",
    ),
    (
        b"\xc2\x89PNG\r\n",
        "a PNG whose bytes were read as text and written as UTF-8",
    ),
];

/// What files of other kinds have at a later position.
const INNER_SIGNATURES: &[(usize, &[u8], &str)] = &[
    (128, b"DICM", "a DICOM file"),
    (40, b" EMF", "a Windows drawing (EMF)"),
    (257, b"ustar", "a tar archive"),
    (4, b"moov", "a QuickTime video"),
    (4, b"mdat", "a QuickTime video"),
    (4, b"wide", "a QuickTime video"),
    (8, b"ILBM", "an ILBM image"),
];

/// The error for content that is not an image in a supported format.
pub(super) fn refuse(bytes: &[u8]) -> ImageError {
    if let Some(name) = starting_with(MANGLED, bytes) {
        return ImageError::unsupported(name);
    }
    match text(bytes).map(describe_text) {
        Some(Description::Stands(found)) => return ImageError::Text { found },
        Some(Description::Other(found)) => return ImageError::unsupported(found),
        None => {}
    }
    if let Some(found) = message(bytes) {
        return ImageError::Text { found };
    }
    if let Some(name) = name(bytes) {
        return ImageError::unsupported(name);
    }
    let first: Vec<String> = bytes.iter().take(8).map(|b| format!("{b:02x}")).collect();
    let first = first.join(" ");
    ImageError::unsupported(format!(
        "a file in an unknown format (first bytes are {first})"
    ))
}

/// Names binary content.
fn name(bytes: &[u8]) -> Option<&'static str> {
    let named_inside = |(at, signature, name): &(usize, &[u8], &'static str)| {
        let found = bytes.get(*at..*at + signature.len());
        (found == Some(*signature)).then_some(*name)
    };
    starting_with(SIGNATURES, bytes)
        .or_else(|| (bytes.get(4..8) == Some(b"ftyp")).then(|| iso_media(bytes)))
        .or_else(|| INNER_SIGNATURES.iter().find_map(named_inside))
        .or_else(|| riff(bytes))
        .or_else(|| is_headless_bmp(bytes).then_some("a bitmap without its file header (DIB)"))
        .or_else(|| is_transport_stream(bytes).then_some("an MPEG video"))
        .or_else(|| is_tga(bytes).then_some("a TGA image"))
}

fn starting_with(names: &[(&[u8], &'static str)], bytes: &[u8]) -> Option<&'static str> {
    let mut names = names.iter();
    let found = names.find(|(signature, _)| bytes.starts_with(signature));
    found.map(|(_, name)| *name)
}

/// Names a file of the RIFF family.
fn riff(bytes: &[u8]) -> Option<&'static str> {
    let kind = bytes.strip_prefix(b"RIFF")?.get(4..8)?;
    Some(match kind {
        b"AVI " => "an AVI video",
        b"WAVE" => "a WAVE recording",
        b"ACON" => "an animated cursor (ANI)",
        kind if kind.starts_with(b"CDR") => "a CorelDRAW drawing",
        _ => "a RIFF file other than WebP",
    })
}

/// Names a message of HTTP or of a form that has an image inside.
fn message(bytes: &[u8]) -> Option<&'static str> {
    let head = &bytes[..bytes.len().min(512)].to_ascii_lowercase();
    let has_header = memchr::memmem::find(head, b"\ncontent-").is_some();
    if head.starts_with(b"--") && has_header {
        Some("a multipart message with its boundary lines")
    } else if head.starts_with(b"http/1.") {
        Some("an HTTP response with its headers")
    } else {
        None
    }
}

/// The name of HEIC, which is supported.
pub(super) const HEIC: &str = "a HEIC image";

/// Names a file of the ISO base media family (ISO/IEC 14496-12): images and
/// videos that are identified by four-character brands.
pub(super) fn iso_media(bytes: &[u8]) -> &'static str {
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
    } else if major.starts_with(b"M4A") {
        "an MPEG-4 recording"
    } else {
        "an MP4 video"
    }
}

/// A bitmap from the clipboard: the second header of a BMP is the first.
fn is_headless_bmp(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [
            40 | 52 | 56 | 108 | 124,
            0,
            0,
            0,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            1,
            0,
            1..=32,
            0,
            ..
        ]
    )
}

/// Packets of 188 bytes, each with a sync byte.
fn is_transport_stream(bytes: &[u8]) -> bool {
    const SYNC: Option<&u8> = Some(&0x47);
    [0, 188, 376].iter().all(|&at| bytes.get(at) == SYNC)
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
