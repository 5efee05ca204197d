//! Photos against Pillow and torchvision, pixel by pixel, in every encoding
//! people post; and against damage.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use server::photo::{self, Limits, PhotoError};
use weights::{Interpolation, Recipe, Resize};

/// The evidence that is shared between checkouts, where there is any.
fn shared() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let shared = std::env::var_os("SHARED_DIR").map_or(here, PathBuf::from);
    let found = shared.join("golden").is_dir();
    if !found {
        println!("skipped: no ../shared");
    }
    found.then_some(shared)
}

/// `bilinear_256_224`: filter, short side, crop.
fn recipe(name: &str) -> Recipe {
    let parts: Vec<&str> = name.split('_').collect();
    Recipe {
        resize: Resize::ShortSide(parts[1].parse().unwrap()),
        crop: parts[2].parse().unwrap(),
        interpolation: match parts[0] {
            "bilinear" => Interpolation::Bilinear,
            "bicubic" => Interpolation::Bicubic,
            "lanczos" => Interpolation::Lanczos,
            "nearest" => Interpolation::Nearest,
            other => panic!("no filter {other}"),
        },
        ..Recipe::imagenet()
    }
}

/// Mean and largest absolute difference.
fn difference(got: &[u8], wanted: &[u8]) -> (f64, u8) {
    assert_eq!(got.len(), wanted.len());
    let each = || got.iter().zip(wanted).map(|(a, b)| a.abs_diff(*b));
    let sum: u64 = each().map(u64::from).sum();
    (sum as f64 / got.len() as f64, each().max().unwrap())
}

/// JPEGs that are decoded at a half, a quarter or an eighth of their size, as
/// Pillow does not without being asked.
fn made_small(file: &str) -> bool {
    ["half", "quarter", "eighth", "cup_12mp"]
        .iter()
        .any(|start| file.starts_with(start))
}

/// JPEGs that our own decoder, which is exact, does not read.
fn through_another_decoder(file: &str) -> bool {
    ["progressive", "cmyk", "ycck", "rgb.jpg"]
        .iter()
        .any(|kind| file.contains(kind))
}

