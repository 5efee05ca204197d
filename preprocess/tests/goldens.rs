//! Compares decoded and preprocessed images with Pillow and torchvision pixel by
//! pixel, and tests the errors for damaged, truncated and oversized files.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use resnet_preprocess::{
    EXTENSIONS, ImageError, Interpolation, Limits, Pixels, Preprocessing, Resize, read,
};
use safetensors::SafeTensors;

/// The folder of larger test data beside the repository, if it exists.
fn shared() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let shared = std::env::var_os("SHARED_DIR").map_or(here, PathBuf::from);
    let found = shared.join("golden").is_dir();
    if !found {
        println!("skipped: no folder ../shared");
    }
    found.then_some(shared)
}

/// Parses `bilinear_256_224`: filter, short side, crop.
fn preprocessing(name: &str) -> Preprocessing {
    let parts: Vec<&str> = name.split('_').collect();
    Preprocessing {
        resize: Resize::ShortSide(parts[1].parse().unwrap()),
        crop: parts[2].parse().unwrap(),
        interpolation: match parts[0] {
            "bilinear" => Interpolation::Bilinear,
            "bicubic" => Interpolation::Bicubic,
            "lanczos" => Interpolation::Lanczos,
            "nearest" => Interpolation::Nearest,
            other => panic!("unknown filter {other}"),
        },
        ..Preprocessing::imagenet()
    }
}

/// Mean and largest absolute difference.
fn difference(pixels: &[u8], expected: &[u8]) -> (f64, u8) {
    assert_eq!(pixels.len(), expected.len());
    let each = || pixels.iter().zip(expected).map(|(a, b)| a.abs_diff(*b));
    let sum: u64 = each().map(u64::from).sum();
    (sum as f64 / pixels.len() as f64, each().max().unwrap())
}

/// Whether a JPEG is decoded at 1/2, 1/4 or 1/8 of its size, unlike in Pillow.
fn is_decoded_at_reduced_size(file: &str) -> bool {
    ["half", "quarter", "eighth", "cup_12mp"]
        .iter()
        .any(|start| file.starts_with(start))
}

/// Compares the files in `images` with the tensors of the file `expected`, whose
/// names are `FILE|PREPROCESSING`. Returns the number of tensors.
fn compare(images: &Path, expected: &Path) -> usize {
    let bytes = std::fs::read(expected).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let mut names = golden.names();
    names.sort_unstable();
    let mut differences = Vec::new();
    for key in &names {
        let (file, preprocessing_name) = key.split_once('|').unwrap();
        let image = std::fs::read(images.join(file)).unwrap();
        let preprocessing = preprocessing(preprocessing_name);
        let pixels = read(&image, &preprocessing, &Limits::default());
        let pixels = pixels.unwrap_or_else(|e| panic!("{file}: {e}"));
        let (mean, max) = difference(&pixels.0, golden.tensor(key).unwrap().data());
        println!("{key:40} mean {mean:.4} max {max}");
        let tolerance = if is_decoded_at_reduced_size(file) {
            1.0
        } else {
            0.0
        };
        if mean > tolerance {
            differences.push(format!("{key}: mean {mean:.3}, max {max}"));
        }
    }
    assert!(differences.is_empty(), "{differences:#?}");
    names.len()
}

#[test]
fn golden_images_match_pillow() {
    let Some(shared) = shared() else { return };
    let golden = shared.join("golden");
    assert!(compare(&golden.join("images"), &golden.join("images.safetensors")) >= 30);
}

#[test]
fn test_images_match_pillow() {
    let images = test_images();
    assert_eq!(compare(&images, &images.join("expected.safetensors")), 70);
}

/// The small images in this repository.
fn test_images() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images")
}

fn test_image(name: &str) -> Vec<u8> {
    std::fs::read(test_images().join(name)).unwrap()
}

