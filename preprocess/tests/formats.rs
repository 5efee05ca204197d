//! Reads the images of `formats/`, which store one picture in many encodings, and
//! compares the pixels with those that `formats/make.py` stored. The crop is the
//! whole image, so that nothing is resized.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use resnet_preprocess::{ImageError, Limits, Preprocessing, Resize, read, read_unless};
use safetensors::SafeTensors;

const SIDE: u32 = 25;

fn whole() -> Preprocessing {
    Preprocessing {
        resize: Resize::Exact(SIDE),
        crop: SIDE,
        ..Preprocessing::imagenet()
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats")
}

/// All images, with the key of their pixels.
fn images() -> Vec<(String, String, Vec<u8>)> {
    let mut images = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        if let Some((key, _)) = name.split_once("__") {
            images.push((key.to_string(), name.clone(), std::fs::read(&path).unwrap()));
        }
    }
    images.sort();
    assert!(images.len() > 90, "{} images", images.len());
    images
}

#[test]
fn every_encoding_gives_the_same_pixels() {
    let expected = std::fs::read(folder().join("expected.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&expected).unwrap();
    let mut faults = Vec::new();
    for (key, name, image) in images() {
        let expected = expected.tensor(&key).unwrap();
        match read(&image, &whole(), &Limits::default()) {
            Ok(pixels) => {
                let each = pixels.0.iter().zip(expected.data());
                let each = each.map(|(a, b)| a.abs_diff(*b));
                let (sum, max) =
                    each.fold((0, 0), |(sum, max), d| (sum + u32::from(d), d.max(max)));
                let mean = f64::from(sum) / pixels.0.len() as f64;
                let is_equal = match key.as_str() {
                    // YCbCr is converted with other roundings than Pillow's.
                    "subsampled" => max <= 1,
                    key if key.starts_with("lossy_heic") => max <= 1,
                    key if key.starts_with("lossy") => mean < 1.0,
                    // The white of HDR images is at 203 cd/m2, that of sRGB at 255.
                    "hdr" => mean < 15.0,
                    _ => max == 0,
                };
                if key.starts_with("lossy") {
                    println!("{name}: mean {mean:.3}, max {max}");
                }
                if !is_equal {
                    faults.push(format!("{name}: mean {mean:.3}, max {max}"));
                }
            }
            Err(error) => faults.push(format!("{name}: {error}")),
        }
    }
    assert!(faults.is_empty(), "{} faults: {faults:#?}", faults.len());
}

/// The error is that of the image, and its text is for people.
fn assert_plain(name: &str, error: &ImageError) {
    let text = error.to_string();
    assert!(!text.contains("panicked"), "{name}: {text}");
    let rust = ["Error", "{ ", "Some(", "Unknown(", "::"];
    let jargon = [
        "ISOBMFF",
        "CABAC",
        "bitstream",
        "NAL",
        "SPS",
        "hvc1",
        "iloc",
    ];
    for word in rust.iter().chain(&jargon) {
        assert!(!text.contains(word), "{name}: {text}");
    }
    assert!(text.len() < 300, "{name}: {text}");
}

#[test]
fn damaged_images_are_refused_in_plain_words_and_never_panic() {
    let limits = Limits {
        max_pixels: 1_000_000,
    };
    // A linear congruential generator (Knuth's MMIX) with a constant seed.
    let mut state = 33_u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let times: usize = std::env::var("MUTANTS").map_or(40, |text| text.parse().unwrap());
    for (_, name, image) in images() {
        for time in 0..times {
            let mut image = image.clone();
            // Directories of TIFF are at the start or at the end.
            let (start, range) = match time % 3 {
                0 => (0, image.len()),
                1 => (0, image.len().min(250)),
                _ => (image.len() - image.len().min(250), image.len().min(250)),
            };
            for _ in 0..=random(3) {
                let value = [0, 1, 255, 128, 7, random(256) as u8][random(6)];
                image[start + random(range)] = value;
            }
            if time % 8 == 7 {
                image.truncate(random(image.len()) + 1);
            }
            if let Err(error) = read(&image, &whole(), &limits) {
                assert_plain(&name, &error);
            }
        }
    }
}

#[test]
fn a_jpeg_2000_may_lack_its_end_mark_but_no_pixel() {
    for name in ["rgb__jp2.jp2", "rgb__j2k_parts.j2k", "rgb__j2k_whole.j2k"] {
        let image = std::fs::read(folder().join(name)).unwrap();
        let read = |length: usize| read(&image[..length], &whole(), &Limits::default());
        for cut in 1..=2 {
            assert_eq!(read(image.len() - cut), read(image.len()), "{name}, {cut}");
        }
        for cut in 3..image.len() - 12 {
            let error = read(image.len() - cut).unwrap_err();
            assert!(
                matches!(error, ImageError::Broken { .. }),
                "{name}: {error}"
            );
        }
    }
}

/// A TIFF directory of SHORT and LONG values.
fn tiff(tags: &[(u16, u32)]) -> Vec<u8> {
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    file.extend((tags.len() as u16).to_le_bytes());
    for (tag, value) in tags {
        file.extend(tag.to_le_bytes());
        file.extend([4, 0, 1, 0, 0, 0]);
        file.extend(value.to_le_bytes());
    }
    file.extend([0; 64]);
    file
}

#[test]
fn rare_kinds_of_tiff_are_named_and_raw_images_are_not_read_from_thumbnails() {
    let plain = [(256, 4), (257, 4), (258, 8), (262, 1), (273, 100)];
    assert!(read(&tiff(&plain), &whole(), &Limits::default()).is_ok());
    for (tag, value, name) in [
        (50706, 1, "a raw image in Adobe's format (DNG)"),
        (262, 32803, "a raw image of a camera"),
        (259, 34713, "a raw image of a camera"),
        (259, 34925, "a TIFF with LZMA compression"),
        (259, 999, "a TIFF with an unknown compression (999)"),
        (259, 50000, "a TIFF with Zstandard compression"),
        (259, 50001, "a TIFF with WebP compression"),
        (262, 10, "a TIFF with the L*a*b* colours of fax machines"),
        (258, 17, "a TIFF with samples of 17 bits"),
        (339, 5, "a TIFF with complex numbers"),
    ] {
        let mut tags: std::collections::BTreeMap<u16, u32> = plain.into();
        tags.insert(tag, value);
        let tags: Vec<_> = tags.into_iter().collect();
        match read(&tiff(&tags), &whole(), &Limits::default()) {
            Err(ImageError::Unsupported { found }) => assert_eq!(found, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn a_cancelled_image_stops() {
    for (_, name, image) in images() {
        let calls = std::cell::Cell::new(0);
        let is_cancelled = || {
            calls.set(calls.get() + 1);
            true
        };
        let result = read_unless(&image, &whole(), &Limits::default(), &is_cancelled);
        assert_eq!(result, Err(ImageError::Cancelled), "{name}");
        assert_eq!(calls.get(), 1, "{name}");
    }
}