/// Compares every `FILE|RECIPE` of `pixels` with the files in `images`.
fn compare(images: &Path, pixels: &Path) -> usize {
    let bytes = std::fs::read(pixels).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let mut names = golden.names();
    names.sort_unstable();
    let mut failures = Vec::new();
    for key in &names {
        let (file, recipe_name) = key.split_once('|').unwrap();
        let photo = std::fs::read(images.join(file)).unwrap();
        let got = photo::read(&photo, &recipe(recipe_name), &Limits::default());
        let got = got.unwrap_or_else(|e| panic!("{file}: {e}"));
        let (mean, max) = difference(&got.0, golden.tensor(key).unwrap().data());
        println!("{key:40} mean {mean:.4} max {max}");
        let tolerance = if made_small(file) {
            1.0
        } else if through_another_decoder(file) {
            0.5
        } else {
            0.0
        };
        if mean > tolerance {
            failures.push(format!("{key}: mean {mean:.3}, max {max}"));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    names.len()
}

#[test]
fn all_golden_encodings_match_pillow() {
    let Some(shared) = shared() else { return };
    let golden = shared.join("golden");
    assert!(compare(&golden.join("images"), &golden.join("images.safetensors")) >= 30);
}

#[test]
fn the_samples_match_pillow() {
    let photos = samples();
    assert!(compare(&photos, &photos.join("photos.safetensors")) == 70);
}

/// The small photos that travel with the code.
fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/photos")
}

fn sample(name: &str) -> Vec<u8> {
    std::fs::read(samples().join(name)).unwrap()
}

/// Every photo there is: the samples, and the golden ones where they are.
fn all_photos() -> Vec<(String, Vec<u8>)> {
    let mut folders = vec![samples()];
    folders.extend(shared().map(|shared| shared.join("golden/images")));
    let mut photos = Vec::new();
    for folder in folders {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let ending = path.extension().unwrap().to_str().unwrap();
            if ["jpg", "png", "webp", "gif", "bmp", "tiff"].contains(&ending) {
                let name = path.file_name().unwrap().to_str().unwrap().to_string();
                photos.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    photos.sort();
    photos
}

fn imagenet(photo: &[u8]) -> Result<photo::Pixels, PhotoError> {
    photo::read(photo, &Recipe::imagenet(), &Limits::default())
}

#[test]
fn bytes_after_the_end_change_nothing() {
    for (name, mut photo) in all_photos() {
        let before = imagenet(&photo).unwrap();
        photo.extend_from_slice(b"\xff\xd8 and more \0\0");
        assert_eq!(imagenet(&photo).unwrap(), before, "{name}");
    }
}

#[test]
fn a_photo_cut_short_is_broken() {
    for (name, photo) in all_photos() {
        let cuts = if photo.len() > 200_000 { 8 } else { 40 };
        for cut in (1..cuts).map(|i| photo.len() * i / cuts) {
            match imagenet(&photo[..cut]) {
                Err(PhotoError::Broken { .. }) => {}
                // Too little is left to tell a format by.
                Err(PhotoError::Unsupported { .. }) if cut < 18 => {}
                // What a viewer needs may end early: later frames, tags, padding.
                Ok(pixels) if cut * 3 > photo.len() && !name.ends_with("jpg") => {
                    assert_eq!(pixels, imagenet(&photo).unwrap(), "{name} cut at {cut}");
                }
                other => panic!("{name} cut at {cut} of {}: {other:?}", photo.len()),
            }
        }
    }
}

#[test]
fn a_cut_below_the_crop_is_noticed() {
    // With restart markers, what the crop keeps ends in a whole segment.
    let photo = sample("restarts_420.jpg");
    let read = |bytes: &[u8]| photo::read(bytes, &recipe("bilinear_32_10"), &Limits::default());
    assert!(read(&photo).is_ok());
    for cut in photo.len() / 2..photo.len() {
        let cut = read(&photo[..cut]);
        assert!(matches!(cut, Err(PhotoError::Broken { .. })), "{cut:?}");
    }
}

#[test]
fn a_photo_without_its_middle_is_broken() {
    for name in ["odd_420.jpg", "restarts_420.jpg", "quarter_420.jpg"] {
        let photo = sample(name);
        let scan = find(&photo, b"\xff\xda");
        let middle = (scan + photo.len()) / 2;
        // What is left ends as a whole file does.
        let end = b"\xff\xd9";
        for cut in [scan + 20, (scan + middle) / 2, middle] {
            match imagenet(&[&photo[..cut], end].concat()) {
                Err(PhotoError::Broken { reason, .. }) => {
                    assert!(reason.contains("ends before"), "{name} at {cut}: {reason}");
                }
                other => panic!("{name} cut at {cut}: {other:?}"),
            }
        }
    }
}

#[test]
fn damage_never_panics_nor_passes_for_our_fault() {
    let limits = Limits {
        max_pixels: 4_000_000,
    };
    // A linear congruential generator (Knuth's MMIX): the same damage every time.
    let mut state = 2026u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for (name, photo) in all_photos() {
        let times = if photo.len() > 200_000 { 4 } else { 60 };
        for time in 0..times {
            let mut photo = photo.clone();
            // Headers are short and decide most: every other blow goes there.
            let reach = if time % 2 == 0 {
                photo.len()
            } else {
                photo.len().min(700)
            };
            for _ in 0..=random(4) {
                photo[random(reach)] = random(256) as u8;
            }
            // whatever it is called, it is either pixels or the sender's fault
            if let Ok(pixels) = photo::read(&photo, &Recipe::imagenet(), &limits) {
                assert_eq!(pixels.0.len(), 224 * 224 * 3, "{name}");
            }
        }
    }
}

/// CRC-32 of ISO 3309, which PNG closes its chunks with.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

fn find(photo: &[u8], pattern: &[u8]) -> usize {
    photo
        .windows(pattern.len())
        .position(|w| w == pattern)
        .unwrap()
}

#[test]
fn a_bomb_is_refused_by_its_header() {
    let big = 60_000u32;
    let (le, be) = (big.to_le_bytes(), big.to_be_bytes());
    let mut bombs = Vec::new();
    for (name, sof) in [
        ("baseline_420.jpg", 0xc0),
        ("progressive.jpg", 0xc2),
        ("quarter_420.jpg", 0xc0),
    ] {
        let mut jpeg = sample(name);
        let at = find(&jpeg, &[0xff, sof]) + 5;
        jpeg[at..at + 4].copy_from_slice(&[be[2], be[3], be[2], be[3]]);
        bombs.push((name, jpeg));
    }
    let mut png = sample("rgb.png");
    png[16..24].copy_from_slice(&[be, be].concat());
    let crc = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&crc.to_be_bytes());
    bombs.push(("png", png));
    let mut gif = sample("still.gif");
    gif[6..10].copy_from_slice(&[le[0], le[1], le[0], le[1]]);
    bombs.push(("gif screen", gif));
    let mut gif = sample("still.gif");
    let at = find(&gif, b"\x2c\0\0\0\0") + 5;
    gif[at..at + 4].copy_from_slice(&[le[0], le[1], le[0], le[1]]);
    bombs.push(("gif frame", gif));
    let mut bmp = sample("rgb.bmp");
    bmp[18..26].copy_from_slice(&[le, le].concat());
    bombs.push(("bmp", bmp));
    for (name, bomb) in bombs {
        match imagenet(&bomb) {
            Err(PhotoError::TooLarge { pixels, limit, .. }) => assert!(pixels > limit),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn jpegs_that_photos_do_not_use_are_named() {
    for (sof, kind) in [
        (0xc3, "lossless"),
        (0xc9, "arithmetic"),
        (0xc5, "hierarchical"),
    ] {
        let mut jpeg = sample("baseline_420.jpg");
        let at = find(&jpeg, &[0xff, 0xc0]);
        jpeg[at + 1] = sof;
        match imagenet(&jpeg) {
            Err(PhotoError::Unsupported { found }) => assert!(found.contains(kind), "{found}"),
            other => panic!("{kind}: {other:?}"),
        }
    }
}