/// The test images, and the golden images if their folder exists.
fn all_images() -> Vec<(String, Vec<u8>)> {
    let mut folders = vec![test_images()];
    folders.extend(shared().map(|shared| shared.join("golden/images")));
    let mut images = Vec::new();
    for folder in folders {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let extension = path.extension().unwrap().to_str().unwrap();
            if EXTENSIONS.contains(&extension) {
                let name = path.file_name().unwrap().to_str().unwrap().to_string();
                images.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    images.sort();
    images
}

fn read_imagenet(image: &[u8]) -> Result<Pixels, ImageError> {
    read(image, &Preprocessing::imagenet(), &Limits::default())
}

#[test]
fn bytes_after_the_end_are_ignored() {
    for (name, mut image) in all_images() {
        let before = read_imagenet(&image).unwrap();
        image.extend_from_slice(b"\xff\xd8 and more \0\0");
        assert_eq!(read_imagenet(&image).unwrap(), before, "{name}");
    }
}

#[test]
fn a_truncated_image_is_broken() {
    for (name, image) in all_images() {
        let cuts = if image.len() > 200_000 { 8 } else { 40 };
        for cut in (1..cuts).map(|i| image.len() * i / cuts) {
            match read_imagenet(&image[..cut]) {
                Err(ImageError::Broken { .. }) => {}
                // The signature of the format is incomplete.
                Err(ImageError::Unsupported { .. }) if cut < 18 => {}
                // Some formats end with data that the pixels do not depend on, such
                // as later frames, tags or padding.
                Ok(pixels) if cut * 3 > image.len() && !name.ends_with("jpg") => {
                    assert_eq!(
                        pixels,
                        read_imagenet(&image).unwrap(),
                        "{name} cut at {cut}"
                    );
                }
                other => panic!("{name} cut at {cut} of {}: {other:?}", image.len()),
            }
        }
    }
}

#[test]
fn a_jpeg_truncated_below_the_crop_is_broken() {
    // With restart markers, the last segment that the crop needs may be complete.
    let image = test_image("restarts_420.jpg");
    let preprocessing = preprocessing("bilinear_32_10");
    let read = |bytes: &[u8]| read(bytes, &preprocessing, &Limits::default());
    let whole = read(&image).unwrap();
    for cut in image.len() - 2..image.len() {
        assert_eq!(read(&image[..cut]).unwrap(), whole, "no end marker");
    }
    for cut in image.len() / 2..image.len() - 2 {
        let result = read(&image[..cut]);
        let broken = matches!(result, Err(ImageError::Broken { .. }));
        assert!(broken, "cut at {cut}: {result:?}");
    }
}

#[test]
fn a_jpeg_with_missing_data_before_its_end_marker_is_broken() {
    for name in ["odd_420.jpg", "restarts_420.jpg", "quarter_420.jpg"] {
        let image = test_image(name);
        let scan = find(&image, b"\xff\xda");
        let middle = (scan + image.len()) / 2;
        let end_marker = b"\xff\xd9";
        for cut in [scan + 20, (scan + middle) / 2, middle] {
            match read_imagenet(&[&image[..cut], end_marker].concat()) {
                Err(ImageError::Broken { reason, .. }) => {
                    assert!(reason.contains("ends before"), "{name} at {cut}: {reason}");
                }
                other => panic!("{name} cut at {cut}: {other:?}"),
            }
        }
    }
}

#[test]
fn random_damage_never_causes_a_panic() {
    let limits = Limits {
        max_pixels: 4_000_000,
    };
    // A linear congruential generator (Knuth's MMIX) with a constant seed.
    let mut state = 2026u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for (name, image) in all_images() {
        let times = if image.len() > 200_000 { 4 } else { 60 };
        for time in 0..times {
            let mut image = image.clone();
            // Headers are short but control the decoding, so damage half of the
            // files only there.
            let range = if time % 2 == 0 {
                image.len()
            } else {
                image.len().min(700)
            };
            for _ in 0..=random(4) {
                image[random(range)] = random(256) as u8;
            }
            // Damaged files give pixels or an error, depending on what was damaged.
            if let Ok(pixels) = read(&image, &Preprocessing::imagenet(), &limits) {
                assert_eq!(pixels.0.len(), 224 * 224 * 3, "{name}");
            }
        }
    }
}

/// CRC-32 of ISO 3309, the checksum of PNG chunks.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

fn find(image: &[u8], pattern: &[u8]) -> usize {
    image
        .windows(pattern.len())
        .position(|w| w == pattern)
        .unwrap()
}

#[test]
fn an_image_whose_header_exceeds_the_limit_is_too_large() {
    let big = 60_000u32;
    let (le, be) = (big.to_le_bytes(), big.to_be_bytes());
    let mut oversized = Vec::new();
    for (name, sof) in [
        ("baseline_420.jpg", 0xc0),
        ("progressive.jpg", 0xc2),
        ("quarter_420.jpg", 0xc0),
    ] {
        let mut jpeg = test_image(name);
        let at = find(&jpeg, &[0xff, sof]) + 5;
        jpeg[at..at + 4].copy_from_slice(&[be[2], be[3], be[2], be[3]]);
        oversized.push((name, jpeg));
    }
    let mut png = test_image("rgb.png");
    png[16..24].copy_from_slice(&[be, be].concat());
    let crc = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&crc.to_be_bytes());
    oversized.push(("png", png));
    let mut gif = test_image("still.gif");
    gif[6..10].copy_from_slice(&[le[0], le[1], le[0], le[1]]);
    oversized.push(("gif screen", gif));
    let mut gif = test_image("still.gif");
    let at = find(&gif, b"\x2c\0\0\0\0") + 5;
    gif[at..at + 4].copy_from_slice(&[le[0], le[1], le[0], le[1]]);
    oversized.push(("gif frame", gif));
    let mut bmp = test_image("rgb.bmp");
    bmp[18..26].copy_from_slice(&[le, le].concat());
    oversized.push(("bmp", bmp));
    for (name, image) in oversized {
        match read_imagenet(&image) {
            Err(ImageError::TooLarge { pixels, limit, .. }) => assert!(pixels > limit),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn unsupported_jpeg_processes_are_named() {
    for (sof, kind) in [
        (0xc3, "lossless"),
        (0xc9, "arithmetic"),
        (0xc5, "hierarchical"),
    ] {
        let mut jpeg = test_image("baseline_420.jpg");
        let at = find(&jpeg, &[0xff, 0xc0]);
        jpeg[at + 1] = sof;
        match read_imagenet(&jpeg) {
            Err(ImageError::Unsupported { found }) => assert!(found.contains(kind), "{found}"),
            other => panic!("{kind}: {other:?}"),
        }
    }
}
