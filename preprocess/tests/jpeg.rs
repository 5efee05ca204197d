//! JPEG files of every kind that libjpeg-turbo reads, compared with its pixels; and
//! damaged, hostile and unsupported ones, which are refused. `jpeg/make.py` writes
//! the files.

#![allow(clippy::unwrap_used)]

#[path = "support/allocations.rs"]
mod allocations;

use std::path::{Path, PathBuf};

use resnet_preprocess::{ImageError, Interpolation, Limits, Pixels, Preprocessing, Resize, read};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jpeg")
}

/// A generated file, with the CRC-32 of its RGB pixels.
struct Generated {
    name: String,
    size: [usize; 2],
    crc: u32,
    bytes: Vec<u8>,
}

fn generated() -> Vec<Generated> {
    let list = std::fs::read_to_string(folder().join("expected.txt")).unwrap();
    let parse = |line: &str| {
        let [name, width, height, crc] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        Generated {
            name: name.to_owned(),
            size: [width, height].map(|side| side.parse().unwrap()),
            crc: crc.parse().unwrap(),
            bytes: std::fs::read(folder().join(name)).unwrap(),
        }
    };
    list.lines().map(parse).collect()
}

fn file(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap()
}

/// Preprocessing that copies the whole image to the centre of a black square.
fn unchanged([width, height]: [usize; 2]) -> Preprocessing {
    Preprocessing {
        resize: Resize::ShortSide(width.min(height) as u32),
        crop: width.max(height) as u32,
        interpolation: Interpolation::Nearest,
        ..Preprocessing::imagenet()
    }
}

/// The RGB pixels of a whole image.
fn decode(bytes: &[u8], size: [usize; 2]) -> Result<Vec<u8>, ImageError> {
    let Pixels(square) = read(bytes, &unchanged(size), &Limits::default())?;
    let [width, height] = size;
    let side = width.max(height);
    let [left, top] = size.map(|length| (side - length) / 2);
    let rows = square.chunks_exact(side * 3).skip(top).take(height);
    Ok(rows
        .flat_map(|row| row[left * 3..][..width * 3].to_vec())
        .collect())
}

/// CRC-32 of ISO 3309.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

fn find(bytes: &[u8], pattern: &[u8]) -> usize {
    let mut windows = bytes.windows(pattern.len());
    windows.position(|window| window == pattern).unwrap()
}

fn assert_broken<T: std::fmt::Debug>(result: Result<T, ImageError>, part: &str, name: &str) {
    match result {
        Err(ImageError::Broken { reason, .. }) if reason.contains(part) => {}
        other => panic!("{name}: {other:?}"),
    }
}

fn assert_unsupported(bytes: &[u8], part: &str) {
    match read(bytes, &Preprocessing::imagenet(), &Limits::default()) {
        Err(ImageError::Unsupported { found }) if found.contains(part) => {}
        other => panic!("{part}: {other:?}"),
    }
}

