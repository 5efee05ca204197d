//! Photos against Pillow and torchvision, pixel by pixel, in every encoding
//! people post; and against damage.

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
        let lossy = file.ends_with(".jpg") || file == "cat.webp";
        println!("{key:40} mean {mean:.4} max {max}");
        if mean > if lossy { 1.0 } else { 0.1 } || (!lossy && max > 2) {
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
