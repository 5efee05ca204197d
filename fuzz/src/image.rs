//! Image files: every decoder alone, and all of reading.

use std::cell::Cell;
use std::sync::Once;

use resnet_preprocess::{
    Format, ImageError, Interpolation, Limits, Preprocessing, Resize, is_decoding, photo, read,
    read_unless,
};

use crate::measured::{Bounds, within};

/// Small, so that an input that takes too much time or memory shows at once.
pub const MAX_PIXELS: u64 = 1 << 18;

/// The limits of all targets.
pub const LIMITS: Limits = Limits {
    max_pixels: MAX_PIXELS,
};

/// Bytes for each pixel of the limit, as README.md states them.
const BYTES_PER_PIXEL: usize = 11;

/// Bytes of tables and buffers whose size does not depend on the image.
const OTHERS: usize = 4 << 20;

/// What reading an image of this number of bytes may use.
fn bounds(bytes: usize) -> Bounds {
    Bounds {
        bytes: BYTES_PER_PIXEL * MAX_PIXELS as usize + OTHERS + 2 * bytes,
        seconds: 5.0,
    }
}

/// Reads `bytes` as an image of this format: a signature is written over the first
/// bytes if they have none.
pub fn decode(format: Format, bytes: &[u8]) {
    abort_on_our_panics();
    let bytes = &with_signature(format, bytes)[..];
    let preprocessing = preprocessing(bytes.len());
    let result = within(&bounds(bytes.len()), || {
        if bytes.len().is_multiple_of(4) {
            return photo(bytes, 300, &LIMITS).map(drop);
        }
        read(bytes, &preprocessing, &LIMITS).map(drop)
    });
    check(result);
}

/// Reads any bytes, then once more until it is cancelled.
pub fn read_any(bytes: &[u8]) {
    abort_on_our_panics();
    let preprocessing = preprocessing(bytes.len());
    let calls = Cell::new(0_usize);
    let first = within(&bounds(bytes.len()), || {
        read_unless(bytes, &preprocessing, &LIMITS, &|| {
            calls.set(calls.get() + 1);
            false
        })
    });
    check(first.map(drop));
    let most = calls.get();
    if most > 0 {
        let stop = bytes.len() % most;
        calls.set(0);
        let second = read_unless(bytes, &preprocessing, &LIMITS, &|| {
            calls.set(calls.get() + 1);
            calls.get() > stop
        });
        assert_eq!(second, Err(ImageError::Cancelled), "{stop} of {most} calls");
    }
}

/// The text of an error is for people, and short.
fn check(result: Result<(), ImageError>) {
    if let Err(error) = result {
        let text = error.to_string();
        assert!(text.len() < 400, "{text}");
    }
}

/// One of several preprocessings, which the length of the file selects.
fn preprocessing(length: usize) -> Preprocessing {
    let imagenet = Preprocessing::imagenet();
    match length % 3 {
        0 => imagenet,
        1 => Preprocessing {
            resize: Resize::ShortSide(18),
            crop: 16,
            interpolation: Interpolation::Bicubic,
            ..imagenet
        },
        _ => Preprocessing {
            resize: Resize::Exact(33),
            crop: 33,
            interpolation: Interpolation::Lanczos,
            ..imagenet
        },
    }
}

/// `bytes`, starting with a signature of `format`.
fn with_signature(format: Format, bytes: &[u8]) -> Vec<u8> {
    // The first signature of each is the usual one.
    let (at, signatures): (usize, &[&[u8]]) = match format {
        Format::Jpeg => (0, &[b"\xff\xd8\xff"]),
        Format::Png => (0, &[b"\x89PNG\r\n\x1a\n"]),
        Format::WebP => (8, &[b"WEBP"]),
        Format::Gif => (0, &[b"GIF89a", b"GIF87a"]),
        Format::Bmp => (0, &[b"BM"]),
        Format::Tiff => (
            0,
            &[b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"II\0*", b"MM*\0"],
        ),
        Format::Heic => (4, &[b"ftyphei", b"ftypmif1", b"ftypmsf1", b"ftyphev"]),
        Format::JpegXl => (0, &[b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"]),
        Format::Jpeg2000 => (0, &[b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n"]),
        Format::Ico => (0, &[b"\0\0\x01\0", b"\0\0\x02\0"]),
        Format::Pnm => (
            0,
            &[b"P6\n", b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"P7"],
        ),
        Format::Qoi => (0, &[b"qoif"]),
    };
    let mut bytes = bytes.to_vec();
    let has_one = |signature: &&[u8]| bytes.get(at..).is_some_and(|b| b.starts_with(signature));
    if !signatures.iter().any(has_one) {
        let end = at + signatures[0].len();
        bytes.resize(bytes.len().max(end), 0);
        bytes[at..end].copy_from_slice(signatures[0]);
    }
    if format == Format::WebP {
        bytes[..4].copy_from_slice(b"RIFF");
    }
    bytes
}

/// Ends the run at a panic of our code. Panics of other projects' decoders are errors
/// of the image: the guard turns them into answers, and README.md lists them.
fn abort_on_our_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let file = panic.location().map_or("", |location| location.file());
            if !is_decoding() || file.contains("preprocess/src") {
                default(panic);
                std::process::abort();
            }
            if std::env::var_os("FUZZ_PANICS").is_some() {
                default(panic);
            }
        }));
    });
}
