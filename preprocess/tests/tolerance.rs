//! Files with what programs write although the formats do not have it, and that
//! Pillow reads. Most are made from an image of `formats/` or `images/`.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use resnet_preprocess::{ImageError, Limits, Photo, photo};

fn file(name: &str) -> Vec<u8> {
    std::fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests")
            .join(name),
    )
    .unwrap()
}

fn whole(bytes: &[u8]) -> Result<Photo, ImageError> {
    photo(bytes, u32::MAX, &Limits::default())
}

fn rgb(bytes: &[u8]) -> Vec<u8> {
    whole(bytes).unwrap().rgb
}

fn find(bytes: &[u8], pattern: &[u8]) -> usize {
    let mut windows = bytes.windows(pattern.len());
    windows.position(|window| window == pattern).unwrap()
}

fn inserted(bytes: &[u8], at: usize, more: &[u8]) -> Vec<u8> {
    [&bytes[..at], more, &bytes[at..]].concat()
}

/// The parts joined in an error, which must be `Broken` for this reason.
fn broken(bytes: &[u8]) -> String {
    match whole(bytes) {
        Err(ImageError::Broken { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

fn unsupported(bytes: &[u8]) -> String {
    match whole(bytes) {
        Err(ImageError::Unsupported { found }) => found,
        other => panic!("{other:?}"),
    }
}

/// A GIF of 3 x 2 pixels with the indices 0, 1, 2, 3, 0, 1, in which `before` is
/// between the palette and the image. `flags` has the bits for a palette.
fn gif(flags: u8, palette: &[u8], before: &[u8], descriptor: [u8; 9]) -> Vec<u8> {
    let head = [
        &b"GIF89a\x03\0\x02\0"[..],
        &[flags, 0, 0],
        palette,
        before,
        b",",
    ]
    .concat();
    // Codes of 3 bits; the table is cleared before it grows: 4, 0, 1, 4, 2, 3, 4, 0, 1, 5.
    let codes = [4, 0, 1, 4, 2, 3, 4, 0, 1, 5_u32];
    let bits = codes.iter().rev().fold(0, |bits, code| bits << 3 | code);
    let data = bits.to_le_bytes();
    [&head[..], &descriptor, &[2, 4], &data, b"\0;"].concat()
}

const GREYS: [u8; 12] = [10, 10, 10, 20, 20, 20, 30, 30, 30, 40, 40, 40];
const WHOLE: [u8; 9] = [0, 0, 0, 0, 3, 0, 2, 0, 0];

/// The first channel of each pixel.
fn reds(bytes: &[u8]) -> Vec<u8> {
    rgb(bytes).chunks_exact(3).map(|pixel| pixel[0]).collect()
}

#[test]
fn what_is_between_the_blocks_of_a_gif_does_not_matter() {
    let plain = gif(0x81, &GREYS, b"", WHOLE);
    let expected = [10, 20, 30, 40, 10, 20];
    assert_eq!(reds(&plain), expected);
    for before in [
        &b"\0\0\0"[..],
        b"junk",
        b"\x21\xf9\0",
        b"\x21\xf9\x03\0\0\0\0",
        b"\x21\xf9\x05\0\0\0\0\0\0",
        b"\x21\xf9\x04\0\0\0\0\x02ab\0",
        b"\x21\xff\x0bUNKNOWN 1.0\x03abc\x01d\0",
        b"\x21\x42\0",
        b"\x21\xfe\x05hello\0",
    ] {
        assert_eq!(
            reds(&gif(0x81, &GREYS, before, WHOLE)),
            expected,
            "{before:?}"
        );
    }
    assert_eq!(reds(&[&plain[..], b"more"].concat()), expected);
    // The last block of the image and the trailer may be missing.
    assert_eq!(reds(&plain[..plain.len() - 2]), expected);
    assert!(broken(&plain[..plain.len() - 4]).contains("ends before its last pixel"));
    let none = [&plain[..25], b";"].concat();
    assert_eq!(broken(&none), "it contains no frame");
}

#[test]
fn a_gif_without_a_palette_is_grey_and_the_canvas_has_the_transparent_colour() {
    assert_eq!(reds(&gif(0, &[], b"", WHOLE)), [0, 1, 2, 3, 0, 1]);
    // Shades that are their own index are no palette either: of two, index 3 is grey.
    let two = [0, 0, 0, 1, 1, 1];
    assert_eq!(reds(&gif(0x80, &two, b"", WHOLE)), [0, 1, 2, 3, 0, 1]);
    let two = [9, 9, 9, 8, 8, 8];
    assert_eq!(reds(&gif(0x80, &two, b"", WHOLE)), [9, 8, 0, 0, 9, 8]);
    // A frame beyond the screen enlarges it.
    let control = b"\x21\xf9\x04\x01\0\0\x02\0";
    let moved = gif(0x81, &GREYS, control, [1, 0, 1, 0, 3, 0, 2, 0, 0]);
    assert_eq!(whole(&moved).unwrap().width, 4);
    let expected = [[30, 30, 30, 30], [30, 10, 20, 30], [30, 40, 10, 20]];
    assert_eq!(reds(&moved), expected.concat());
    let empty = gif(0x81, &GREYS, b"", [0, 0, 0, 0, 0, 0, 2, 0, 0]);
    assert!(broken(&empty).contains("width or height is 0"));
}

#[test]
fn the_rows_of_an_interlaced_gif_are_in_four_passes() {
    // One column of 10 rows.
    let head = b"GIF89a\x01\0\x0a\0\0\0\0,\0\0\0\0\x01\0\x0a\0\x40\x08";
    let indices: Vec<u8> = (0..10).collect();
    let mut encoder = weezl::encode::Encoder::new(weezl::BitOrder::Lsb, 8);
    let data = encoder.encode(&indices).unwrap();
    let file = [&head[..], &[data.len() as u8], &data, b"\0;"].concat();
    assert_eq!(reds(&file), [0, 5, 3, 6, 2, 7, 4, 8, 1, 9]);
}

#[test]
fn comments_and_any_maximum_value_of_a_pnm_are_read() {
    for header in [
        "P2 3 1 100 ",
        "P2\n# by a scanner\n3 # columns\n1\n#\n100\n",
        "P2#\r3\t1\r\n100\n",
    ] {
        let text = format!("{header}0 # black\n50 #\n100");
        assert_eq!(reds(text.as_bytes()), [0, 128, 255], "{header:?}");
    }
    let wide = |max: u16, value: u16| {
        let samples = [value; 3].map(u16::to_be_bytes).concat();
        let header = format!("P6 1 1 {max}\n");
        reds(&[header.as_bytes(), &samples].concat())[0]
    };
    assert_eq!(
        [wide(1000, 500), wide(65535, 65408), wide(300, 301)],
        [128, 255, 255]
    );
    assert_eq!(reds(b"P5 3 1 7\n\0\x03\x09"), [0, 109, 255]);
    assert_eq!(reds(b"P5 2 1 1023\n\x02\0\x03\xff"), [128, 255]);
    assert_eq!(reds(b"P1 3 2 10#\n1 0\n11"), [0, 255, 0, 255, 0, 0]);
    assert_eq!(
        reds(b"P4 9 1\n\x80\x7f"),
        [0, 255, 255, 255, 255, 255, 255, 255, 255]
    );
    assert_eq!(reds(b"P5 1 1 255#\n\x09"), [9]);

    for (file, reason) in [
        (&b"P5 1 1 0\n\0"[..], "maximum value"),
        (b"P5 1 1 65536\n\0", "maximum value"),
        (b"P2 1 1 9 10", "above its maximum"),
        (b"P2 1 1 9 -1", "not numbers"),
        (b"P2 2 1 9 1", "ends before its last pixel"),
        (b"P1 1 1 2", "digits 0 and 1"),
        (b"P6 2", "no height"),
        (b"P6 0 1 255\n", "width or height is 0"),
    ] {
        assert!(broken(file).contains(reason), "{}", broken(file));
    }
}

#[test]
fn the_lines_of_a_pam_are_in_any_order() {
    let file = b"P7\n# made by hand\nMAXVAL 255\nDEPTH 2\n\nTUPLTYPE GRAYSCALE_ALPHA\nHEIGHT 1\nWIDTH 2\nENDHDR\n\
        \x05\xff\x06\0";
    assert_eq!(reds(file), [5, 6]);
    let named = |lines: &str| {
        let file = format!("P7\nWIDTH 1\nHEIGHT 1\nMAXVAL 255\n{lines}\nENDHDR\n12345678");
        unsupported(file.as_bytes())
    };
    assert_eq!(named("DEPTH 5"), "a PAM image with 5 samples per pixel");
    assert!(named("DEPTH 4\nTUPLTYPE CMYK").contains("other colours"));
}

#[test]
fn a_qoi_may_say_anything_about_its_channels_and_colour_space() {
    let qoi = file("formats/rgb__qoi.qoi");
    let expected = rgb(&qoi);
    for (channels, space) in [(3, 0), (4, 0), (0, 9), (255, 255)] {
        let mut other = qoi.clone();
        (other[12], other[13]) = (channels, space);
        assert_eq!(rgb(&other), expected);
    }
    // A chunk with alpha, in an image of three channels; then the same pixel again.
    let alpha = b"qoif\0\0\0\x03\0\0\0\x01\x03\0\xff\x01\x02\x03\x04\xc0\x6a";
    assert_eq!(rgb(alpha), [1, 2, 3, 1, 2, 3, 1, 2, 3]);
    assert!(broken(&alpha[..20]).contains("ends before its last pixel"));
}

#[test]
fn an_icon_with_a_jpeg_is_named() {
    let mut icon = file("formats/rgb__ico_bmp.ico");
    icon.truncate(22);
    icon.extend(file("images/rgb.jpg"));
    assert_eq!(unsupported(&icon), "an ICO that contains a JPEG");
}

#[test]
fn segments_of_a_jpeg_that_do_not_matter_may_be_senseless() {
    let jpeg = file("images/rgb.jpg");
    let expected = rgb(&jpeg);
    for segment in [
        &b"\xff\xe5\0\0"[..],
        b"\xff\xe5\0\x01",
        b"\xff\xe1\0\0",
        b"\xff\xee\0\x02",
        b"\xff\xfe\0\x01",
        b"\xff\xcc\0\x02",
        b"\xff\xcc\0\x04\0\x10",
    ] {
        assert_eq!(rgb(&inserted(&jpeg, 2, segment)), expected, "{segment:x?}");
    }
    for segment in [&b"\xff\xdb\0\0"[..], b"\xff\xc4\0\x01", b"\xff\xf2\0\x02"] {
        broken(&inserted(&jpeg, 2, segment));
    }
    let lossless = inserted(&jpeg, 2, b"\xff\xf7\0\x02");
    assert_eq!(unsupported(&lossless), "a JPEG-LS image");
}

#[test]
fn chunks_of_a_webp_need_their_flags() {
    let turned = file("images/exif8.webp");
    let at = find(&turned, b"VP8X") + 8;
    assert_eq!(turned[at] & 8, 8);
    let size = |bytes: &[u8]| {
        whole(bytes)
            .map(|photo| [photo.width, photo.height])
            .unwrap()
    };
    let [width, height] = size(&turned);
    let mut unflagged = turned.clone();
    unflagged[at] &= !8;
    assert_eq!(size(&unflagged), [height, width]);
}

#[test]
fn the_size_of_an_animation_frame_is_that_of_its_pixels() {
    let animated = file("formats/rgb__webp_animated.webp");
    let expected = rgb(&animated);
    let at = find(&animated, b"ANMF");
    let mut other = animated.clone();
    other[at + 14] = 9;
    assert_eq!(rgb(&other), expected);
    let empty = [&b"ANMF\x10\0\0\0"[..], &[0; 16]].concat();
    assert_eq!(rgb(&inserted(&animated, at, &empty)), expected);
}

#[test]
fn xmp_of_a_tiff_has_the_orientation() {
    let tiff = file("formats/rgb__tiff_le.tif");
    let directory = u32::from_le_bytes(tiff[4..8].try_into().unwrap()) as usize;
    let count = u16::from_le_bytes(tiff[directory..directory + 2].try_into().unwrap());
    let old = &tiff[directory + 2..][..usize::from(count) * 12];
    // A copy of the directory at the end, with the orientation as XMP only.
    let xmp = b"<x tiff:Orientation=\"6\"/>";
    let entries = old.as_chunks::<12>().0.iter();
    let entries = entries.filter(|entry| entry[..2] != [0x12, 1]);
    let mut entries: Vec<u8> = entries.flatten().copied().collect();
    let mut entry = vec![0xbc, 2, 1, 0];
    entry.extend((xmp.len() as u32).to_le_bytes());
    entry.extend((tiff.len() as u32).to_le_bytes());
    entries.extend(entry);
    let mut with = [&tiff[..], xmp].concat();
    let start = (with.len() as u32).to_le_bytes();
    with[4..8].copy_from_slice(&start);
    with.extend((entries.len() as u16 / 12).to_le_bytes());
    with.extend(entries);
    with.extend([0; 4]);
    let (plain, turned) = (whole(&tiff).unwrap(), whole(&with).unwrap());
    // The left column, from the bottom, is the top row.
    let stride = 3 * plain.width as usize;
    let column = plain
        .rgb
        .chunks_exact(stride)
        .rev()
        .flat_map(|row| &row[..3]);
    let row: Vec<u8> = column.copied().collect();
    assert_eq!(turned.rgb[..row.len()], row);
}