#[test]
fn pixels_are_those_of_libjpeg_turbo() {
    let mut wrong = Vec::new();
    for image in generated() {
        let pixels = decode(&image.bytes, image.size);
        if pixels.as_ref().map(|pixels| crc32(pixels)) != Ok(image.crc) {
            wrong.push((image.name, pixels.err()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_missing_end_marker_is_no_damage_but_a_missing_pixel_is() {
    for Generated {
        name, size, bytes, ..
    } in generated()
    {
        // After a lost marker, the last interval has no data anyway.
        if name.starts_with("marker") {
            continue;
        }
        let whole = decode(&bytes, size).unwrap();
        let image = &bytes[..bytes.len() - 2];
        assert_eq!(decode(image, size).as_ref(), Ok(&whole), "{name}");
        let padded = [image, &[0; 300]].concat();
        assert_eq!(decode(&padded, size).as_ref(), Ok(&whole), "{name}, zeros");
        for missing in [2, 9] {
            let cut = &image[..image.len() - missing];
            assert_broken(decode(cut, size), "ends before", &name);
            let marked = [cut, b"\xff\xd9"].concat();
            assert_broken(decode(&marked, size), "", &name);
        }
    }
}

#[test]
fn reduced_sizes_are_close_to_the_full_size() {
    // At a short side of 4 pixels, all files are decoded at 1/4 of their size.
    for Generated { name, bytes, .. } in generated() {
        let preprocessing = Preprocessing {
            resize: Resize::ShortSide(4),
            crop: 4,
            ..Preprocessing::imagenet()
        };
        let nearest = Preprocessing {
            interpolation: Interpolation::Bicubic,
            resize: Resize::ShortSide(12),
            crop: 12,
            ..preprocessing.clone()
        };
        let limits = Limits::default();
        let reduced = read(&bytes, &preprocessing, &limits).unwrap().0;
        let full = read(&bytes, &nearest, &limits).unwrap().0;
        for channel in 0..3 {
            let mean = |pixels: &[u8]| {
                let samples = pixels.iter().skip(channel).step_by(3);
                samples.map(|&sample| f64::from(sample)).sum::<f64>() / (pixels.len() / 3) as f64
            };
            let difference = (mean(&reduced) - mean(&full)).abs();
            assert!(difference < 6.0, "{name}, channel {channel}: {difference}");
        }
    }
}

#[test]
fn unsupported_features_are_named() {
    let image = file("sampling_1x1.jpg");
    let frame = find(&image, b"\xff\xc0");
    let patched = |at: usize, value: u8| {
        let mut image = image.clone();
        image[frame + at] = value;
        image
    };
    assert_unsupported(&patched(1, 0xc3), "a lossless JPEG");
    assert_unsupported(&patched(1, 0xc9), "arithmetic coding");
    assert_unsupported(&patched(1, 0xc6), "a hierarchical JPEG");
    assert_unsupported(&patched(4, 12), "a 12-bit JPEG");
    let mut two = patched(9, 2);
    let scan = find(&two, b"\xff\xda");
    two[scan + 4] = 2;
    assert_unsupported(&two, "2 colour components");
    assert_unsupported(&patched(9, 5), "5 colour components");
    let fractional = [patched(11, 0x31), patched(14, 0x21)];
    let fractional = [&fractional[0][..frame + 14], &fractional[1][frame + 14..]].concat();
    assert_unsupported(&fractional, "fractional");
}

/// A marker segment.
fn segment(marker: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16 + 2).to_be_bytes();
    [&[0xff, marker], &length[..], payload].concat()
}

/// A progressive image without sampling, with a DC scan of all components and AC
/// scans of the first. The code of a DC difference of 0 is 0, as is that of `EOB14`,
/// which ends at most 32767 blocks.
fn progressive(side: u16, components: u8, dc: &[u8], ac: &[u8], scans: usize) -> Vec<u8> {
    let [high, low] = side.to_be_bytes();
    let mut image = b"\xff\xd8".to_vec();
    image.extend(segment(0xdb, &[[0].as_slice(), &[1; 64]].concat()));
    let (mut frame, mut scan) = (vec![8, high, low, high, low, components], vec![components]);
    for id in 1..=components {
        frame.extend([id, 0x11, 0]);
        scan.extend([id, 0]);
    }
    scan.extend([0, 0, 0]);
    image.extend(segment(0xc2, &frame));
    for (table, symbol) in [(0, 0), (0x10, 0xe0)] {
        let mut counts = [0; 16];
        counts[0] = 1;
        image.extend(segment(0xc4, &[&[table], &counts[..], &[symbol]].concat()));
    }
    image.extend(segment(0xda, &scan));
    image.extend(dc);
    for _ in 0..scans {
        image.extend(segment(0xda, &[1, 1, 0, 1, 63, 0]));
        image.extend(ac);
    }
    image.extend(b"\xff\xd9");
    image
}

#[test]
fn the_work_of_scans_is_bounded() {
    let read = |bytes: &[u8]| read(bytes, &Preprocessing::imagenet(), &Limits::default());
    // 4096 x 4096 pixels are 2^18 blocks: as many bits, and 16 symbols of 15 bits.
    let (dc, ac) = (&[0; 1 << 15][..], &[0; 30][..]);
    assert!(read(&progressive(4096, 1, dc, ac, 10)).is_ok());
    let scans = read(&progressive(4096, 1, dc, ac, 40));
    assert_broken(scans, "more scans", "40 scans");
    // A small image may have any scans, but not without end.
    assert!(read(&progressive(8, 1, &[0], &[0; 2], 400)).is_ok());
    let scans = read(&progressive(8, 1, &[0], &[0; 2], 501));
    assert_broken(scans, "more scans", "501 scans");
    // Scans without data are damage.
    for (dc, ac) in [(&dc[..0], ac), (dc, &[])] {
        let scans = read(&progressive(4096, 1, dc, ac, 1));
        assert_broken(scans, "ends before", "no data");
    }
}

#[test]
fn the_memory_of_a_progressive_image_is_bounded() {
    // Full size, with all blocks inside the crop: the most that an image needs.
    let preprocessing = Preprocessing {
        resize: Resize::Exact(1200),
        crop: 1200,
        ..Preprocessing::imagenet()
    };
    let pixels = 1600 * 1600;
    for (components, bytes_per_pixel) in [(1, 5), (3, 9), (4, 11)] {
        let bits = 200 * 200 * usize::from(components);
        let image = progressive(1600, components, &vec![0; bits.div_ceil(8)], &[0; 6], 1);
        let decode = || read(&image, &preprocessing, &Limits::default());
        let (result, peak) = allocations::peak(decode);
        assert!(result.is_ok());
        assert!(peak <= bytes_per_pixel * pixels, "{components}: {peak}");
        assert!(peak > 2 * usize::from(components) * pixels, "{peak}");
    }
    // At 1/8 of the size, one coefficient per block is kept.
    let image = progressive(4096, 1, &[0; 1 << 15], &[0; 30], 1);
    let decode = || read(&image, &Preprocessing::imagenet(), &Limits::default());
    let (result, peak) = allocations::peak(decode);
    assert!(result.is_ok());
    assert!(peak < 4096 * 4096 / 2, "{peak}");
}

#[test]
fn only_one_frame_header_is_read() {
    let limits = Limits {
        max_pixels: 1_000_000,
    };
    let small = progressive(8, 1, &[0], &[0; 2], 1);
    let frame = find(&small, b"\xff\xc2");
    let large = [8, 0x75, 0x30, 0x75, 0x30, 1, 1, 0x11, 0];
    let large = segment(0xc2, &large);
    // A restart marker has no length, so that it cannot hide a header.
    for hidden in [&b""[..], b"\xff\xd0\0\x0d"] {
        let image = [&small[..frame], hidden, &large, &small[frame..]].concat();
        let result = read(&image, &Preprocessing::imagenet(), &limits);
        assert_broken(result, "two frame headers", "the larger one first");
        let image = [&small[..frame], hidden, &large, &small[frame + 13..]].concat();
        match read(&image, &Preprocessing::imagenet(), &limits) {
            Err(ImageError::TooLarge { pixels, .. }) => assert_eq!(pixels, 900_000_000),
            other => panic!("{other:?}"),
        }
    }
}

/// The folder of larger test data beside the repository, if it exists.
fn shared(folder: &str) -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let shared = std::env::var_os("SHARED_DIR").map_or(here, PathBuf::from);
    let found = shared.join(folder).is_dir();
    if !found {
        println!("skipped: no ../shared");
    }
    found.then(|| shared.join(folder))
}

#[test]
fn files_of_bug_reports_have_the_pixels_of_their_reference() {
    let Some(folder) = shared("failures/photos") else {
        return;
    };
    let manifest = std::fs::read_to_string(folder.join("manifest.json")).unwrap();
    let value = |case: &str, key: &str| {
        let start = case.split_once(&format!("\"{key}\": \""))?.1;
        Some(start.split_once('"')?.0.to_owned())
    };
    let mut compared = 0;
    for case in manifest.split("\n }") {
        let Some(name) = value(case, "file") else {
            continue;
        };
        let Some(reference) = value(case, "reference") else {
            continue;
        };
        if !name.ends_with(".jpg") {
            continue;
        }
        let pixels = |name: &str| {
            let bytes = std::fs::read(folder.join(name)).unwrap();
            let pixels = read(&bytes, &Preprocessing::imagenet(), &Limits::default());
            pixels.unwrap_or_else(|error| panic!("{name}: {error}")).0
        };
        let (ours, expected) = (pixels(&name), pixels(&reference));
        let differences = ours.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b));
        let sum: u64 = differences.map(u64::from).sum();
        let mean = sum as f64 / ours.len() as f64;
        assert!(mean < 1.0, "{name}: {mean}");
        compared += 1;
    }
    assert!(compared >= 13, "{compared}");
    assert_unsupported(
        &std::fs::read(folder.join("jpg_12_bit.jpg")).unwrap(),
        "12-bit",
    );
}

#[test]
fn the_first_valid_orientation_counts() {
    let image = file("sampling_1x1.jpg");
    let exif = |orientation: u8| {
        let entry = [1, 18, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0];
        let block = [b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01", &entry[..], &[0; 4]];
        segment(0xe1, &block.concat())
    };
    let xmp = segment(
        0xe1,
        b"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation=\"6\"/>",
    );
    let with = |segments: &[Vec<u8>]| {
        let file = [&image[..2], &segments.concat(), &image[2..]].concat();
        read(&file, &unchanged([45, 37]), &Limits::default()).unwrap()
    };
    let (upright, turned) = (with(&[]), with(&[exif(6)]));
    assert_ne!(upright, turned);
    assert_eq!(with(&[exif(6), exif(1)]), turned);
    assert_eq!(with(&[exif(9), exif(6)]), turned);
    assert_eq!(with(std::slice::from_ref(&xmp)), turned);
    assert_eq!(with(&[xmp, exif(1)]), upright);
}

#[test]
fn hostile_files_are_refused() {
    let Some(folder) = shared("failures/hostile") else {
        return;
    };
    for name in [
        "cpu_prog_98_scans.jpg",
        "oom_jpeg_sof_diff_30000.jpg",
        "oom_jpeg_sof_diff_65535.jpg",
    ] {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let result = read(&bytes, &Preprocessing::imagenet(), &Limits::default());
        assert_broken(result, "", name);
    }
}
